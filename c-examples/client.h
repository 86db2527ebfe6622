/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What every client of /dev/kmonitor needs: the device, the signal, the time.
 */
#ifndef CLIENT_H
#define CLIENT_H

#include <poll.h>
#include <signal.h>
#include <sys/types.h>
#include <time.h>

#include <linux/kmonitor.h>

#define DEFAULT_DEVICE "/dev/kmonitor"

#define ALL_EVENTS                                                                      \
	(KMONITOR_THREAD_CREATE | KMONITOR_THREAD_ABORT | KMONITOR_THREAD_EXIT |        \
	 KMONITOR_PROCESS_FORK | KMONITOR_PROCESS_ABORT | KMONITOR_PROCESS_EXEC |       \
	 KMONITOR_PROCESS_EXIT)

/* Exit codes the programs share. */
enum {
	EXIT_DONE = 0,
	EXIT_NOT_DONE = 1,
	EXIT_USAGE = 2,
	EXIT_TROUBLE = 3,
};

/* Opens the device or ends the program with a message that says what to do. */
int open_device(const char *path);

/* 0, or -1 with errno set. */
int register_target(int device, pid_t target, int events, int signal);
int deregister_target(int device, pid_t target, int events);

/* The name of one event bit, or "unknown". */
const char *event_name(int event);

enum task_state {
	TASK_RUNS,
	TASK_HAS_ENDED,	/* a process also when only its main thread has */
	TASK_IS_HIDDEN,	/* its process runs, and /proc does not show whether its main thread does */
};

/*
 * REGISTER accepts any number, so a client asks this after it. A task that has
 * only begun to exit still runs: its exit event is yet to come.
 */
enum task_state state_of(pid_t tid);

/*
 * A descriptor that becomes readable when the whole process has ended, or -1
 * with errno set: ESRCH where there is no such task, otherwise it is a thread.
 */
int open_pidfd(pid_t pid);

/* The id of the process that the thread belongs to; 0 where it is gone, or /proc hides it. */
pid_t process_of(pid_t tid);

/* Signals beyond RLIMIT_SIGPENDING are lost: take all that we may have. */
void raise_signal_limit(void);

/* The whole text as a number from 1 to max, or the program ends with EXIT_USAGE. */
long parse_number(const char *text, long max, const char *what);

/* A moment of CLOCK_MONOTONIC so many seconds ahead; the text may have decimals. */
struct timespec parse_deadline(const char *text);

int has_passed(const struct timespec *deadline);

/* A deadline that has passed: take what is queued and do not wait. */
extern const struct timespec NO_WAIT;

/*
 * Takes one of the blocked signals. Returns its number, or 0 when the deadline
 * passes first; no deadline (NULL) waits without end.
 */
int take_signal(const sigset_t *signals, siginfo_t *info, const struct timespec *deadline);

/* A descriptor that is readable while one of the blocked signals is pending. */
int open_signals(const sigset_t *signals);

/* Waits until a descriptor is readable; false when the deadline passes first. */
int wait_readable(struct pollfd *descriptors, int count, const struct timespec *deadline);

int is_readable(int descriptor);

/* The exit status; EXIT_TROUBLE, said, if what was printed could not be written. */
int finish_output(int status);

#endif
