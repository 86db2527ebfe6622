/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "rounds.h"

#include <sys/mman.h>
#include <sys/select.h>
#include <time.h>

static const char help[] =
	"usage: vigil DEVICE\n"
	"A healthy monitor: its target forks a hundred times a second, until the input\n"
	"ends. Beside it a bystander without registration is woken through a pipe as often.\n"
	"Prints how many forks were signalled and are missing, and how late the signals,\n"
	"and the bystander's wake-ups, were.\n"
	"Exit status 0: each fork was signalled, once and in order, and the exit.\n";

enum { MOST = 1 << 20, PAUSE = 10000 };

static struct {
	volatile int stop, made;
	struct { volatile double at; volatile pid_t child; } forks[MOST];
	int woken;
	double wakes[MOST];
} *shared;

static double delays[MOST];

static double now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void target(int go)
{
	char byte;
	int i;

	must(read(go, &byte, 1) == 1);
	for (i = 0; i < MOST && !shared->stop; i++) {
		pid_t child;

		shared->forks[i].at = now();
		child = fork();
		must(child != -1);
		if (child == 0)
			_exit(0);
		shared->forks[i].child = child;
		shared->made = i + 1;
		must(wait_for(child, NULL) == child);
		usleep(PAUSE);
	}
	_exit(0);
}

static void waker(int pipe)
{
	double at;

	while (!shared->stop) {
		usleep(PAUSE);
		at = now();
		must(write(pipe, &at, sizeof at) == sizeof at);
	}
	_exit(0);
}

static void bystander(int pipe)
{
	double at;

	while (shared->woken < MOST && read(pipe, &at, sizeof at) == sizeof at)
		shared->wakes[shared->woken++] = now() - at;
	_exit(0);
}

static int compare(const void *one, const void *other)
{
	double a = *(const double *)one, b = *(const double *)other;

	return (a > b) - (a < b);
}

static void print(const char *who, double *late, int count)
{
	qsort(late, count, sizeof *late, compare);
	printf("%s: %d, late p50 %.2f p99 %.2f worst %.2f ms\n", who, count, 1e3 * late[count / 2],
	       1e3 * late[count * 99 / 100], 1e3 * late[count - 1]);
}

/* The input has ended. */
static int asked_to_stop(void)
{
	fd_set input;
	struct timeval no_time = { 0, 0 };

	FD_ZERO(&input);
	FD_SET(STDIN_FILENO, &input);
	return select(1, &input, NULL, NULL, &no_time) == 1;
}

int main(int argc, char *argv[])
{
	int go[2], wake[2], device, count = 0, exits = 0;
	pid_t watched, helpers[2];
	siginfo_t info;

	check_usage(argc, argv, 2, help);
	round_of = "vigil";
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	must(shared != MAP_FAILED);
	prepare_signals();
	must(pipe(go) == 0 && pipe(wake) == 0);
	watched = fork_helper();
	if (watched == 0)
		target(go[0]);
	helpers[0] = fork_helper();
	if (helpers[0] == 0)
		waker(wake[1]);
	close(wake[1]);
	helpers[1] = fork_helper();
	if (helpers[1] == 0)
		bystander(wake[0]);

	device = open_or_fail(argv[1]);
	register_events(device, watched, KMONITOR_PROCESS_FORK | KMONITOR_PROCESS_EXIT);
	must(write(go[1], "", 1) == 1);
	while (!exits) {
		if (!shared->stop && asked_to_stop())
			shared->stop = 1;
		if (!next_signal(&info, 1000)) {
			/* Once the target has ended, all is signalled when DEREGISTER returns. */
			if (waitpid(watched, NULL, WNOHANG) != watched)
				continue;
			must(command(device, KMONITOR_IOW_DEREGISTER, watched, 0x7f, 0) == 0);
			if (!next_signal(&info, 0))
				break;
		}
		if (info.si_code != SI_QUEUE)
			fail("a signal of somebody else: %d", (int)info.si_pid);
		if (info.si_int == KMONITOR_PROCESS_EXIT) {
			exits++;
			continue;
		}
		if (info.si_int != KMONITOR_PROCESS_FORK || count == MOST)
			fail("event %#x", info.si_int);
		delays[count] = now() - shared->forks[count].at;
		/* The signal may come before the fork has returned in the target. */
		while (shared->made <= count)
			usleep(100);
		if (info.si_pid != shared->forks[count].child)
			fail("signal %d is of %d, and fork %d made %d", count, (int)info.si_pid, count,
			     (int)shared->forks[count].child);
		count++;
	}
	must(wait_for(helpers[0], NULL) == helpers[0] && wait_for(helpers[1], NULL) == helpers[1]);
	print("signals", delays, count);
	print("bystander", shared->wakes, shared->woken);
	if (count != shared->made || exits != 1)
		fail("%d of %d forks, %d exits", count, shared->made, exits);
	return 0;
}
