/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Follows a process and all that it starts, and prints every event.
 *
 * A registration is for one task, and children inherit none: each new process
 * and thread is registered when the signal of its creation is taken. What it
 * did before that is not reported; children that it forked are found in /proc.
 */
#define _GNU_SOURCE
#include "client.h"
#include "tasks.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"usage: monitor_pid [-d DEVICE] [-n EVENTS] [-t SECONDS] PID\n"
	"       monitor_pid [-d DEVICE] [-n EVENTS] [-t SECONDS] -- COMMAND [ARGUMENT...]\n"
	"Follows a process and its whole sub-tree, and prints every event. Ends when all\n"
	"that it follows have exited. COMMAND is started when it is already registered.\n"
	"\n"
	"  -d DEVICE   the kmonitor device (default " DEFAULT_DEVICE ")\n"
	"  -n EVENTS   end after so many events\n"
	"  -t SECONDS  end after this time; decimals are allowed\n"
	"  -h          print this help\n"
	"\n"
	"Standard output, one line each:\n"
	"  follow pid=PID           the first process is registered\n"
	"  EVENT pid=PID uid=UID    an event: PID is its subject, UID its real user.\n"
	"     fork, thread-create      the subject is the new process, the new thread;\n"
	"                              the interface does not say who made it\n"
	"     exec, exit, thread-exit  the subject is the task that did it\n"
	"     abort, thread-abort      only from services that send them\n"
	"  adopt pid=PID            a process or thread whose creation was not reported:\n"
	"                           it was found in /proc and is followed from here on\n"
	"  missed pid=PID           it had ended before it could be registered, or a thread\n"
	"                           had gone on as its process by an exec; what it did, and\n"
	"                           what it left behind, is unknown\n"
	"  summary end=WHY events=N thread-create=N thread-abort=N thread-exit=N fork=N\n"
	"     abort=N exec=N exit=N adopted=N missed=N following=N\n"
	"                           one line, the last. WHY is done, events (-n), time\n"
	"                           (-t) or signal; following: who still runs\n"
	"\n"
	"What a child does before its parent's fork has been read and answered by a\n"
	"registration is not reported: that is inherent in the interface. COMMAND goes on\n"
	"when monitor_pid ends first; its standard output is monitor_pid's. Processes\n"
	"that /proc hides (hidepid=) are followed only as far as events name them.\n"
	"\n"
	"Exit status: 0 all have exited, or EVENTS were printed; 1 the time is over;\n"
	"2 wrong usage; 3 the device or the system refused, or there is no such process;\n"
	"127 COMMAND could not be executed; 128+N ended by signal N (INT or TERM).\n";

#define EVENT_KINDS 7

enum { EXIT_NOT_EXECUTED = 127, EXIT_BY_SIGNAL = 128 };

static unsigned long events, adopted, missed;
static unsigned long counts[EVENT_KINDS];	/* by bit number */

/* ---- The command ---- */

struct command {
	pid_t pid;
	int go;		/* a byte in here starts it */
	int failure;	/* the errno of a failed exec comes out of here, else end of file */
};

/*
 * The child is made before signals are blocked, limits raised and the device
 * opened: the command inherits none of that.
 */
static struct command fork_held_back(char *argv[])
{
	struct command command;
	int go[2], failure[2], error;
	char byte;

	if (pipe2(go, O_CLOEXEC) == -1 || pipe2(failure, O_CLOEXEC) == -1)
		err(EXIT_TROUBLE, "cannot make a pipe");
	command.pid = fork();
	if (command.pid == -1)
		err(EXIT_TROUBLE, "cannot fork for %s", argv[0]);
	if (command.pid == 0) {
		close(go[1]);
		/* End of file: the parent gave up. */
		if (read(go[0], &byte, 1) != 1)
			_exit(EXIT_TROUBLE);
		execvp(argv[0], argv);
		error = errno;
		if (write(failure[1], &error, sizeof error) != sizeof error)
			_exit(EXIT_TROUBLE);
		_exit(EXIT_NOT_EXECUTED);
	}
	close(go[0]);
	close(failure[1]);
	command.go = go[1];
	command.failure = failure[0];
	return command;
}

static void start(const struct command *command, const char *name)
{
	int error;

	if (write(command->go, "", 1) != 1)
		err(EXIT_TROUBLE, "cannot start %s", name);
	if (read(command->failure, &error, sizeof error) == sizeof error)
		errx(EXIT_NOT_EXECUTED, "cannot execute %s: %s", name, strerror(error));
	close(command->go);
	close(command->failure);
}

/* ---- Events ---- */

static void count_event(int event)
{
	int bit;

	events++;
	for (bit = 0; bit < EVENT_KINDS; bit++)
		if (event == 1 << bit)
			counts[bit]++;
}

static void print_adopted(struct task *task)
{
	printf("adopt pid=%d\n", (int)task->tid);
	task->unannounced = 0;
	adopted++;
}

static void follow_new(pid_t tid, pid_t tgid)
{
	if (follow_task(tid, tgid, 0) == -1) {
		warn("cannot register %d", (int)tid);
		printf("missed pid=%d\n", (int)tid);
		missed++;
	}
	follow_started_before();
}

