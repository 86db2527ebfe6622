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
	"  gone pid=PID          it did not exist, or had ended, when we came; or it is a\n"
	"                        thread that has executed a program, which then goes on\n"
	"                        under the id of the process\n"
	"\n"
	"A PID may be a thread's id. For a process, the end of its main thread counts:\n"
	"other threads may go on, and one of them may carry on the process by an exec.\n"
	"Where /proc hides the processes of others (hidepid=), this takes the process\n"
	"whose main thread has ended before for running until all its threads have, and\n"
	"does not see that a thread has executed a program.\n"
	"\n"
	"Exit status: 0 all have exited, 1 the time is over, 2 wrong usage, 3 the device\n"
	"or the system refused. SIGINT and SIGTERM end it; the processes go on.\n";

/* The end of a main thread is the first of these events, of any other thread the second. */
#define EXIT_EVENTS (KMONITOR_PROCESS_EXIT | KMONITOR_THREAD_EXIT)

struct target {
	pid_t pid;
	pid_t process;	/* of a thread other than the main one, else 0 */
	int pidfd;	/* tells the end that no event may tell, else -1 */
	int ended;	/* without an event, as far as is known; it is deregistered */
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
			targets[target_count++] = (struct target){ .pid = pid, .pidfd = -1 };
	}
	unfinished = target_count;
}

static void must_register(pid_t pid, int events, int signal)
{
	if (register_target(device, pid, events, signal) == -1)
		err(EXIT_TROUBLE, "the device does not register %d", (int)pid);
}

/* An entry outlives its target, and a later process with the same number would fire it. */
static void deregister(pid_t pid)
{
	if (deregister_target(device, pid, EXIT_EVENTS) == -1)
		warn("cannot deregister %d", (int)pid);
}

/* Once DEREGISTER has returned, an exit that was seen is a pending signal. */
static void end_without_event(struct target *target)
{
	target->ended = 1;
	deregister(target->pid);
}

static void register_targets(int signal, int verbose)
{
	int i;

	for (i = 0; i < target_count; i++) {
		struct target *target = &targets[i];
		pid_t process;

		must_register(target->pid, EXIT_EVENTS, signal);
		process = process_of(target->pid);
		if (process && process != target->pid) {
			/* A thread that executes a program has no exit event. */
			target->process = process;
			must_register(process, KMONITOR_PROCESS_EXEC, signal);
		}
		if (verbose)
			printf("wait pid=%d\n", (int)target->pid);
		switch (state_of(target->pid)) {
		case TASK_RUNS:
			break;
		case TASK_HAS_ENDED:
			end_without_event(target);
			break;
		case TASK_IS_HIDDEN:
			target->pidfd = open_pidfd(target->pid);
			if (target->pidfd == -1 && errno == ESRCH)
				end_without_event(target);
			else if (target->pidfd == -1)
				err(EXIT_TROUBLE, "cannot watch the end of process %d", (int)target->pid);
			break;
		}
	}
}

static void finish(struct target *target)
{
	target->over = 1;
	unfinished--;
}

/* An exec ends all threads of the process but the one that goes on under its id. */
static void end_threads(pid_t process)
{
	int i;

	for (i = 0; i < target_count; i++) {
		struct target *target = &targets[i];

		if (target->process == process && !target->ended && !target->over &&
		    state_of(target->pid) == TASK_HAS_ENDED)
			end_without_event(target);
	}
}

static void handle_event(const siginfo_t *info)
{
	struct target *target = find_target(info->si_pid);

	/* Anybody may send us this signal; the device says SI_QUEUE and names the event. */
	if (info->si_code != SI_QUEUE)
		return;
	if (info->si_int == KMONITOR_PROCESS_EXEC) {
		end_threads(info->si_pid);
	} else if ((info->si_int & EXIT_EVENTS) && target && !target->over) {
		printf("exit pid=%d uid=%u\n", (int)info->si_pid, (unsigned)info->si_uid);
		if (!target->ended)
			deregister(target->pid);
		finish(target);
	}
}

/* No signal is pending: what has ended will not be reported. */
static void report_gone(void)
{
	int i;

	for (i = 0; i < target_count; i++) {
		if (targets[i].ended && !targets[i].over) {
			printf("gone pid=%d\n", (int)targets[i].pid);
			finish(&targets[i]);
		}
	}
}

/* Waits for signals and pidfds; false when the deadline passes first. */
static int wait_for_news(int pending_signals, const struct timespec *deadline)
{
	struct pollfd *news = calloc(1 + target_count, sizeof *news);
	int i, ready;

	if (!news)
		err(EXIT_TROUBLE, "no memory for %d targets", target_count);
	news[0] = (struct pollfd){ .fd = pending_signals, .events = POLLIN };
	/* poll() passes over the descriptor -1. */
	for (i = 0; i < target_count; i++)
		news[1 + i] = (struct pollfd){ .fd = targets[i].over ? -1 : targets[i].pidfd, .events = POLLIN };
	ready = wait_readable(news, 1 + target_count, deadline);
	for (i = 0; i < target_count; i++)
		if (news[1 + i].revents && !targets[i].ended)
			end_without_event(&targets[i]);
	free(news);
	return ready;
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
	int limited = 0, verbose = 0, pending_signals, option;
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
			return finish_output(EXIT_DONE);
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
	pending_signals = open_signals(&signals);
	register_targets(SIGRTMIN, verbose);

	for (;;) {
		while (take_signal(&signals, &info, &NO_WAIT))
			handle_event(&info);
		report_gone();
		if (!unfinished)
			return finish_output(EXIT_DONE);
		if (!wait_for_news(pending_signals, limited ? &deadline : NULL)) {
			report_timeout();
			return finish_output(EXIT_NOT_DONE);
		}
	}
}
