/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Rounds of a monitor and a target of its own, for clients that are in odd circumstances meanwhile. */
#ifndef ROUNDS_H
#define ROUNDS_H

#include "common.h"

#include <stdarg.h>
#include <sys/wait.h>

enum { FORKS = 20 };

struct target {
	pid_t pid;
	int go;
};

static const char *round_of;	/* what the round is about, for messages */

static inline void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	printf("%s: ", round_of);
	vprintf(format, arguments);
	printf("\n");
	va_end(arguments);
	fflush(stdout);
	_exit(1);
}

static inline pid_t wait_for(pid_t child, int *status)
{
	pid_t waited;

	do
		waited = waitpid(child, status, 0);
	while (waited == -1 && errno == EINTR);
	return waited;
}

/* A process that forks FORKS times when it is told to, and ends. Made before the device is opened: it has no copy. */
static inline struct target start_target(void)
{
	struct target target;
	int go[2], i;
	char byte;

	must(pipe2(go, O_CLOEXEC) == 0);
	target.pid = fork_helper();
	if (target.pid == 0) {
		close(go[1]);
		must(read(go[0], &byte, 1) == 1);
		for (i = 0; i < FORKS; i++) {
			pid_t child = fork();

			must(child != -1);
			if (child == 0)
				_exit(0);
			must(wait_for(child, NULL) == child);
		}
		_exit(0);
	}
	close(go[0]);
	target.go = go[1];
	return target;
}

/* Has it do all that, and waits for its end. */
static inline void run_target(const struct target *target)
{
	int status;

	must(write(target->go, "", 1) == 1);
	must(wait_for(target->pid, &status) == target->pid);
	must(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(target->go);
}

/* What the target did must be signalled within so many milliseconds, once, the exit last. */
static inline void expect_all(const struct target *target, long milliseconds)
{
	int forks = 0, exits = 0, others = 0;
	siginfo_t info;

	while (next_signal(&info, exits ? 0 : milliseconds)) {
		if (info.si_code != SI_QUEUE)
			others++;
		else if (info.si_int == KMONITOR_PROCESS_FORK && !exits)
			forks++;
		else if (info.si_int == KMONITOR_PROCESS_EXIT && info.si_pid == target->pid)
			exits++;
		else
			others++;
	}
	if (forks != FORKS || exits != 1 || others)
		fail("%d forks of %d, %d exits, %d others", forks, FORKS, exits, others);
}

static inline void register_events(int device, pid_t pid, int events)
{
	int result = command(device, KMONITOR_IOW_REGISTER, pid, events, SIGRTMIN);

	if (result)
		fail("REGISTER: %s", strerror(-result));
}

static inline int open_or_fail(const char *path)
{
	int device = open(path, O_RDWR | O_CLOEXEC);

	if (device == -1)
		fail("open: %s", strerror(errno));
	return device;
}

/* A whole round: the registration ends by DEREGISTER or by the close, and both go well. */
static inline void monitor_round(const char *path, int deregister)
{
	struct target target = start_target();
	int device = open_or_fail(path), result;

	register_events(device, target.pid, KMONITOR_PROCESS_FORK | KMONITOR_PROCESS_EXIT);
	run_target(&target);
	if (deregister) {
		result = command(device, KMONITOR_IOW_DEREGISTER, target.pid, 0x7f, 0);
		if (result)
			fail("DEREGISTER: %s", strerror(-result));
		expect_all(&target, 0);
	}
	if (close(device) == -1)
		fail("close: %s", strerror(errno));
	if (!deregister)
		expect_all(&target, 0);
}

#endif