static void handle_event(const siginfo_t *info)
{
	pid_t subject = info->si_pid;
	struct task *task = find_task(subject);
	int event = info->si_int;
	int is_creation = event == KMONITOR_PROCESS_FORK || event == KMONITOR_THREAD_CREATE;

	/* Anybody may send us this signal; the device says SI_QUEUE. */
	if (info->si_code != SI_QUEUE)
		return;
	/* It was found ending and given up; its exit has just overtaken that. */
	if (!task && (event == KMONITOR_PROCESS_EXIT || event == KMONITOR_THREAD_EXIT))
		return;
	if (task && task->unannounced) {
		/* Creation is reported before all else that a task does, or not at all. */
		if (is_creation)
			task->unannounced = 0;
		else
			print_adopted(task);
	}
	printf("%s pid=%d uid=%u\n", event_name(event), (int)subject, (unsigned)info->si_uid);
	count_event(event);

	switch (event) {
	case KMONITOR_PROCESS_FORK:
		follow_new(subject, subject);
		break;
	case KMONITOR_THREAD_CREATE:
		follow_new(subject, process_of(subject));
		break;
	case KMONITOR_PROCESS_EXEC:
		begin_program(subject);
		break;
	case KMONITOR_PROCESS_EXIT:
	case KMONITOR_THREAD_EXIT:
		if (task)
			end_task(subject);
		break;
	}
}

/*
 * No signal is pending: what has not been reported by now will not be. Returns
 * false if there is one after all.
 */
static int settle(void)
{
	int i = 0;

	while (i < task_count) {
		struct task *task = &tasks[i];

		if (task->found_ended) {
			printf("missed pid=%d\n", (int)task->tid);
			missed++;
			task->unannounced = 0;
			end_task(task->tid);
			i = 0;
		} else if (task->pidfd != -1 && is_readable(task->pidfd)) {
			/* It may have executed a program before. */
			if (!task->flushed) {
				flush_events(task);
				task->flushed = 1;
				return 0;
			}
			end_task(task->tid);
			i = 0;
		} else {
			if (task->unannounced)
				print_adopted(task);
			i++;
		}
	}
	return 1;
}

/* Waits for signals, and for the ends of processes whose main threads are gone. */
static void wait_for_news(int pending_signals, const struct timespec *deadline)
{
	struct pollfd *news = calloc(1 + task_count, sizeof *news);
	int count = 0, i;

	if (!news)
		err(EXIT_TROUBLE, "no memory for %d tasks", task_count);
	news[count++] = (struct pollfd){ .fd = pending_signals, .events = POLLIN };
	for (i = 0; i < task_count; i++)
		if (tasks[i].pidfd != -1)
			news[count++] = (struct pollfd){ .fd = tasks[i].pidfd, .events = POLLIN };
	wait_readable(news, count, deadline);
	free(news);
}

static void print_summary(const char *why)
{
	int bit;

	printf("summary end=%s events=%lu", why, events);
	for (bit = 0; bit < EVENT_KINDS; bit++)
		printf(" %s=%lu", event_name(1 << bit), counts[bit]);
	printf(" adopted=%lu missed=%lu following=%d\n", adopted, missed, task_count);
}

/* ---- The program ---- */

static int monitor(const sigset_t *signals, const struct timespec *deadline, unsigned long most)
{
	int pending_signals = open_signals(signals);
	siginfo_t info;
	int signal;

	while (!most || events < most) {
		signal = take_signal(signals, &info, &NO_WAIT);
		if (signal == SIGINT || signal == SIGTERM) {
			print_summary("signal");
			return EXIT_BY_SIGNAL + signal;
		}
		if (signal) {
			handle_event(&info);
		} else if (settle()) {
			if (!task_count) {
				print_summary("done");
				return EXIT_DONE;
			}
			wait_for_news(pending_signals, deadline);
		}
		if (deadline && has_passed(deadline)) {
			print_summary("time");
			return EXIT_NOT_DONE;
		}
	}
	print_summary("events");
	return EXIT_DONE;
}

static void follow_first(pid_t pid)
{
	pid_t process;

	if (follow_task(pid, pid, 0) == -1)
		err(EXIT_TROUBLE, "the device does not register %d", (int)pid);
	process = process_of(pid);
	if (process && process != pid)
		errx(EXIT_TROUBLE, "%d is a thread of process %d; follow that", (int)pid, (int)process);
	follow_started_before();
	/* Its main thread alone may have ended. */
	if (task_count == 1 && tasks[0].found_ended)
		errx(EXIT_TROUBLE, "there is no process %d, or it has ended", (int)pid);
	printf("follow pid=%d\n", (int)pid);
}

int main(int argc, char *argv[])
{
	const char *path = DEFAULT_DEVICE;
	struct command command = { 0 };
	struct timespec deadline;
	int limited = 0, option;
	unsigned long most = 0;
	sigset_t signals;
	pid_t first;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((option = getopt(argc, argv, "+d:n:t:h")) != -1) {
		switch (option) {
		case 'd':
			path = optarg;
			break;
		case 'n':
			most = parse_number(optarg, LONG_MAX, "number of events");
			break;
		case 't':
			deadline = parse_deadline(optarg);
			limited = 1;
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
		errx(EXIT_USAGE, "neither a PID nor -- and a COMMAND given; see -h");
	if (strcmp(argv[optind - 1], "--") == 0) {
		command = fork_held_back(argv + optind);
		first = command.pid;
	} else {
		first = parse_number(argv[optind], INT_MAX, "PID");
		if (optind + 1 < argc)
			errx(EXIT_USAGE, "'%s' follows the PID; a COMMAND stands after --", argv[optind + 1]);
		if (first == getpid())
			errx(EXIT_USAGE, "%d is this program itself", (int)first);
	}

	/* Blocked before the first REGISTER, so that no signal comes before we wait for it. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGRTMIN);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) == -1)
		err(EXIT_TROUBLE, "cannot block signals");
	raise_signal_limit();

	follow_through(open_device(path), SIGRTMIN);
	follow_first(first);
	if (command.pid)
		start(&command, argv[optind]);
	return finish_output(monitor(&signals, limited ? &deadline : NULL, most));
}
