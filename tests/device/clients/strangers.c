/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "common.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>

static const char help[] =
	"usage: strangers DEVICE THREADS SECONDS\n"
	"So many threads of a user who may not open the device ask for its file system's\n"
	"figures (statfs) without end, which takes no permission. Meanwhile a monitor\n"
	"watches a target that forks: every fork must be signalled. Prints how long after\n"
	"the fork's begin that was. Both go before all ordinary programs, so that it is\n"
	"the device's delay.\n"
	"\n"
	"Exit status 0: so it was.\n";

enum { NOBODY = 65534, MOST = 100000 };

static const char *device;
static struct {
	double begun[MOST];
	int forks;
} *target;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void *ask(void *unused)
{
	struct statfs figures;

	while (statfs(device, &figures) == 0)
		;
	return unused;
}

static pid_t start_strangers(int threads)
{
	pid_t strangers = fork_helper();
	pthread_t thread;

	if (strangers)
		return strangers;
	must(setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0);
	while (threads--)
		must(pthread_create(&thread, NULL, ask, NULL) == 0);
	for (;;)
		pause();
}

static void go_first(void)
{
	struct sched_param lowest = { .sched_priority = 1 };

	must(sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest) == 0);
}

static pid_t start_target(int go, double seconds)
{
	pid_t pid = fork_helper();
	double end;
	char byte;

	if (pid)
		return pid;
	must(read(go, &byte, 1) == 1);
	go_first();
	for (end = now() + seconds; now() < end && target->forks < MOST; usleep(2000)) {
		pid_t child;

		target->begun[target->forks++] = now();
		child = fork();
		if (child == 0)
			_exit(0);
		must(waitpid(child, NULL, 0) == child);
	}
	_exit(0);
}

static int compare(const void *a, const void *b)
{
	double difference = *(const double *)a - *(const double *)b;

	return (difference > 0) - (difference < 0);
}

int main(int argc, char *argv[])
{
	static double delays[MOST];
	int threads, fd, go[2], seen = 0;
	double seconds;
	siginfo_t info;
	pid_t pid, strangers = 0;

	check_usage(argc, argv, 4, help);
	seconds = positive(argv[3], help);
	device = argv[1];
	threads = atoi(argv[2]);
	target = mmap(NULL, sizeof *target, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(target != MAP_FAILED);
	prepare_signals();
	must(pipe(go) == 0);
	pid = start_target(go[0], seconds);
	fd = open(device, O_RDWR | O_CLOEXEC);
	must(fd != -1);
	errno = -command(fd, KMONITOR_IOW_REGISTER, pid, KMONITOR_PROCESS_FORK | KMONITOR_PROCESS_EXIT, SIGRTMIN);
	must(errno == 0);
	if (threads)
		strangers = start_strangers(threads);
	go_first();
	must(write(go[1], "", 1) == 1);
	while (next_signal(&info, 20000) && info.si_int == KMONITOR_PROCESS_FORK && seen < MOST) {
		delays[seen] = now() - target->begun[seen];
		seen++;
	}
	if (threads)
		kill(strangers, SIGKILL);
	if (seen != target->forks || !seen)
		errx(1, "%d of %d forks were signalled", seen, target->forks);
	qsort(delays, seen, sizeof *delays, compare);
	printf("%d threads, %d forks, delay in ms: p50 %.2f, p99 %.2f, worst %.2f\n", threads, seen,
	       1e3 * delays[seen / 2], 1e3 * delays[seen * 99 / 100], 1e3 * delays[seen - 1]);
	return 0;
}
