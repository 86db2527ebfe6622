/* Order of events, and the edges of a registration: before and after REGISTER, DEREGISTER and close. */
#include "suite.h"

#include <linux/sched.h>
#include <sys/wait.h>

enum { ROUNDS = 30 };

/* A child with a chosen pid that ends at once. */
static long act_short_life(const long *arg)
{
	pid_t wanted = (pid_t)arg[0];
	struct clone_args args = {
		.flags = (uint64_t)arg[1], .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&wanted, .set_tid_size = 1,
	};
	long pid = clone_task(&args);

	if (!pid) {
		if (arg[2]) {
			dup2(open("/dev/null", O_WRONLY), 1);
			execl("/proc/self/exe", "conformance", "-h", NULL);
		}
		_exit(0);
	}
	return pid > 0 && waitpid((pid_t)pid, NULL, 0) == pid ? 0 : -errno;
}

/* A round that shows something else is told. */
static bool shows(const char *seen, const char *expected)
{
	bool same = !strcmp(seen, expected);

	if (!same)
		say("once \"%s\"", seen);
	return same;
}

/* ---- 45 ---- */

CASE(order_fork_before_child, "45", "a fork precedes what the child does, also registered beforehand", "30 of 30")
{
	struct puppet *target = puppet("target");
	pid_t pid = unused_pid();
	int good = 0;

	name_pid(pid, "child");
	watch(me, target, FORK);
	watch_pid(me, pid, EXIT);
	for (int i = 0; i < ROUNDS; i++) {
		need(on(target, act_short_life, pid, 0) == 0);
		good += shows(events(me, 2), "FORK:child, EXIT:child");
	}
	say("%d of 30", good);
}
CASE(order_vfork_before_child, "45 J1", "so does a vfork, although the parent sleeps until the child is gone", "30 of 30")
{
	struct puppet *target = puppet("target");
	pid_t pid = unused_pid();
	int good = 0;

	name_pid(pid, "child");
	watch(me, target, FORK);
	watch_pid(me, pid, EXEC | EXIT);
	for (int i = 0; i < ROUNDS; i++) {
		need(on(target, act_short_life, pid, CLONE_VFORK, true) == 0);
		good += shows(events(me, 3), "FORK:child, EXEC:child, EXIT:child");
	}
	say("%d of 30", good);
}
CASE(order_program, "45", "the events of one task arrive as they happened", "10 of 10")
{
	int good = 0;

	for (int i = 0; i < 10; i++) {
		struct puppet *target = puppet("target");

		watch(me, target, ALL);
		name_pid(forks(target, 1), "first");
		name_pid((pid_t)on(target, act_thread_exit, 1), "thread");
		name_pid(forks(target, 1), "second");
		exec_self(target);
		end(target);
		good += shows(events(me, 5), "FORK:first, TCREATE:thread, FORK:second, EXEC:target, EXIT:target");
	}
	say("%d of 10", good);
}
CASE(order_of_100_children, "45 49", "a hundred forks arrive in the order of the children's numbers", "100 in order")
{
	struct puppet *target = puppet("target");
	sigset_t set;
	siginfo_t info;
	pid_t last = 0;
	int in_order = 0;

	sigemptyset(&set);
	sigaddset(&set, SIG);
	watch(me, target, FORK);
	forks(target, 100);
	for (int i = 0; i < 100; i++) {
		need(sigtimedwait(&set, &info, &(struct timespec){ 5, 0 }) == SIG);
		in_order += info.si_pid > last || last - info.si_pid > 1000;	/* numbers may wrap around once */
		last = info.si_pid;
	}
	say("%d in order", in_order);
}

/* ---- 44 ---- */

static long shared_pending(pid_t monitor_pid)
{
	char path[40], line[256];
	long pending = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/status", monitor_pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof line, file))
		if (!strncmp(line, "ShdPnd:", 7))
			pending = (strtoull(line + 7, NULL, 16) >> (SIG - 1)) & 1;
	if (file)
		fclose(file);
	return pending;
}

static long act_fork_and_look(const long *arg)
{
	long pending;
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	pending = shared_pending((pid_t)arg[0]);
	waitpid(pid, NULL, 0);
	return pending;
}

CASE_IF(TIMING, sync_fork_pending, "44", "when fork has returned in the target the signal is already pending", "30 of 30")
{
	struct puppet *target = puppet("target");
	long good = 0;

	watch(me, target, FORK);
	for (int i = 0; i < ROUNDS; i++) {
		good += on(target, act_fork_and_look, getpid());
		count_of(me, FORK, 1);
	}
	say("%ld of 30", good);
}

/* ---- 46 ---- */

