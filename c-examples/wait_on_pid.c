/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Waits until processes have exited. They need not be children, and nothing
 * is polled.
 */
#include "client.h"

#include <err.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"usage: wait_on_pid [-d DEVICE] [-t SECONDS] [-v] PID...\n"
	"Waits until every PID has exited.\n"
	"\n"
	"  -d DEVICE   the kmonitor device (default " DEFAULT_DEVICE ")\n"
	"  -t SECONDS  give up after this time; decimals are allowed\n"
	"  -v          also print a line for each PID once it is registered\n"
	"  -h          print this help\n"
	"\n"
	"Standard output, one line each:\n"
	"  wait pid=PID          registered: its exit will not be missed (with -v)\n"
	"  exit pid=PID uid=UID  it has exited while we waited\n"
	"  gone pid=PID          it did not exist, or had begun to exit, when we came\n"
	"\n"
	"A PID may be a thread's id. For a process, the end of its main thread counts:\n"
	"other threads may go on, and one of them may carry on the process by an exec.\n"
	"\n"
	"Exit status: 0 all have exited, 1 the time is over, 2 wrong usage, 3 the device\n"
	"or the system refused.\n";

/* The end of a main thread is the first of these events, of any other thread the second. */
#define EXIT_EVENTS (KMONITOR_PROCESS_EXIT | KMONITOR_THREAD_EXIT)

struct target {
	pid_t pid;
	int ending;	/* found so after REGISTER, and deregistered */
	int over;
};

static struct target *targets;
static int target_count;
static int unfinished;
static int device;

static struct target *find_target(pid_t pid)
{
	int i;

	for (i = 0; i < target_count; i++)
		if (targets[i].pid == pid)
			return &targets[i];
	return NULL;
}

static void parse_targets(char **pids, int count)
{
	int i;

	targets = calloc(count, sizeof *targets);
	if (!targets)
		err(EXIT_TROUBLE, "no memory for %d targets", count);
	for (i = 0; i < count; i++) {
		pid_t pid = parse_number(pids[i], INT_MAX, "PID");

		if (pid == getpid())
			errx(EXIT_USAGE, "%d is this program itself, which cannot wait for its own end", (int)pid);
		if (!find_target(pid))
			targets[target_count++].pid = pid;
	}
	unfinished = target_count;
}

/* An entry outlives its target, and a later process with the same number would fire it. */
static void deregister(pid_t pid)
{
	if (deregister_target(device, pid, EXIT_EVENTS) == -1)
		warn("cannot deregister %d", (int)pid);
}

static void register_targets(int signal, int verbose)
{
	int i;

	for (i = 0; i < target_count; i++) {
		struct target *target = &targets[i];

		if (register_target(device, target->pid, EXIT_EVENTS, signal) == -1)
			err(EXIT_TROUBLE, "the device does not register %d", (int)target->pid);
		if (verbose)
			printf("wait pid=%d\n", (int)target->pid);
		/* Once DEREGISTER has returned, an exit that was seen is a pending signal. */
		if (task_is_ending(target->pid)) {
			target->ending = 1;
			deregister(target->pid);
		}
	}
}

static void finish(struct target *target)
{
	target->over = 1;
	unfinished--;
}

static void report_exit(const siginfo_t *info)
{
	struct target *target = find_target(info->si_pid);

	/* Anybody may send us this signal; the device says SI_QUEUE and names the event. */
	if (info->si_code != SI_QUEUE || !(info->si_int & EXIT_EVENTS) || !target || target->over)
		return;
	printf("exit pid=%d uid=%u\n", (int)info->si_pid, (unsigned)info->si_uid);
	if (!target->ending)
		deregister(target->pid);
	finish(target);
}

static void report_gone(void)
{
	int i;

	for (i = 0; i < target_count; i++) {
		if (targets[i].ending && !targets[i].over) {
			printf("gone pid=%d\n", (int)targets[i].pid);
			finish(&targets[i]);
		}
	}
}

static void report_timeout(void)
{
	int i;

	for (i = 0; i < target_count; i++)
		if (!targets[i].over)
			warnx("the time is over and %d has not exited", (int)targets[i].pid);
}

int main(int argc, char *argv[])
{
	const char *path = DEFAULT_DEVICE;
	struct timespec deadline;
	int limited = 0, verbose = 0, option;
	sigset_t signals;
	siginfo_t info;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((option = getopt(argc, argv, "d:t:vh")) != -1) {
		switch (option) {
		case 'd':
			path = optarg;
			break;
		case 't':
			deadline = parse_deadline(optarg);
			limited = 1;
			break;
		case 'v':
			verbose = 1;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_DONE;
		default:
			fputs(help, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind == argc)
		errx(EXIT_USAGE, "no PID given; see -h");
	parse_targets(argv + optind, argc - optind);

	/* Blocked before the first REGISTER, so that no signal comes before we wait for it. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGRTMIN);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) == -1)
		err(EXIT_TROUBLE, "cannot block the signal");
	raise_signal_limit();

	device = open_device(path);
	register_targets(SIGRTMIN, verbose);

	while (take_signal(&signals, &info, &NO_WAIT))
		report_exit(&info);
	report_gone();
	while (unfinished) {
		if (!take_signal(&signals, &info, limited ? &deadline : NULL)) {
			report_timeout();
			return EXIT_NOT_DONE;
		}
		report_exit(&info);
	}
	return EXIT_DONE;
}
