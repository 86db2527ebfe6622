/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Registers processes and threads that do not exist yet, makes them, and
 * checks the signals that arrive.
 */
#define _GNU_SOURCE
#include "children.h"
#include "client.h"

#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char help[] =
	"usage: unit_test [-d DEVICE] [-t SECONDS]\n"
	"Checks a kmonitor device with processes that are registered before they exist.\n"
	"\n"
	"  -d DEVICE   the kmonitor device (default " DEFAULT_DEVICE ")\n"
	"  -t SECONDS  how long to wait for a signal that is due (default 5)\n"
	"  -h          print this help\n"
	"\n"
	"Standard output (TAP): for each check \"ok NUMBER - CHECK\" or\n"
	"\"not ok NUMBER - CHECK\", the latter followed by two lines that begin with \"#\";\n"
	"at last \"1..N\", N being the number of checks.\n"
	"\n"
	"Exit status: 0 all checks hold, 1 one does not, 2 wrong usage, 3 the device or\n"
	"the system refused. SIGINT and SIGTERM end it.\n";

/* Makes this program, executed by a child, end at once. */
#define AS_EXEC_TARGET "exec-target"

enum { LOG_SIZE = 512 };

const char *path = DEFAULT_DEVICE;
int device;
sigset_t signals;

static const char *patience = "5";

static int check_number, failures;

/* What a child tells the test; its own memory is not ours. */
static struct {
	volatile pid_t grandchild;
	volatile pid_t thread;
} *shared;

/* ---- Verdicts ---- */

static void check(int holds, const char *claim, const char *expected, const char *seen)
{
	printf("%sok %d - %s\n", holds ? "" : "not ", ++check_number, claim);
	if (!holds) {
		printf("# expected: %s\n# seen:     %s\n", expected, seen);
		failures++;
	}
}

static void check_log(const char *claim, const char *expected, const char *seen)
{
	check(strcmp(expected, seen) == 0, claim, expected, seen);
}

/* ---- Signals ---- */

/* Adds "EVENT(PID)" to the log, with a remark on each field that is not as it must be. */
static void log_signal(char *log, const siginfo_t *info)
{
	size_t length = strlen(log);

	snprintf(log + length, LOG_SIZE - length, "%s%s(%d)%s%s%s%s", length ? " " : "",
		 event_name(info->si_int), (int)info->si_pid,
		 info->si_signo == SIGRTMIN ? "" : "[second signal]",
		 info->si_code == SI_QUEUE ? "" : "[si_code]",
		 info->si_errno == 0 ? "" : "[si_errno]",
		 info->si_uid == getuid() ? "" : "[si_uid]");
}

/* Logs all signals up to the given event of the subject, or until the time is over. */
static void log_until(char *log, int event, pid_t subject)
{
	struct timespec deadline = parse_deadline(patience);
	siginfo_t info;

	while (take_signal(&signals, &info, &deadline)) {
		log_signal(log, &info);
		if (info.si_int == event && info.si_pid == subject)
			return;
	}
}

/* After a DEREGISTER nothing is on its way any more: what is pending is all. */
static void log_rest(char *log)
{
	siginfo_t info;

	while (take_signal(&signals, &info, &NO_WAIT))
		log_signal(log, &info);
}

/* ---- Deeds ---- */

static void do_nothing(void)
{
}

static void fork_and_wait(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	shared->grandchild = pid;
	waitpid(pid, NULL, 0);
}

static void execute(void)
{
	execl("/proc/self/exe", "unit_test", AS_EXEC_TARGET, (char *)NULL);
}

static void fork_then_execute(void)
{
	fork_and_wait();
	execute();
}

static void die(void)
{
	raise(SIGKILL);
}

static void *thread_main(void *unused)
{
	shared->thread = syscall(SYS_gettid);
	send_byte(my_reports);
	receive_byte(my_commands);
	return unused;
}

static void run_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, thread_main, NULL) == 0)
		pthread_join(thread, NULL);
	receive_byte(my_commands);
}

/* ---- The checks ---- */

