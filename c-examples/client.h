/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What every client of /dev/kmonitor needs: the device, the signal, the time.
 */
#ifndef CLIENT_H
#define CLIENT_H

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

/*
 * Whether the task has ended or begun to: its exit event may have gone by
 * already. REGISTER accepts any number, so a client asks this after it.
 */
int task_is_ending(pid_t tid);

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

#endif
