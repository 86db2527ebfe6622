/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "common.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

static const char help[] =
	"usage: race DEVICE close|deregister before|during fork|exit ROUNDS\n"
	"Rounds of \"register, event, close at once\" (each with an open of its own) or\n"
	"\"register, event, deregister at once\". The event is complete before the call,\n"
	"or happens during it in another process. An event that was complete before\n"
	"the call must be signalled by its return; one that came before REGISTER must\n"
	"not; none may be signalled twice, and none after the return.\n"
	"\n"
	"Nobody waits for late signals in a round: each round has a signal number of\n"
	"its own for a while, and what comes later shows in a later round.\n"
	"Exit status 0: so it was.\n";

#define MOST_SIGNALS 100000

/* What a helper that forks without end tells: numbers count its forks from 1. */
static struct {
	long begun, done;
	long number_of[1 << 22];	/* by child */
} *storm;

static const char *path;
static int device = -1, by_close, late, failures;
static long round_number, signalled;

static void fail(const char *what, long detail)
{
	if (failures++ < 10)
		printf("round %ld: %s (%ld)\n", round_number, what, detail);
}

/* ---- A round's calls ---- */

static int signal_of(long round)
{
	return SIGRTMIN + round % (SIGRTMAX - SIGRTMIN + 1);
}

static void begin(pid_t target, int events)
{
	if (device == -1)
		device = open(path, O_RDWR | O_CLOEXEC);
	must(device != -1);
	errno = -command(device, KMONITOR_IOW_REGISTER, target, events, signal_of(round_number));
	must(errno == 0);
}

static void end(pid_t target, int events)
{
	if (by_close) {
		must(close(device) == 0);
		device = -1;
	} else {
		errno = -command(device, KMONITOR_IOW_DEREGISTER, target, events, 0);
		must(errno == 0);
	}
}

/* The subjects of this round's signals that are pending now. */
static int take_pending(pid_t *subjects, int event)
{
	siginfo_t info;
	int count = 0;

	while (next_signal(&info, 0)) {
		if (info.si_signo != signal_of(round_number)) {
			late++;
			fail("a signal came after its registration had gone, about", info.si_pid);
			continue;
		}
		if (info.si_code != SI_QUEUE || info.si_int != event)
			fail("this is none of our signals, with value", info.si_int);
		if (count < MOST_SIGNALS)
			subjects[count++] = info.si_pid;
	}
	signalled += count;
	return count;
}

/* The event happens anywhere in the call, and before or after it. */
static void linger(long microseconds)
{
	struct timespec from, now;

	clock_gettime(CLOCK_MONOTONIC, &from);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - from.tv_sec) * 1000000 + (now.tv_nsec - from.tv_nsec) / 1000 < microseconds);
}

/* ---- A helper that makes one event when it is told to ---- */

enum { FORK_AND_REAP = 'f', MAKE_CHILD = 'm', END_CHILD = 'e' };

static int orders[2], reports[2];

static pid_t make_child(int hold)
{
	pid_t child = fork();
	char byte;

	must(child != -1);
	if (child == 0) {
		if (hold != -1)
			_exit(read(hold, &byte, 1) == -1);
		_exit(0);
	}
	return child;
}

static void helper_work(void)
{
	int hold[2] = { -1, -1 };
	pid_t child = 0;
	char order;

	while (read(orders[0], &order, 1) == 1) {
		switch (order) {
		case FORK_AND_REAP:
			child = make_child(-1);
			must(waitpid(child, NULL, 0) == child);
			break;
		case MAKE_CHILD:
			must(pipe(hold) == 0);
			child = make_child(hold[0]);
			break;
		case END_CHILD:
			/* It ends at this byte. */
			must(write(hold[1], "", 1) == 1);
			must(waitpid(child, NULL, 0) == child);
			close(hold[0]);
			close(hold[1]);
			break;
		}
		must(write(reports[1], &child, sizeof child) == sizeof child);
	}
	_exit(0);
}

static pid_t start_helper(void)
{
	pid_t helper;

	must(pipe2(orders, O_CLOEXEC) == 0 && pipe2(reports, O_CLOEXEC) == 0);
	helper = fork_helper();
	if (helper == 0) {
		close(orders[1]);
		helper_work();
	}
	return helper;
}

static void tell(char order)
{
	must(write(orders[1], &order, 1) == 1);
}

static pid_t hear(void)
{
	pid_t child;

	must(read(reports[0], &child, sizeof child) == sizeof child);
	return child;
}

static pid_t ask(char order)
{
	tell(order);
	return hear();
}

static pid_t subjects[MOST_SIGNALS];

