/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "rounds.h"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <termios.h>

static const char help[] =
	"usage: flood DEVICE\n"
	"Calls the device from eight threads without a pause, until its input ends: opens,\n"
	"registrations of all that exists, unknown ioctls, statfs, stat, reads, closes of\n"
	"hundreds of registrations at once. Its signals are blocked and never taken.\n"
	"Exit status 0.\n";

enum { THREADS = 8, EACH = 500 };

static const char *path;

static void *flood(void *number)
{
	struct statfs filesystem;
	struct termios terminal;
	struct stat status;
	char byte;
	int i, device;

	for (;;) {
		device = open(path, O_RDWR | O_CLOEXEC);
		for (i = 0; i < EACH && device != -1; i++) {
			command(device, KMONITOR_IOW_REGISTER, (long)number * EACH + i, 0x7f, SIGRTMIN);
			if (i % 8 == 0) {
				ioctl(device, TCGETS, &terminal);
				statfs(path, &filesystem);
				fstat(device, &status);
				if (read(device, &byte, 1) != -1)
					return NULL;
			}
			if (i % 3 == 0)
				command(device, KMONITOR_IOW_DEREGISTER, (long)number * EACH + i, 0x7f, 0);
		}
		if (device != -1)
			close(device);
	}
}

int main(int argc, char *argv[])
{
	pthread_t thread;
	char byte;
	long i;

	check_usage(argc, argv, 2, help);
	round_of = "flood";
	path = argv[1];
	prepare_signals();
	for (i = 0; i < THREADS; i++)
		must(pthread_create(&thread, NULL, flood, (void *)i) == 0);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}
