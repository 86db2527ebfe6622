/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * usage: creators
 *
 * Starts a thread, and after each line of input creates a task: the thread a
 * process, the thread a thread, the main thread a process that is its parent's
 * child. Says the id of each.
 */
#define _GNU_SOURCE
#include "common.h"

static void say_id(pid_t id)
{
	printf("%d\n", (int)id);
	must(fflush(stdout) == 0);
}

static void *quiet(void *unused)
{
	say_id(gettid());
	return unused;
}

static void *creator(void *unused)
{
	pthread_t thread;
	pid_t child;

	say_id(gettid());
	heard();
	child = fork();
	must(child != -1);
	if (child == 0)
		_exit(0);
	must(waitpid(child, NULL, 0) == child);
	say_id(child);
	heard();
	must(pthread_create(&thread, NULL, quiet, NULL) == 0);
	must(pthread_join(thread, NULL) == 0);
	return unused;
}

int main(void)
{
	pthread_t thread;
	pid_t child;

	say("ready");
	heard();
	must(pthread_create(&thread, NULL, creator, NULL) == 0);
	must(pthread_join(thread, NULL) == 0);
	heard();
	child = syscall(SYS_clone, CLONE_PARENT, 0, 0, 0, 0);
	must(child != -1);
	if (child == 0)
		_exit(0);
	say_id(child);
	heard();
	return 0;
}
