/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "common.h"

#include <pthread.h>
#include <sys/syscall.h>

static const char help[] =
	"usage: client\n"
	"A client of the device, told line by line what to do. It answers each line\n"
	"with one: a number, negative for an errno; or the signals that came.\n"
	"\n"
	"  open PATH | close | register PID EVENTS SIGNAL | deregister PID EVENTS\n"
	"  thread          starts a thread that does nothing; its id\n"
	"  end             ends that thread\n"
	"  take N          waits for N signals\n"
	"  pending         the signals that are pending now\n"
	"\n"
	"A signal is SIGNO:CODE:ERRNO:PID:UID:VALUE.\n";

static pid_t volatile thread;
static pthread_t handle;
static pthread_barrier_t started;

static void *do_nothing(void *unused)
{
	thread = syscall(SYS_gettid);
	pthread_barrier_wait(&started);
	for (;;)
		pause();
	return unused;
}

static int start_thread(void)
{
	pthread_barrier_init(&started, NULL, 2);
	must(pthread_create(&handle, NULL, do_nothing, NULL) == 0);
	pthread_barrier_wait(&started);
	return thread;
}

static int end_thread(void)
{
	must(pthread_cancel(handle) == 0);
	must(pthread_join(handle, NULL) == 0);
	return 0;
}

static void print_signals(int most, long milliseconds)
{
	siginfo_t info;
	int i;

	for (i = 0; i < most && next_signal(&info, milliseconds); i++)
		printf("%s%d:%d:%d:%d:%u:%lld", i ? " " : "", info.si_signo, info.si_code, info.si_errno,
		       (int)info.si_pid, (unsigned)info.si_uid, (long long)(intptr_t)info.si_ptr);
	printf("\n");
}

int main(int argc, char *argv[])
{
	char line[512], path[500];
	int device = -1, pid, events, signal, count;

	check_usage(argc, argv, 1, help);
	prepare_signals();
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "open %499s", path) == 1) {
			device = open(path, O_RDWR | O_CLOEXEC);
			printf("%d\n", device == -1 ? -errno : 0);
		} else if (strcmp(line, "close\n") == 0) {
			printf("%d\n", close(device) == -1 ? -errno : 0);
		} else if (sscanf(line, "register %d %d %d", &pid, &events, &signal) == 3) {
			printf("%d\n", command(device, KMONITOR_IOW_REGISTER, pid, events, signal));
		} else if (sscanf(line, "deregister %d %d", &pid, &events) == 2) {
			printf("%d\n", command(device, KMONITOR_IOW_DEREGISTER, pid, events, 0));
		} else if (strcmp(line, "thread\n") == 0) {
			printf("%d\n", start_thread());
		} else if (strcmp(line, "end\n") == 0) {
			printf("%d\n", end_thread());
		} else if (sscanf(line, "take %d", &count) == 1) {
			print_signals(count, 10000);
		} else if (strcmp(line, "pending\n") == 0) {
			print_signals(1 << 20, 0);
		} else {
			errx(2, "what is: %s", line);
		}
	}
	return 0;
}
