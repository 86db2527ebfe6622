/* REGISTER, DEREGISTER and close in the middle of a storm of events. */
#include "suite.h"

#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <time.h>

enum { STOP, BEGUN, DONE };

/* Forks until told to stop, and counts the forks begun and done. */
static long act_storm(const long *arg)
{
	(void)arg;
	while (!shared->scratch[STOP]) {
		pid_t pid;

		shared->scratch[BEGUN]++;
		pid = vfork();
		if (!pid)
			_exit(0);
		shared->scratch[DONE]++;
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			return -errno;
	}
	return 0;
}

static void start_storm(struct puppet *target)
{
	shared->scratch[STOP] = 0;
	tell(target, act_storm);
	while (!shared->scratch[DONE])
		sched_yield();
}

static void stop_storm(struct puppet *target)
{
	shared->scratch[STOP] = 1;
	need(answer(target) == 0);
}

/* Signals of the monitor that come within the time. */
static int heard(int ms)
{
	struct timespec limit = { ms / 1000, ms % 1000 * 1000000L };
	sigset_t set;
	int n = 0;

	sigemptyset(&set);
	sigaddset(&set, SIG);
	while (sigtimedwait(&set, NULL, &limit) == SIG)
		n++;
	return n;
}

static void await_forks(int n)
{
	for (long goal = shared->scratch[DONE] + n; shared->scratch[DONE] < goal;)
		sched_yield();
}

static long deregister(struct puppet *target) { return dereg(me, target->pid, FORK); }
static long close_it(struct puppet *target)
{
	(void)target;
	return close_device(me);
}

/*
 * Of the forks between REGISTER and `finish`, those begun after the one and done before the other must be heard, and none
 * that was done before the one or begun after the other.  What is heard is already pending when `finish` returns.
 */
static void window(long (*finish)(struct puppet *))
{
	struct puppet *target = puppet("target");
	int wrong = 0, late = 0;

	start_storm(target);
	for (int i = 0; i < rounds; i++) {
		long before = shared->scratch[DONE], first, last, after;
		int n;

		watch(me, target, FORK);
		first = shared->scratch[BEGUN];
		await_forks(i % 3);
		last = shared->scratch[DONE];
		need(finish(target) == 0);
		after = shared->scratch[BEGUN];
		n = heard(0);
		wrong += n < last - first || n > after - before;
		late += heard(1);
	}
	stop_storm(target);
	settle();
	late += heard(40);
	say("%d rounds wrong", wrong);
	say("%d signals late", late);
}

CASE(race_deregister, "46 47", "between REGISTER and DEREGISTER every fork is heard, and none after", "0 rounds wrong, 0 signals late")
{
	window(deregister);
}
CASE(race_close, "46 47", "between open and close too", "0 rounds wrong, 0 signals late") { window(close_it); }
CASE(race_close_with_stranger, "46 47", "also when the device stays open elsewhere", "0 rounds wrong, 0 signals late")
{
	monitor("stranger");
	window(close_it);
}
CASE(race_of_two_monitors, "14 47", "while another monitor hears everything", "0 rounds wrong, 0 signals late, other heard all")
{
	struct puppet *other = monitor("other"), *target = puppet("target");
	int wrong = 0, late = 0;
	long all;

	watch(other, target, FORK);
	start_storm(target);
	for (int i = 0; i < rounds / 4; i++) {
		watch(me, target, FORK);
		await_forks(2);	/* the first may have begun before */
		need(dereg(me, target->pid, FORK) == 0);
		wrong += heard(0) == 0;
		late += heard(1);
	}
	stop_storm(target);
	all = shared->scratch[DONE];
	say("%d rounds wrong", wrong);
	say("%d signals late", late);
	say("other heard %s", count_rest(other) == all ? "all" : "something else");
}

static long act_register_storm(const long *arg)
{
	struct kmonitor_cmd cmd = { (pid_t)arg[1], FORK, SIG };
	long bad = 0;

	for (long i = 0; i < arg[2]; i++) {
		bad += ioctl((int)arg[0], KMONITOR_IOW_REGISTER, &cmd) != 0;
		bad += ioctl((int)arg[0], KMONITOR_IOW_DEREGISTER, &cmd) != 0;
	}
	return bad;
}

