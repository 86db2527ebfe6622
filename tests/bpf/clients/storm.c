/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * usage: storm ROUNDS
 *
 * Waits for a line, then creates tasks in every way, ROUNDS times on each of
 * two processors. When all have ended it says how many births and execs there
 * were, and waits for the end of its input.
 */
#define _GNU_SOURCE
#include "common.h"

#define STACK (64 * 1024)

static struct {
	atomic_long births;
	atomic_long execs;
} *count;

/* Counts what has just been made. */
static pid_t born(pid_t pid)
{
	must(pid != -1);
	if (pid > 0)
		atomic_fetch_add(&count->births, 1);
	return pid;
}

static void reap(pid_t pid)
{
	/* A child made with CLONE_PARENT is not ours. */
	while (waitpid(pid, NULL, 0) == -1 && errno == EINTR)
		;
}

static void plain_fork(void)
{
	pid_t child = born(fork());

	if (child == 0)
		_exit(3);
	reap(child);
}

static void double_fork(void)
{
	pid_t child = born(fork());

	if (child == 0) {
		if (born(fork()) == 0)
			_exit(0);
		_exit(0);
	}
	reap(child);
}

static void fork_for_parent(void)
{
	pid_t child = born(fork());

	if (child == 0) {
		if (born(syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0)) == 0)
			_exit(0);
		_exit(0);
	}
	reap(child);
}

static void *idle(void *unused)
{
	return unused;
}

static void *forker(void *unused)
{
	plain_fork();
	return unused;
}

static void thread(void *(*work)(void *))
{
	pthread_t thread;

	must(pthread_create(&thread, NULL, work, NULL) == 0);
	atomic_fetch_add(&count->births, 1);
	must(pthread_join(thread, NULL) == 0);
}

static void virtual_fork(void)
{
	pid_t child = vfork();

	if (child == 0)
		_exit(0);
	reap(born(child));
}

static void spawn(void)
{
	char *arguments[] = { "true", NULL };
	pid_t child;

	must(posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ) == 0);
	born(child);
	atomic_fetch_add(&count->execs, 1);
	reap(child);
}

static void *sleeper(void *unused)
{
	pause();
	return unused;
}

/* Ends with threads that have not. */
static void group(void)
{
	pid_t child = born(fork());
	pthread_t thread;
	int i;

	if (child == 0) {
		for (i = 0; i < 3; i++) {
			must(pthread_create(&thread, NULL, sleeper, NULL) == 0);
			atomic_fetch_add(&count->births, 1);
		}
		_exit(0);
	}
	reap(child);
}

static void round_of_all(void)
{
	plain_fork();
	double_fork();
	fork_for_parent();
	thread(idle);
	thread(forker);
	virtual_fork();
	spawn();
	group();
}

static void loop(int processor, int rounds)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	/* With one processor both run there. */
	sched_setaffinity(0, sizeof set, &set);
	while (rounds-- > 0)
		round_of_all();
	while (wait(NULL) > 0)
		;
	_exit(0);
}

int main(int argc, char *argv[])
{
	int rounds, i;

	if (argc != 2 || (rounds = atoi(argv[1])) <= 0)
		errx(2, "usage: storm ROUNDS");
	count = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(count != MAP_FAILED);
	must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	say("ready");
	if (!heard())
		return 0;
	for (i = 0; i < 2; i++)
		if (born(fork()) == 0)
			loop(i, rounds);
	/* The orphans too. */
	while (wait(NULL) > 0)
		;
	printf("%ld %ld\n", atomic_load(&count->births), atomic_load(&count->execs));
	must(fflush(stdout) == 0);
	heard();
	return 0;
}