/* Lets the child act; logs its signals up to its exit, and any that come after. */
static void run_child(struct child *child, char *log)
{
	send_byte(child->commands);
	log_until(log, KMONITOR_PROCESS_EXIT, child->pid);
	must_deregister(child->pid, ALL_EVENTS);
	log_rest(log);
	end_child(child);
}

static void test_exit(void)
{
	struct child child = make_foretold_child(do_nothing, ALL_EVENTS);
	char log[LOG_SIZE] = "", expected[LOG_SIZE];

	run_child(&child, log);
	snprintf(expected, sizeof expected, "exit(%d)", (int)child.pid);
	check_log("a process that exits", expected, log);
}

static void test_kill(void)
{
	struct child child = make_foretold_child(die, ALL_EVENTS);
	char log[LOG_SIZE] = "", expected[LOG_SIZE];

	run_child(&child, log);
	snprintf(expected, sizeof expected, "exit(%d)", (int)child.pid);
	check_log("a process that is killed exits once", expected, log);
}

static void test_fork(void)
{
	struct child child = make_foretold_child(fork_and_wait, ALL_EVENTS);
	char log[LOG_SIZE] = "", expected[LOG_SIZE];

	run_child(&child, log);
	snprintf(expected, sizeof expected, "fork(%d) exit(%d)", (int)shared->grandchild,
		 (int)child.pid);
	check_log("a fork names the new process, which inherits no registration", expected, log);
}

static void test_exec(void)
{
	struct child child = make_foretold_child(execute, ALL_EVENTS);
	char log[LOG_SIZE] = "", expected[LOG_SIZE];

	run_child(&child, log);
	snprintf(expected, sizeof expected, "exec(%d) exit(%d)", (int)child.pid, (int)child.pid);
	check_log("an exec, and the registration survives it", expected, log);
}

static void test_thread(void)
{
	int attempt;

	for (attempt = 0; attempt < ATTEMPTS; attempt++) {
		struct child child = make_foretold_child(run_thread, ALL_EVENTS);
		pid_t before = last_id_given();
		char log[LOG_SIZE] = "", expected[LOG_SIZE];
		siginfo_t info;

		register_range(before, ALL_EVENTS);
		send_byte(child.commands);
		receive_byte(child.reports);
		if (!narrow_range(before, ALL_EVENTS, shared->thread)) {
			must_deregister(child.pid, ALL_EVENTS);
			end_child(&child);
			discard_pending();
			continue;
		}
		/* Others may have had an id of the range: only what is about these two counts. */
		while (take_signal(&signals, &info, &NO_WAIT))
			if (info.si_pid == shared->thread || info.si_pid == child.pid)
				log_signal(log, &info);
		/* pthread_join() returns before the thread has ended: its exit must not race with main's. */
		send_byte(child.commands);
		log_until(log, KMONITOR_THREAD_EXIT, shared->thread);
		run_child(&child, log);
		must_deregister(shared->thread, ALL_EVENTS);
		snprintf(expected, sizeof expected, "thread-create(%d) thread-exit(%d) exit(%d)",
			 (int)shared->thread, (int)shared->thread, (int)child.pid);
		check_log("a thread, registered before it exists, is made and ends", expected, log);
		return;
	}
	errx(EXIT_TROUBLE, "cannot foretell a thread id: others start too many processes");
}

static void test_mask(void)
{
	struct child child = make_foretold_child(fork_then_execute, KMONITOR_PROCESS_EXIT);
	char log[LOG_SIZE] = "", expected[LOG_SIZE];

	run_child(&child, log);
	snprintf(expected, sizeof expected, "exit(%d)", (int)child.pid);
	check_log("only the events that were asked for", expected, log);
}

static void test_second_register(void)
{
	struct child child = make_foretold_child(fork_and_wait, KMONITOR_PROCESS_FORK);
	char log[LOG_SIZE] = "", expected[LOG_SIZE];

	must_register(child.pid, KMONITOR_PROCESS_EXIT, SIGRTMIN + 1);
	run_child(&child, log);
	snprintf(expected, sizeof expected, "fork(%d)[second signal] exit(%d)[second signal]",
		 (int)shared->grandchild, (int)child.pid);
	check_log("a second REGISTER adds its events and replaces the signal", expected, log);
}