CASE(race_two_threads, "14 47", "two threads of a monitor register and deregister at once", "0, 0, quiet")
{
	struct puppet *target = puppet("target"), *leader = puppet("leader"), *thread = thread_of(leader, "thread");
	long fd = open_device(leader, O_RDWR);

	start_storm(target);
	tell(leader, act_register_storm, fd, target->pid, rounds);
	tell(thread, act_register_storm, fd, target->pid, rounds);
	say_result(answer(leader));
	say_result(answer(thread));
	count_rest(leader);
	await_forks(5);
	say("%s", count_rest(leader) ? "not quiet" : "quiet");
	stop_storm(target);
}

static long act_open_register_exit(const long *arg)
{
	for (long i = 0; i < arg[1]; i++) {
		pid_t pid = fork();

		if (!pid) {
			struct kmonitor_cmd cmd = { (pid_t)arg[0], FORK, SIG };

			_exit(ioctl(open(device, O_RDWR), KMONITOR_IOW_REGISTER, &cmd) != 0);
		}
		if (act_wait((const long[4]){ pid }))
			return -EPROTO;
	}
	return 0;
}

CASE(race_monitors_die, "31a 49", "monitors come and go with their ends, one that stays hears everything", "0, heard all")
{
	struct puppet *stays = monitor("stays"), *target = puppet("target"), *others = puppet("others");

	watch(stays, target, FORK);
	start_storm(target);
	say_result(on(others, act_open_register_exit, target->pid, rounds / 4));
	stop_storm(target);
	say("heard %s", count_rest(stays) == shared->scratch[DONE] ? "all" : "something else");
}

static volatile sig_atomic_t interruptions;
static void interrupt(int sig) { interruptions += sig != 0; }

CASE(race_interrupted_calls, "16 19 37", "a handler that interrupts the calls does not make them fail", "0, interrupted")
{
	struct puppet *noise = puppet("noise"), *target = puppet("target");
	struct sigaction how = { .sa_handler = interrupt };
	long fd = open_device(me, O_RDWR);

	sigaction(SIG + 1, &how, NULL);
	need(reg(me, noise->pid, FORK, SIG + 1) == 0);
	start_storm(noise);
	on(me, act_unblock, SIG + 1);
	say_result(on(me, act_register_storm, fd, target->pid, rounds));
	while (!interruptions)
		sched_yield();
	stop_storm(noise);
	say("interrupted");
}
CASE(race_killed_in_calls, "31a 49", "monitors die in the middle of a call; one that stays hears everything", "heard all")
{
	struct puppet *stays = monitor("stays"), *target = puppet("target");

	watch(stays, target, FORK);
	start_storm(target);
	for (int i = 0; i < 20; i++) {
		struct puppet *dies = puppet("dies");
		long fd = open_device(dies, O_RDWR);

		tell(dies, act_register_storm, fd, target->pid, 1000000);
		await_forks(1 + i % 5);
		kill_with(dies, SIGKILL);
	}
	stop_storm(target);
	say("heard %s", count_rest(stays) == shared->scratch[DONE] ? "all" : "something else");
}

/* A child that waits for the pipe to close, then ends. */
static pid_t waiting_child(int hold[2])
{
	pid_t pid;

	need(pipe(hold) == 0);
	pid = fork();
	if (!pid) {
		char byte;

		device_forget();
		close(hold[1]);
		_exit((int)read(hold[0], &byte, 1));
	}
	close(hold[0]);
	return pid;
}

CASE(race_exit_deregister, "47", "a target ends while it is deregistered: one signal at most, none late", "0 doubled, 0 signals late")
{
	int doubled = 0, late = 0;

	open_device(me, O_RDWR);
	for (int i = 0; i < rounds / 4; i++) {
		int hold[2];
		pid_t target = waiting_child(hold);

		watch_pid(me, target, EXIT);
		close(hold[1]);
		need(dereg(me, target, EXIT) == 0);
		doubled += heard(0) > 1;
		need(waitpid(target, NULL, 0) == target);
		late += heard(1);
	}
	say("%d doubled", doubled);
	say("%d signals late", late);
}
CASE(race_two_deregister, "14 19", "of two threads that deregister one registration each, both succeed", "0, 0")
{
	struct puppet *leader = puppet("leader"), *a = thread_of(leader, "a"), *b = thread_of(leader, "b");
	long fd = open_device(leader, O_RDWR);

	tell(a, act_register_storm, fd, leader->pid, rounds);
	tell(b, act_register_storm, fd, leader->pid, rounds);
	say_result(answer(a));
	say_result(answer(b));
}

