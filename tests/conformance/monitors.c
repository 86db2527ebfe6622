/* Who owns a registration, and who is told: several monitors, and monitors with threads. */
#include "suite.h"

/* ---- Several processes ---- */

CASE(mon_two, "14 35", "two monitors of one target each get their signal", "a: FORK:child, b: FORK:child sig=RTMIN+1")
{
	struct puppet *target = puppet("target"), *a = monitor("a"), *b = monitor("b");

	watch(a, target, FORK);
	need(reg(b, target->pid, FORK, SIG + 1) == 0);
	forks(target, 1);
	say("a: %s", rest(a));
	say("b: %s", rest(b));
}
CASE(mon_two_masks, "14", "each has its own mask", "a: FORK:child, b: EXIT:target")
{
	struct puppet *target = puppet("target"), *a = monitor("a"), *b = monitor("b");

	watch(a, target, FORK);
	watch(b, target, EXIT);
	forks(target, 1);
	end(target);
	say("a: %s", rest(a));
	say("b: %s", rest(b));
}
CASE(mon_dereg_not_others, "14 19", "one monitor's DEREGISTER is not another's", "EINVAL, 0, a: nothing, b: FORK:child")
{
	struct puppet *target = puppet("target"), *a = monitor("a"), *b = monitor("b"), *c = monitor("c");

	watch(a, target, FORK);
	watch(b, target, FORK);
	say_result(dereg(c, target->pid, FORK));
	say_result(dereg(a, target->pid, FORK));
	forks(target, 1);
	say("a: %s", rest(a));
	say("b: %s", rest(b));
}
CASE(mon_close_not_others, "31", "one monitor's close is not another's", "a: nothing, b: FORK:child")
{
	struct puppet *target = puppet("target"), *a = monitor("a"), *b = monitor("b");

	watch(a, target, FORK);
	watch(b, target, FORK);
	close_device(a);
	forks(target, 1);
	say("a: %s", rest(a));
	say("b: %s", rest(b));
}
CASE(mon_death_not_others, "31", "nor is one monitor's death", "b: FORK:child")
{
	struct puppet *target = puppet("target"), *a = monitor("a"), *b = monitor("b");

	watch(a, target, FORK);
	watch(b, target, FORK);
	kill_with(a, SIGKILL);
	forks(target, 1);
	say("b: %s", rest(b));
}
CASE(mon_ten, "14 35", "ten monitors of one target", "10 of 10")
{
	struct puppet *target = puppet("target"), *watcher[10];
	int told = 0;

	for (int i = 0; i < 10; i++) {
		watcher[i] = monitor("watcher");
		watch(watcher[i], target, EXIT);
	}
	end(target);
	for (int i = 0; i < 10; i++)
		told += !strcmp(events(watcher[i], 1), "EXIT:target");
	say("%d of 10", told);
}
CASE(mon_each_other, "43", "two monitors watch each other", "a: FORK:b child, b: FORK:a child")
{
	struct puppet *a = monitor("a"), *b = monitor("b");

	watch(a, b, FORK);
	watch(b, a, FORK);
	name_pid(forks(a, 1), "a child");
	name_pid(forks(b, 1), "b child");
	say("a: %s", rest(a));
	say("b: %s", rest(b));
}
CASE(mon_chain, "43", "a monitor is itself a target", "top: FORK:child, middle: EXIT:target")
{
	struct puppet *target = puppet("target"), *middle = monitor("middle"), *top = monitor("top");

	watch(middle, target, EXIT);
	watch(top, middle, FORK);
	forks(middle, 1);
	end(target);
	say("top: %s", rest(top));
	say("middle: %s", rest(middle));
}
CASE(mon_child_as_monitor, "15", "a child registers for itself through the inherited descriptor", "child: FORK:grandchild, parent: nothing")
{
	struct puppet *target = puppet("target"), *parent = monitor("parent"), *child = fork_from(parent, "child");

	watch(child, target, FORK);
	name_pid(forks(target, 1), "grandchild");
	say("child: %s", rest(child));
	say("parent: %s", rest(parent));
}
CASE(mon_child_does_not_own, "14 15", "a child does not own its parent's registrations", "EINVAL, 0")
{
	struct puppet *target = puppet("target"), *parent = monitor("parent"), *child;

	watch(parent, target, FORK);
	child = fork_from(parent, "child");
	say_result(dereg(child, target->pid, FORK));
	say_result(dereg(parent, target->pid, FORK));
}
CASE(mon_exec_keeps, "31e 33", "a monitor's exec without close-on-exec changes nothing", "FORK:child, 0, EINVAL")
{
	struct puppet *target = puppet("target"), *watcher = puppet("watcher");
	long fd = open_device(watcher, O_RDWR);

	watch(watcher, target, FORK);
	exec_self(watcher);
	forks(target, 1);
	say("%s", rest(watcher));
	say_result(deregister_on(watcher, fd, target->pid, FORK));
	say_result(deregister_on(watcher, fd, target->pid, FORK));
}

