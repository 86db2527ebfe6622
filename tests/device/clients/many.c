/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/kmonitor.h>

#include "usage.h"

static const char help[] =
	"usage: many DEVICE COUNT\n"
	"Registers the tasks 1 to COUNT, of which few exist, and prints how many the\n"
	"device took and the errno of the first that it did not, or 0. Holds them until\n"
	"its input ends.\n";

int main(int argc, char *argv[])
{
	struct kmonitor_cmd command = { 0, KMONITOR_PROCESS_EXIT, 0 };
	long wanted, taken;
	int device;

	check_usage(argc, argv, 3, help);
	command.signal = SIGRTMAX;
	signal(SIGRTMAX, SIG_IGN);
	device = open(argv[1], O_RDWR);
	if (device == -1)
		err(1, "%s", argv[1]);
	wanted = atol(argv[2]);
	errno = 0;
	for (taken = 0; taken < wanted; taken++) {
		command.pid = (int)taken + 1;
		if (ioctl(device, KMONITOR_IOW_REGISTER, &command) == -1)
			break;
	}
	printf("%ld %d\n", taken, errno);
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