enum { BACKLOG = 100, MOST_CPUS = 64 };

static volatile int crowded;

/* Keeps a processor from whoever is less urgent, for half a second at most. */
static void *occupy(void *unused)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while (crowded && (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < 500);
	return unused;
}

static void urgent(int priority)
{
	const struct sched_param parameters = { .sched_priority = priority };

	need(sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameters) == 0);
}

static int occupy_all(pthread_t *threads)
{
	cpu_set_t allowed;
	int n = 0;

	need(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
	crowded = 1;
	for (int cpu = 0; cpu < CPU_SETSIZE && n < MOST_CPUS; cpu++) {
		const struct sched_param parameters = { .sched_priority = 50 };
		pthread_attr_t attributes;
		cpu_set_t one;

		if (!CPU_ISSET(cpu, &allowed))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		need(pthread_attr_init(&attributes) == 0);
		need(pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED) == 0);
		need(pthread_attr_setschedpolicy(&attributes, SCHED_FIFO) == 0);
		need(pthread_attr_setschedparam(&attributes, &parameters) == 0);
		need(pthread_attr_setaffinity_np(&attributes, sizeof one, &one) == 0);
		need(pthread_create(&threads[n++], &attributes, occupy, NULL) == 0);
		need(pthread_attr_destroy(&attributes) == 0);
	}
	return n;
}

static void fork_one(void)
{
	/* It gets no processor either, until the call waits. */
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	need(pid > 0);
}

static void *do_nothing(void *unused) { return unused; }
static void create_thread(void)
{
	pthread_t thread;

	need(pthread_create(&thread, NULL, do_nothing, NULL) == 0);
	need(pthread_detach(thread) == 0);
}

/* Many events of the caller's own, while nobody else gets a processor; then at once the call that ends the registration. */
static void after_backlog(int event, void (*create)(void), long (*finish)(struct puppet *))
{
	pthread_t threads[MOST_CPUS];
	int n;

	watch(me, me, event);
	urgent(60);
	n = occupy_all(threads);
	for (int i = 0; i < BACKLOG; i++)
		create();
	crowded = 0;
	need(finish(me) == 0);
	/* The occupying threads were made after the registration. */
	say("%d heard", heard(0) - (event == TCREATE ? n : 0));
	say("%d late", heard(40));
	while (n)
		need(pthread_join(threads[--n], NULL) == 0);
}

CASE(race_backlog_deregister, "47", "what a busy machine has not signalled yet is signalled before DEREGISTER returns", "100 heard, 0 late")
{
	after_backlog(FORK, fork_one, deregister);
}
/* Not forks: this must be the last close, and children have copies. */
CASE(race_backlog_close, "47", "and before close returns", "100 heard, 0 late")
{
	after_backlog(TCREATE, create_thread, close_it);
}

static __attribute__((noinline)) pid_t child_that_ends(void)
{
	pid_t pid = vfork();

	if (!pid)
		_exit(0);
	return pid;
}

/* Each child that ends closes its copy of the registration's file. */
static void after_children(long (*finish)(struct puppet *))
{
	int wrong = 0, late = 0;

	for (int i = 0; i < rounds / 4; i++) {
		watch(me, me, FORK);
		for (int j = 0; j < 3; j++)
			need(child_that_ends() > 0);
		/* Their copies are gone now: what close closes is the last. */
		for (int j = 0; j < 3; j++)
			need(waitpid(-1, NULL, 0) > 0);
		need(finish(me) == 0);
		wrong += heard(0) != 3;
		late += heard(0);
	}
	late += heard(40);
	say("%d rounds wrong", wrong);
	say("%d late", late);
}

CASE(race_children_deregister, "46 47", "just after children have closed their copies of the file, all is signalled before DEREGISTER returns", "0 rounds wrong, 0 late")
{
	after_children(deregister);
}
CASE(race_children_close, "46 47", "and before close returns", "0 rounds wrong, 0 late") { after_children(close_it); }