/* ---- Threads of one monitor ---- */

CASE(thr_dereg_other_thread, "14 19", "a thread cannot deregister what another thread registered", "EINVAL, 0")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	watch(leader, target, FORK);
	say_result(dereg(thread, target->pid, FORK));
	say_result(dereg(leader, target->pid, FORK));
}
CASE(thr_dereg_leader, "14 19", "nor can the main thread", "EINVAL, 0")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	watch(thread, target, FORK);
	say_result(dereg(leader, target->pid, FORK));
	say_result(dereg(thread, target->pid, FORK));
}
CASE(thr_two_entries, "14 35", "two threads' registrations are two signals to the process", "FORK:child, FORK:child sig=RTMIN+1")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	watch(leader, target, FORK);
	need(reg(thread, target->pid, FORK, SIG + 1) == 0);
	forks(target, 1);
	say("%s", rest(leader));
}
CASE(thr_registrant_process_directed, "35", "a thread's registration signals its process, so that any thread may take it", "FORK:child")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	watch(thread, target, FORK);
	forks(target, 1);
	say("%s", rest(leader));
}
CASE(thr_taken_by_thread, "35", "a main thread's registration may be taken by another thread", "FORK:child")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	watch(leader, target, FORK);
	forks(target, 1);
	say("%s", rest(thread));
}
CASE(thr_taken_once, "35", "it is one signal, not one for each thread", "FORK:child, nothing")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	watch(leader, target, FORK);
	forks(target, 1);
	say("%s", rest(thread));
	say("%s", rest(leader));
}
CASE(thr_default_action, "35 37", "its default action ends the whole process", "leader: Z")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	watch(thread, target, FORK);
	on(leader, act_unblock, SIG);
	forks(target, 1);
	settle();
	await_dead(leader->pid);
	say("leader: %c", task_state(leader->pid));
}
CASE(thr_registrant_exits, "33 35", "the registrations of a thread that ended are silent", "nothing")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	watch(thread, target, FORK);
	end(thread);
	await_gone(thread->pid);
	forks(target, 1);
	say("%s", rest(leader));
}
CASE(thr_registrant_exits_dereg, "14 33", "and the main thread cannot deregister them", "EINVAL")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	watch(thread, target, FORK);
	end(thread);
	await_gone(thread->pid);
	say_result(dereg(leader, target->pid, FORK));
}
CASE(thr_leader_registrant_exits, "35", "a main thread that ended still stands for its process", "FORK:child, EXIT:target")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	watch(leader, target, FORK | EXIT);
	end(leader);
	forks(target, 1);
	end(target);
	say("%s", rest(thread));
}
CASE(thr_exit_other_keeps, "33", "the end of one thread leaves the registrations of the others", "FORK:child")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	watch(leader, target, FORK);
	need(reg(thread, target->pid, FORK, SIG + 1) == 0);
	end(thread);
	await_gone(thread->pid);
	forks(target, 1);
	say("%s", rest(leader));
}
CASE(thr_sibling_as_target, "43", "a thread watches the forks of another thread of its process", "FORK:child")
{
	struct puppet *leader = monitor("leader"), *a = thread_of(leader, "a"), *b = thread_of(leader, "b");

	watch(a, b, FORK);
	forks(b, 1);
	say("%s", rest(leader));
}
CASE(thr_exec_by_leader, "31e 33", "exec by the main thread: its registrations stay, the threads' are silent", "FORK:child")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	watch(leader, target, FORK);
	need(reg(thread, target->pid, FORK, SIG + 1) == 0);
	exec_self(leader);
	forks(target, 1);
	say("%s", rest(leader));
}
CASE(thr_exec_by_thread, "31e 33", "exec by another thread: the main thread's registrations stay, the caller's are silent", "FORK:child")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	watch(leader, target, FORK);
	need(reg(thread, target->pid, FORK, SIG + 1) == 0);
	exec_self(thread);
	forks(target, 1);
	say("%s", rest(thread));
}
