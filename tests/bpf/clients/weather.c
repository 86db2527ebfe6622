/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * usage: weather
 *
 * Creates tasks without end, children of children whose parents end at once
 * among them; some stay, 30 when it says that it is ready. All are descendants of this process, which takes the
 * orphans. After a line of input it creates no more and says "still" when only
 * those that stay are left; they end with it, at the next line.
 */
#define _GNU_SOURCE
#include "common.h"

#include <poll.h>

#define LOOPS 3
/* Of each loop. */
#define MOST_STAYING 60

static struct {
	atomic_int stop;
	atomic_int staying;
} *shared;
static int staying;

static void *sleeper(void *unused)
{
	pause();
	return unused;
}

static void *forker(void *unused)
{
	pid_t child = fork();

	must(child != -1);
	if (child == 0) {
		usleep(500);
		_exit(0);
	}
	must(waitpid(child, NULL, 0) == child);
	return unused;
}

/* Ends after some time, or stays until it is killed. */
static void live(unsigned chance)
{
	pthread_t thread;

	if (chance % 8 == 0) {
		if (chance % 16 == 0)
			must(pthread_create(&thread, NULL, sleeper, NULL) == 0);
		pause();
	}
	if (chance % 3 == 0)
		usleep(chance % 5000);
	_exit(0);
}

static void reap(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static void one_round(unsigned *seed)
{
	unsigned chance = rand_r(seed);
	pthread_t thread;
	pid_t child;

	if (staying >= MOST_STAYING)
		chance |= 1;
	if (chance % 8 == 0) {
		staying++;
		atomic_fetch_add(&shared->staying, 1);
	}
	child = fork();
	must(child != -1);
	if (child == 0) {
		if (chance & 64) {
			/* Its child's parent ends at once. */
			child = fork();
			must(child != -1);
			if (child > 0)
				_exit(0);
		}
		live(chance);
	}
	if (chance & 32)
		must(pthread_create(&thread, NULL, forker, NULL) == 0 && pthread_join(thread, NULL) == 0);
	reap();
}

static void loop(unsigned seed)
{
	/* The handler ends all of us. */
	must(prctl(PR_SET_PDEATHSIG, SIGTERM) == 0);
	while (!atomic_load(&shared->stop))
		one_round(&seed);
	_exit(0);
}

/* Nobody is left behind. */
static void end(int signal)
{
	(void)signal;
	kill(0, SIGKILL);
}

/* Until there is input; the orphans that have ended do not pile up meanwhile. */
static void reap_until_heard(void)
{
	struct pollfd input = { STDIN_FILENO, POLLIN, 0 };

	while (poll(&input, 1, 10) == 0)
		reap();
	heard();
}

int main(void)
{
	pid_t loops[LOOPS];
	int i;

	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(shared != MAP_FAILED && setpgid(0, 0) == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	must(signal(SIGTERM, end) != SIG_ERR);
	for (i = 0; i < LOOPS; i++) {
		loops[i] = fork();
		must(loops[i] != -1);
		if (loops[i] == 0)
			loop(getpid());
	}
	while (atomic_load(&shared->staying) < 30)
		usleep(1000);
	say("ready");
	reap_until_heard();
	atomic_store(&shared->stop, 1);
	for (i = 0; i < LOOPS; i++)
		must(waitpid(loops[i], NULL, 0) == loops[i]);
	/* Those that end by themselves. */
	for (i = 0; i < 50; i++) {
		usleep(1000);
		reap();
	}
	say("still");
	heard();
	end(0);
	return 0;
}