CASE(edge_register_then_event, "46", "an event right after REGISTER is reported", "30 of 30")
{
	struct puppet *target = puppet("target");
	long good = 0;

	for (int i = 0; i < ROUNDS; i++) {
		watch(me, target, FORK);
		forks(target, 1);
		good += count_of(me, FORK, 1);
		need(dereg(me, target->pid, FORK) == 0);
	}
	say("%ld of 30", good);
}
CASE(edge_event_then_register, "46", "an event right before REGISTER is not", "nothing")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	for (int i = 0; i < ROUNDS; i++) {
		forks(target, 1);
		watch(me, target, FORK);
		need(dereg(me, target->pid, FORK) == 0);
	}
	say_rest(me);
}
CASE(edge_event_then_register_open, "46", "nor when it is kept", "nothing")
{
	struct puppet *target[10];

	open_device(me, O_RDWR);
	for (int i = 0; i < 10; i++) {
		target[i] = puppet("target");
		forks(target[i], 1);
		watch(me, target[i], FORK);
	}
	say_rest(me);
}
CASE(edge_event_then_add_bits, "16 46", "a bit added after its event reports nothing", "nothing")
{
	struct puppet *target = puppet("target");

	watch(me, target, EXEC);
	for (int i = 0; i < ROUNDS; i++) {
		forks(target, 1);
		watch(me, target, FORK);
		need(dereg(me, target->pid, FORK) == 0);
	}
	say_rest(me);
}
CASE(edge_open_register_first, "32 46", "the very first open sees the very first event", "10 of 10")
{
	struct puppet *target = puppet("target");
	long good = 0;

	for (int i = 0; i < 10; i++) {
		watch(me, target, FORK);
		forks(target, 1);
		good += count_of(me, FORK, 1);
		close_device(me);
	}
	say("%ld of 10", good);
}

/* ---- 47 ---- */

CASE(edge_event_then_dereg, "47", "an event right before DEREGISTER is pending when that returns", "30 of 30, nothing")
{
	struct puppet *target = puppet("target");
	int good = 0;

	open_device(me, O_RDWR);
	for (int i = 0; i < ROUNDS; i++) {
		watch(me, target, FORK);
		forks(target, 1);
		need(dereg(me, target->pid, FORK) == 0);
		good += shows(pending_now(me), "FORK:child");
	}
	say("%d of 30", good);
	say_rest(me);
}
CASE(edge_event_then_close, "47", "an event right before the last close is pending when that returns", "30 of 30, nothing")
{
	struct puppet *target = puppet("target");
	int good = 0;

	for (int i = 0; i < ROUNDS; i++) {
		watch(me, target, FORK);
		forks(target, 1);
		close_device(me);
		good += shows(pending_now(me), "FORK:child");
	}
	say("%d of 30", good);
	say_rest(me);
}
CASE(edge_event_then_close_with_stranger, "47", "also while others hold the device open", "30 of 30, nothing")
{
	struct puppet *target = puppet("target");
	int good = 0;

	monitor("stranger");
	for (int i = 0; i < ROUNDS; i++) {
		watch(me, target, FORK);
		forks(target, 1);
		close_device(me);
		good += shows(pending_now(me), "FORK:child");
	}
	say("%d of 30", good);
	say_rest(me);
}
CASE(edge_exec_then_dereg, "47", "an exec right before DEREGISTER is pending when that returns", "10 of 10, nothing")
{
	struct puppet *target = puppet("target");
	int good = 0;

	open_device(me, O_RDWR);
	for (int i = 0; i < 10; i++) {
		watch(me, target, EXEC);
		exec_self(target);
		need(dereg(me, target->pid, EXEC) == 0);
		good += shows(pending_now(me), "EXEC:target");
	}
	say("%d of 10", good);
	say_rest(me);
}
CASE(edge_burst_then_dereg, "47 49", "a burst right before DEREGISTER is pending as a whole", "100")
{
	struct puppet *target = puppet("target");
	sigset_t set;
	int n = 0;

	sigemptyset(&set);
	sigaddset(&set, SIG);
	watch(me, target, FORK);
	forks(target, 100);
	need(dereg(me, target->pid, FORK) == 0);
	while (sigtimedwait(&set, NULL, &(struct timespec){ 0, 0 }) == SIG)
		n++;
	say("%d", n);
}
CASE(edge_dereg_then_event, "47", "an event right after DEREGISTER is not reported", "nothing")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	for (int i = 0; i < ROUNDS; i++) {
		watch(me, target, FORK);
		need(dereg(me, target->pid, FORK) == 0);
		forks(target, 1);
	}
	say_rest(me);
}
CASE(edge_close_then_event, "47", "nor is one right after the last close", "nothing")
{
	struct puppet *target = puppet("target");

	monitor("stranger");
	for (int i = 0; i < ROUNDS; i++) {
		watch(me, target, FORK);
		close_device(me);
		forks(target, 1);
	}
	say_rest(me);
}
CASE(edge_event_then_new_signal, "16 46", "a signal replaced after an event does not change that event", "30 of 30")
{
	struct puppet *target = puppet("target");
	int good = 0;

	for (int i = 0; i < ROUNDS; i++) {
		watch(me, target, FORK);
		forks(target, 1);
		need(reg(me, target->pid, 0, SIG + 1) == 0);
		good += shows(events(me, 1), "FORK:child");
	}
	say("%d of 30", good);
}