static void fork_before(pid_t helper)
{
	pid_t child;
	int count;

	begin(helper, KMONITOR_PROCESS_FORK);
	child = ask(FORK_AND_REAP);
	end(helper, KMONITOR_PROCESS_FORK);
	count = take_pending(subjects, KMONITOR_PROCESS_FORK);
	if (count != 1 || subjects[0] != child)
		fail("a fork before the call was not signalled once; signals", count);
}

static void exit_before(pid_t helper)
{
	pid_t target = ask(MAKE_CHILD);
	int count;

	(void)helper;
	begin(target, KMONITOR_PROCESS_EXIT);
	ask(END_CHILD);
	end(target, KMONITOR_PROCESS_EXIT);
	count = take_pending(subjects, KMONITOR_PROCESS_EXIT);
	if (count != 1 || subjects[0] != target)
		fail("an exit before the call was not signalled once; signals", count);
}

static void exit_during(pid_t helper)
{
	pid_t target = ask(MAKE_CHILD);
	int count;

	(void)helper;
	begin(target, KMONITOR_PROCESS_EXIT);
	tell(END_CHILD);
	linger(round_number % 32 * 5);
	end(target, KMONITOR_PROCESS_EXIT);
	count = take_pending(subjects, KMONITOR_PROCESS_EXIT);
	if (count > 1 || (count == 1 && subjects[0] != target))
		fail("an exit was signalled more than once; signals", count);
	hear();
}

/* ---- A helper that forks without end ---- */

static long get(long *counter) { return __atomic_load_n(counter, __ATOMIC_SEQ_CST); }
static void add(long *counter) { __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST); }

static pid_t start_storm(void)
{
	pid_t helper;

	storm = mmap(NULL, sizeof *storm, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	must(storm != MAP_FAILED);
	helper = fork_helper();
	while (helper == 0) {
		pid_t child;

		add(&storm->begun);
		child = vfork();
		must(child != -1);
		if (child == 0)
			_exit(0);
		__atomic_store_n(&storm->number_of[child], storm->begun, __ATOMIC_SEQ_CST);
		add(&storm->done);
		must(waitpid(child, NULL, 0) == child);
	}
	return helper;
}

static void await_forks(long number)
{
	while (get(&storm->done) < number)
		sched_yield();
}

static void fork_during(pid_t helper)
{
	/* Forks up to `before` were done before REGISTER, those above `first` begun after it; likewise at the end. */
	long before = get(&storm->done), first, last, after, next = 0;
	int count, i;

	begin(helper, KMONITOR_PROCESS_FORK);
	first = get(&storm->begun);
	await_forks(get(&storm->done) + round_number % 3);
	linger(round_number % 16 * 3);
	last = get(&storm->done);
	end(helper, KMONITOR_PROCESS_FORK);
	count = take_pending(subjects, KMONITOR_PROCESS_FORK);
	after = get(&storm->begun);

	/* A child's number is known when its fork is done. */
	await_forks(after);
	for (i = 0; i < count; i++) {
		long number = __atomic_load_n(&storm->number_of[subjects[i]], __ATOMIC_SEQ_CST);

		if (number <= before)
			fail("a fork before REGISTER was signalled", number);
		if (number > after)
			fail("a fork after the call was signalled", number);
		if (next && number != next)
			fail(number < next ? "a fork was signalled twice or late" : "a fork was not signalled in its turn",
			     number - next);
		if (i == 0 && number > first + 1)
			fail("the first fork after REGISTER was not signalled", number - first);
		next = number + 1;
	}
	if (last > first && (count == 0 || next <= last))
		fail("the last fork before the call was not signalled", last - first);
}

/* ---- The program ---- */

static int is(const char *word, const char *one, const char *other)
{
	if (strcmp(word, one) && strcmp(word, other))
		errx(2, "'%s' is neither %s nor %s", word, one, other);
	return strcmp(word, one) == 0;
}

int main(int argc, char *argv[])
{
	int before, about_fork;
	long rounds;
	siginfo_t info;
	pid_t helper;
	void (*round)(pid_t);

	check_usage(argc, argv, 6, help);
	rounds = positive(argv[5], help);
	path = argv[1];
	by_close = is(argv[2], "close", "deregister");
	before = is(argv[3], "before", "during");
	about_fork = is(argv[4], "fork", "exit");
	round = about_fork ? (before ? fork_before : fork_during) : (before ? exit_before : exit_during);

	prepare_signals();
	helper = round == fork_during ? start_storm() : start_helper();
	for (round_number = 0; round_number < rounds; round_number++)
		round(helper);

	/* Whatever is still on its way has had its time. */
	kill(helper, SIGKILL);
	must(waitpid(helper, NULL, 0) == helper);
	while (next_signal(&info, 200)) {
		late++;
		fail("a signal came after the last round, about", info.si_pid);
	}
	printf("%ld rounds, %ld signals, %d late, %d failures\n", rounds, signalled, late, failures);
	return failures != 0;
}
