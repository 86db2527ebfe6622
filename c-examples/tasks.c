/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "tasks.h"

#include "client.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct task *tasks;
int task_count;

static int task_room;
static int the_device, the_signal;

void follow_through(int device, int signal)
{
	the_device = device;
	the_signal = signal;
}

struct task *find_task(pid_t tid)
{
	int i;

	for (i = 0; i < task_count; i++)
		if (tasks[i].tid == tid)
			return &tasks[i];
	return NULL;
}

static struct task *add_task(pid_t tid, pid_t tgid)
{
	struct task *task;

	if (task_count == task_room) {
		task_room = task_room ? 2 * task_room : 64;
		tasks = realloc(tasks, task_room * sizeof *tasks);
		if (!tasks)
			err(EXIT_TROUBLE, "no memory for %d tasks", task_room);
	}
	task = &tasks[task_count++];
	*task = (struct task){ .tid = tid, .tgid = tgid, .unscanned = 1, .pidfd = -1 };
	return task;
}

static void forget_pidfd(struct task *task)
{
	if (task->pidfd != -1)
		close(task->pidfd);
	task->pidfd = -1;
}

/* An entry outlives its target, and a later task with the same number would fire it. */
static void forget_task(struct task *task)
{
	if (deregister_target(the_device, task->tid, ALL_EVENTS) == -1)
		warn("cannot deregister %d", (int)task->tid);
	forget_pidfd(task);
	*task = tasks[--task_count];
}

void flush_events(const struct task *task)
{
	if (deregister_target(the_device, task->tid, 0) == -1)
		err(EXIT_TROUBLE, "cannot ask for the events of %d", (int)task->tid);
}

int follow_task(pid_t tid, pid_t tgid, int unannounced)
{
	struct task *task;

	if (tid == getpid() || find_task(tid))
		return 0;
	if (register_target(the_device, tid, ALL_EVENTS, the_signal) == -1)
		return -1;
	task = add_task(tid, tgid);
	task->unannounced = unannounced;
	/* Is its exit event yet to be read, or did it come before REGISTER? The queue of signals will tell. */
	if (state_of(tid) == TASK_HAS_ENDED) {
		task->found_ended = 1;
		flush_events(task);
	}
	return 0;
}

/* One that cannot be registered is lost to us, but the others are not. */
static void follow_found(pid_t tid, pid_t tgid)
{
	if (follow_task(tid, tgid, 1) == -1)
		warn("cannot register %d", (int)tid);
}

/* The kernel may leave one out while its siblings exit: there is no better list. */
static void follow_children(pid_t tgid, pid_t tid)
{
	char path[64];
	FILE *children;
	int child;

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)tgid, (int)tid);
	children = fopen(path, "re");
	if (!children)
		return;
	while (fscanf(children, "%d", &child) == 1)
		follow_found(child, child);
	fclose(children);
}

static void follow_threads(pid_t tgid)
{
	char path[32];
	struct dirent *entry;
	DIR *threads;

	snprintf(path, sizeof path, "/proc/%d/task", (int)tgid);
	threads = opendir(path);
	if (!threads)
		return;
	while ((entry = readdir(threads))) {
		pid_t tid = atoi(entry->d_name);

		if (tid > 0)
			follow_found(tid, tgid);
	}
	closedir(threads);
}

void follow_started_before(void)
{
	int i;

	/* Those it finds are put at the end, and their turn comes. */
	for (i = 0; i < task_count; i++) {
		if (tasks[i].unscanned) {
			tasks[i].unscanned = 0;
			follow_children(tasks[i].tgid, tasks[i].tid);
			follow_threads(tasks[i].tgid);
		}
	}
}

/* A thread by whose exec the process goes on, so that it is the main thread now, has no id of its own any more. */
static void forget_threads(pid_t tgid)
{
	int i = 0;

	while (i < task_count) {
		if (tasks[i].tgid == tgid && tasks[i].tid != tgid)
			forget_task(&tasks[i]);
		else
			i++;
	}
}

void end_task(pid_t tid)
{
	struct task *task = find_task(tid);

	task->found_ended = 0;
	if (tid == task->tgid) {
		/* Other threads may go on, and one of them may exec, and be the main thread under this id. */
		if (task->pidfd == -1)
			task->pidfd = open_pidfd(tid);
		if (task->pidfd == -1 && errno != ESRCH)
			err(EXIT_TROUBLE, "cannot watch the end of process %d", (int)tid);
		if (task->pidfd != -1 && !is_readable(task->pidfd))
			return;
	}
	forget_task(task);
}

void begin_program(pid_t tgid)
{
	struct task *task;

	forget_threads(tgid);
	task = find_task(tgid);
	if (task) {
		forget_pidfd(task);
		task->found_ended = task->flushed = 0;
	}
}
