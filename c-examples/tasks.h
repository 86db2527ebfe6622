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
	int ending;		/* it had begun to exit when it was registered */
	int ended;		/* a main thread that has exited while other threads go on */
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

/* A followed task has exited, or never will be heard of. */
void end_task(pid_t tid);

/* A successful exec leaves its process one thread, the main one. */
void end_other_threads(pid_t tgid);

/* The id of the process that the thread belongs to, or 0. */
pid_t process_of(pid_t tid);

#endif
