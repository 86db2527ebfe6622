/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "common.h"

#include <sys/mman.h>
#include <sys/wait.h>

static const char help[] =
	"usage: crowd DEVICE REGISTRATIONS\n"
	"64 monitors with so many registrations each, most for tasks that do not exist;\n"
	"they share four targets that fork as fast as they can. Each monitor must hear\n"
	"of each fork once, in the order of its target. Exit status 0: so it was.\n";

enum { MONITORS = 64, TARGETS = 4, FORKS = 500, NOBODY = 1 << 23 };

static struct shared {
	volatile int watching, begin;
	pid_t children[TARGETS][FORKS];
} *shared;

static void target(int number)
{
	while (!shared->begin)
		usleep(1000);
	for (int i = 0; i < FORKS; i++) {
		pid_t child = fork();

		if (child == 0)
			_exit(0);
		must(child > 0);
		shared->children[number][i] = child;
	}
	while (wait(NULL) > 0)
		;
	_exit(0);
}

static void monitor(const char *path, int registrations, const pid_t *targets)
{
	int device = open(path, O_RDWR | O_CLOEXEC), next[TARGETS] = { 0 }, i;
	siginfo_t info;

	must(device != -1);
	for (i = 0; i < registrations; i++) {
		int real = i < TARGETS;

		must(command(device, KMONITOR_IOW_REGISTER, real ? targets[i] : NOBODY + i, KMONITOR_PROCESS_FORK,
			     SIGRTMIN + (real ? i : TARGETS)) == 0);
	}
	__sync_fetch_and_add(&shared->watching, 1);
	while (!shared->begin)
		usleep(1000);
	for (i = 0; i < TARGETS * FORKS; i++) {
		int number;

		if (!next_signal(&info, 30000))
			errx(1, "%d of %d signals came", i, TARGETS * FORKS);
		number = info.si_signo - SIGRTMIN;
		must(number < TARGETS && next[number] < FORKS);
		/* The target writes it down just after the fork. */
		for (int patience = 0; shared->children[number][next[number]] == 0 && patience < 10000; patience++)
			usleep(1000);
		must(shared->children[number][next[number]++] == info.si_pid);
	}
	must(!next_signal(&info, 100));
	_exit(0);
}

int main(int argc, char *argv[])
{
	pid_t targets[TARGETS], monitors[MONITORS];
	int registrations, status, wrong = 0, i;

	check_usage(argc, argv, 3, help);
	registrations = positive(argv[2], help);
	if (registrations <= TARGETS)
		refuse_usage(help);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(shared != MAP_FAILED);
	prepare_signals();
	for (i = 0; i < TARGETS; i++)
		if ((targets[i] = fork_helper()) == 0)
			target(i);
	for (i = 0; i < MONITORS; i++)
		if ((monitors[i] = fork_helper()) == 0)
			monitor(argv[1], registrations, targets);
	while (shared->watching < MONITORS)
		must(usleep(1000) == 0 && waitpid(-1, &status, WNOHANG) == 0);
	shared->begin = 1;
	for (i = 0; i < MONITORS; i++) {
		must(waitpid(monitors[i], &status, 0) == monitors[i]);
		wrong += status != 0;
	}
	printf("%d of %d monitors heard everything\n", MONITORS - wrong, MONITORS);
	return wrong != 0;
}
