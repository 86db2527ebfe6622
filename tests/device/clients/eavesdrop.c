/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include <err.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>

#include "usage.h"

static const char help[] =
	"usage: eavesdrop\n"
	"Tells whether the kernel makes process events: who is bound to them hears them\n"
	"without having asked, as long as the kernel counts any listener. Prints events\n"
	"or nothing.\n";

int main(int argc, char *argv[])
{
	int connector = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_CONNECTOR);
	struct sockaddr_nl listener = { .nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC };
	struct pollfd events = { .fd = connector, .events = POLLIN };
	pid_t pid;

	check_usage(argc, argv, 1, help);
	if (connector == -1 || bind(connector, (struct sockaddr *)&listener, sizeof listener) == -1)
		err(1, "connector");
	pid = fork();
	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	puts(poll(&events, 1, 500) > 0 ? "events" : "nothing");
	return 0;
}
