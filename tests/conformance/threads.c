/* Threads as targets: everything is matched by the task that acts. */
#include "suite.h"

CASE(ev_fork_by_thread_tgid, "25", "a fork by another thread is no event of the process id", "nothing")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, target, ALL);
	forks(thread, 1);
	say_rest(me);
}
CASE(ev_fork_by_thread_tid, "25", "it is an event of the thread's id", "FORK:child")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, thread, ALL);
	forks(thread, 1);
	say_rest(me);
}
CASE(ev_fork_by_leader_not_tid, "23", "a fork by the main thread is no event of another thread", "nothing")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, thread, ALL);
	forks(target, 1);
	say_rest(me);
}
CASE(ev_vfork_by_thread_tid, "24 25", "a vfork by a thread is an event of the thread's id", "FORK:child")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");
	long pid;

	watch(me, thread, ALL);
	pid = on(thread, act_vfork_exit);
	need(pid > 0);
	name_pid((pid_t)pid, "child");
	say_rest(me);
}
CASE(ev_thread_create_by_thread, "25", "a thread made by another thread is no event of the process id", "nothing")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, target, ALL);
	thread_of(thread, "second");
	say_rest(me);
}
CASE(ev_thread_create_by_thread_tid, "25", "it is an event of the thread that made it", "TCREATE:second")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, thread, ALL);
	thread_of(thread, "second");
	say_rest(me);
}
CASE(ev_thread_create_by_leader_not_tid, "23", "a thread made by the main thread is no event of another thread", "nothing")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, thread, ALL);
	thread_of(target, "second");
	say_rest(me);
}
CASE(ev_thread_exit_tgid, "25", "the end of a thread is no event of the process id", "nothing")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, target, ALL);
	end(thread);
	say_rest(me);
}
CASE(ev_process_exit_bit_on_tid, "23", "the process exit bit on a thread's id is useless", "nothing")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, thread, EXIT);
	end(thread);
	end_process(target, 0);
	say_rest(me);
}
CASE(ev_thread_future_tid, "21 30", "a thread's registration fires for a later process with its number", "TEXIT:thread, EXIT:successor")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread"), *successor;

	watch(me, thread, ALL);
	end(thread);
	await_gone(thread->pid);
	say_events(me, 1);
	successor = fork_as(me, thread->pid, "successor");
	end(successor);
	say_rest(me);
}
CASE(ev_10_threads, "23 49", "ten threads are ten events", "10")
{
	struct puppet *target = puppet("target");

	watch(me, target, TCREATE);
	on(target, act_thread_exit, 10);
	say("%ld", count_of(me, TCREATE, 10));
}

/* ---- The end of the main thread and of the process ---- */

CASE(ev_leader_pthread_exit, "26", "process exit is the end of the main thread, while the process goes on", "EXIT:target, alive")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, target, ALL);
	end(target);
	say_rest(me);
	say("%s", on(thread, act_thread_exit, 0) == 0 ? "alive" : "dead");
}
CASE(ev_leader_exit_tgid_only, "26", "the true end is then not reported for the process id", "EXIT:target, nothing")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, target, ALL);
	end(target);
	say_events(me, 1);
	end_process(thread, 0);
	reap(target);
	say_rest(me);
}
CASE(ev_leader_exit_then_thread, "26", "but as the end of the last thread for its tid", "EXIT:target, TEXIT:thread")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, target, ALL);
	watch(me, thread, ALL);
	end(target);
	end_process(thread, 0);
	reap(target);
	say_rest(me);
}
CASE(ev_leader_exit_thread_forks, "25 26", "a fork after the end of the main thread belongs to the thread that does it", "EXIT:target, FORK:child")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, target, ALL);
	watch(me, thread, ALL);
	end(target);
	forks(thread, 1);
	say_rest(me);
}

static void end_of_three(void (*how)(struct puppet *target, struct puppet *thread))
{
	struct puppet *target = puppet("target"), *a = thread_of(target, "thread a"), *b = thread_of(target, "thread b");

	watch(me, target, EXIT | TEXIT);
	watch(me, a, ALL);
	watch(me, b, ALL);
	how(target, a);
	await_dead(target->pid);
	reap(target);
	say("%s", rest_sorted(me));
}

static void exit_by_target(struct puppet *target, struct puppet *thread)
{
	(void)thread;
	tell(target, act_exit, 0);
}

static void exit_by_thread(struct puppet *target, struct puppet *thread)
{
	(void)target;
	tell(thread, act_exit, 0);
}

static void sigkill_from_outside(struct puppet *target, struct puppet *thread)
{
	(void)thread;
	need(kill(target->pid, SIGKILL) == 0);
}

#define END_OF_THREE "EXIT:target, TEXIT:thread a, TEXIT:thread b"
CASE(ev_exit_group_threads, "27", "exit_group: one process exit and one thread exit each", END_OF_THREE) { end_of_three(exit_by_target); }
CASE(ev_exit_group_by_thread, "27", "exit_group by another thread: the same", END_OF_THREE) { end_of_three(exit_by_thread); }
CASE(ev_sigkill_threads, "27", "SIGKILL: the same", END_OF_THREE) { end_of_three(sigkill_from_outside); }

CASE(ev_exit_group_unregistered_threads, "27", "threads without a registration end unheard", "EXIT:target")
{
	struct puppet *target = puppet("target");

	thread_of(target, "thread a");
	thread_of(target, "thread b");
	watch(me, target, ALL);
	end_process(target, 0);
	reap(target);
	say_rest(me);
}
