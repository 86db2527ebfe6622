/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The processes and threads that monitor_pid follows, each one registered.
 */
#ifndef TASKS_H
#define TASKS_H

#include <sys/types.h>

struct task {
	pid_t tid;
	pid_t tgid;		/* its process; 0 where that was gone too early to tell */
	int unscanned;		/* its children and fellow threads are not looked for yet */
	int unannounced;	/* found in /proc; its creation may be on its way to us */
	int found_ended;	/* it had ended when it was registered */
	int pidfd;		/* of a process whose main thread has ended while others go on, else -1 */
	int flushed;		/* the process has ended, and what it did before is signalled */
};

extern struct task *tasks;
extern int task_count;

/* The device and the signal for all registrations. */
void follow_through(int device, int signal);

/* The task, or NULL. A pointer holds until the next call that follows or forgets. */
struct task *find_task(pid_t tid);

/*
 * Registers the task for all events. 0, also when it is followed already or is
 * this program; -1 with errno set.
 */
int follow_task(pid_t tid, pid_t tgid, int unannounced);

/* Follows what the new ones among the tasks had started before they were registered. */
void follow_started_before(void);

/* Returns when all that the task has done is signalled. */
void flush_events(const struct task *task);

/* A followed task has exited, or never will be heard of. */
void end_task(pid_t tid);

/* A successful exec leaves its process one thread, the main one, which has not ended. */
void begin_program(pid_t tgid);

#endif
