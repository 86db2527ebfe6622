/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the tests' clients share. */
#ifndef COMMON_H
#define COMMON_H

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <linux/kmonitor.h>

#include "usage.h"

#define must(call)                                                                      \
	do {                                                                            \
		if (!(call))                                                            \
			err(2, "%s:%d: %s", __FILE__, __LINE__, #call);                 \
	} while (0)

/* As many signals may be pending at once. */
#define MOST_PENDING 4096

/* The real-time signals, blocked; they queue, each with its own data. */
static sigset_t queued;

static inline void prepare_signals(void)
{
	struct rlimit limit;
	int signal;

	sigemptyset(&queued);
	for (signal = SIGRTMIN; signal <= SIGRTMAX; signal++)
		sigaddset(&queued, signal);
	must(sigprocmask(SIG_BLOCK, &queued, NULL) == 0);
	must(getrlimit(RLIMIT_SIGPENDING, &limit) == 0);
	if (limit.rlim_max < MOST_PENDING)
		errx(2, "no %d signals may be pending here: raise the hard limit (ulimit -H -i)", MOST_PENDING);
	limit.rlim_cur = limit.rlim_max;
	must(setrlimit(RLIMIT_SIGPENDING, &limit) == 0);
}

/* The next signal within so many milliseconds; 0: there is none. */
static inline int next_signal(siginfo_t *info, long milliseconds)
{
	struct timespec limit = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
	int signal;

	do
		signal = sigtimedwait(&queued, info, &limit);
	while (signal == -1 && errno == EINTR);
	return signal > 0 ? signal : 0;
}

static inline int command(int device, unsigned long request, pid_t pid, int events, int signal)
{
	struct kmonitor_cmd command = { pid, events, signal };

	return ioctl(device, request, &command) == -1 ? -errno : 0;
}

/* A helper process that does not outlive the client. */
static inline pid_t fork_helper(void)
{
	pid_t client = getpid(), pid = fork();

	must(pid != -1);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != client)
			_exit(1);
	}
	return pid;
}

#endif
