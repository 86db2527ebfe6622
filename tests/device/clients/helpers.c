/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "common.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

static const char help[] =
	"usage: helpers DEVICE keep|dup ROUNDS\n"
	"A monitor registers through one open of the device, which helper processes\n"
	"share that exit all the time: closes that are not the last. The helpers have\n"
	"the lowest priority, and the processors are busy, so that they are slow about\n"
	"it. DEREGISTER comes through another open. By its return every event before it\n"
	"must be signalled, and none may come later.\n"
	"\n"
	"  keep    the monitor never closes a descriptor of the first open\n"
	"  dup     it closes a copy, once it has registered\n"
	"\n"
	"Exit status 0: so it was.\n";

enum { HOGS = 4, HELPERS = 2, FORKS = 10 };

static pid_t others[HOGS + HELPERS];

static void start_hog(pid_t *hog)
{
	*hog = fork_helper();
	while (*hog == 0)
		;
}

/* Shares the descriptor with its children, which do nothing but exit. */
static void start_helper(pid_t *helper)
{
	struct sched_param none = { 0 };

	*helper = fork_helper();
	if (*helper)
		return;
	must(sched_setscheduler(0, SCHED_IDLE, &none) == 0);
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		if (fork() == 0)
			_exit(0);
		usleep(1000);
	}
}

/* Forks once it is told to, and ends. */
static pid_t start_target(const int keep_out[2], int go)
{
	pid_t target = fork_helper();
	char byte;
	int i;

	if (target)
		return target;
	close(keep_out[0]);
	close(keep_out[1]);
	must(read(go, &byte, 1) == 1);
	for (i = 0; i < FORKS; i++) {
		pid_t child = fork();

		if (child == 0)
			_exit(0);
		must(waitpid(child, NULL, 0) == child);
	}
	_exit(0);
}

static int count_pending(void)
{
	siginfo_t info;
	int count = 0;

	while (next_signal(&info, 0))
		count++;
	return count;
}

int main(int argc, char *argv[])
{
	const int events = KMONITOR_PROCESS_FORK | KMONITOR_PROCESS_EXIT;
	int rounds, dups, round, i, lost = 0, late = 0, opens[2], go[2];

	check_usage(argc, argv, 4, help);
	rounds = positive(argv[3], help);
	dups = strcmp(argv[2], "dup") == 0;
	prepare_signals();
	must(pipe2(go, O_CLOEXEC) == 0);
	opens[0] = open(argv[1], O_RDWR | O_CLOEXEC);
	must(opens[0] != -1);
	for (i = HOGS; i < HOGS + HELPERS; i++)
		start_helper(&others[i]);
	opens[1] = open(argv[1], O_RDWR | O_CLOEXEC);
	must(opens[1] != -1);
	for (i = 0; i < HOGS; i++)
		start_hog(&others[i]);
	for (round = 0; round < rounds; round++) {
		pid_t target = start_target(opens, go[0]);

		late += count_pending();
		errno = -command(opens[0], KMONITOR_IOW_REGISTER, target, events, SIGRTMIN);
		must(errno == 0);
		if (dups)
			must(close(dup(opens[0])) == 0);
		must(write(go[1], "", 1) == 1);
		must(waitpid(target, NULL, 0) == target);
		errno = -command(opens[1], KMONITOR_IOW_DEREGISTER, target, events, 0);
		must(errno == 0);
		lost += FORKS + 1 - count_pending();
	}
	for (i = 0; i < HOGS + HELPERS; i++)
		must(kill(others[i], SIGKILL) == 0);
	usleep(100000);
	late += count_pending();
	printf("%d rounds of %d events: %d lost, %d late\n", rounds, FORKS + 1, lost, late);
	return lost || late;
}