static void test_deregister_one(void)
{
	struct child child =
		make_foretold_child(fork_and_wait, KMONITOR_PROCESS_FORK | KMONITOR_PROCESS_EXIT);
	char log[LOG_SIZE] = "", expected[LOG_SIZE];

	must_deregister(child.pid, KMONITOR_PROCESS_FORK);
	run_child(&child, log);
	snprintf(expected, sizeof expected, "exit(%d)", (int)child.pid);
	check_log("DEREGISTER of one event leaves the others", expected, log);
}

/* Lets the child act and end; there is no registration left to report it. */
static void run_unseen(struct child *child, char *log)
{
	send_byte(child->commands);
	end_child(child);
	must_register(child->pid, 0, SIGRTMIN);
	must_deregister(child->pid, ALL_EVENTS);
	log_rest(log);
}

static void test_deregister_all(void)
{
	struct child child = make_foretold_child(fork_then_execute, ALL_EVENTS);
	char log[LOG_SIZE] = "";

	must_deregister(child.pid, ALL_EVENTS);
	run_unseen(&child, log);
	check_log("DEREGISTER of all events ends the signals", "", log);
}

static void check_refused(const char *claim, unsigned long command, void *argument, int expected)
{
	int result = ioctl(device, command, argument);
	int error = result == -1 ? errno : 0;

	check(error == expected, claim, strerror(expected), strerror(error));
}

static void test_close(void)
{
	struct child child = make_foretold_child(fork_then_execute, ALL_EVENTS);
	struct kmonitor_cmd command = { child.pid, ALL_EVENTS, SIGRTMIN };
	char log[LOG_SIZE] = "";

	close(device);
	device = open_device(path);
	check_refused("the last close() takes the registrations with it", KMONITOR_IOW_DEREGISTER,
		      &command, EINVAL);
	run_unseen(&child, log);
	check_log("after the last close() no signal comes", "", log);
}

static void test_refusals(void)
{
	struct kmonitor_cmd command = { getpid(), ALL_EVENTS, SIGRTMIN };

	check_refused("DEREGISTER without a registration", KMONITOR_IOW_DEREGISTER, &command, EINVAL);
	check_refused("an unknown command", _IOW(0xDE, 3, struct kmonitor_cmd), &command, EINVAL);
	check_refused("REGISTER without a command structure", KMONITOR_IOW_REGISTER, NULL, EFAULT);
}

static void parse_options(int argc, char *argv[])
{
	int option;

	while ((option = getopt(argc, argv, "d:t:h")) != -1) {
		switch (option) {
		case 'd':
			path = optarg;
			break;
		case 't':
			parse_deadline(optarg);
			patience = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			exit(finish_output(EXIT_DONE));
		default:
			fputs(help, stderr);
			exit(EXIT_USAGE);
		}
	}
	if (optind < argc)
		errx(EXIT_USAGE, "'%s' is not an option; see -h", argv[optind]);
}

int main(int argc, char *argv[])
{
	if (argc == 2 && strcmp(argv[1], AS_EXEC_TARGET) == 0)
		return 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	parse_options(argc, argv);

	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		err(EXIT_TROUBLE, "cannot share memory with children");
	/* Blocked before the first REGISTER, so that no signal comes before we wait for it. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGRTMIN);
	sigaddset(&signals, SIGRTMIN + 1);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) == -1)
		err(EXIT_TROUBLE, "cannot block signals");
	raise_signal_limit();
	device = open_device(path);

	test_exit();
	test_kill();
	test_fork();
	test_exec();
	test_thread();
	test_mask();
	test_second_register();
	test_deregister_one();
	test_deregister_all();
	test_close();
	test_refusals();

	printf("1..%d\n", check_number);
	return finish_output(failures ? EXIT_NOT_DONE : EXIT_DONE);
}
