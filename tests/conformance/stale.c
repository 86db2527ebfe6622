/* Registrations that outlive their task: who inherits them with its number. */
#include "suite.h"

/* A new process that gets a number which a monitor had.  It never asked for anything. */
static struct puppet *victim_with(pid_t pid)
{
	await_gone(pid);
	return fork_as(me, pid, "victim");
}

static void say_victim(struct puppet *victim, struct puppet *target)
{
	forks(target, 1);
	say("victim: %s", rest(victim));
}

CASE(thr_registrant_tid_reused, "33", "a dead thread's registrations signal whoever gets its tid", "victim: FORK:child")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread"), *victim;

	watch(thread, target, FORK);
	end(thread);
	victim = victim_with(thread->pid);
	say_victim(victim, target);
}
CASE(thr_registrant_tid_reused_default, "33 37", "and kill it by default", "victim: dead")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread"), *victim;

	watch(thread, target, FORK);
	end(thread);
	victim = victim_with(thread->pid);
	on(victim, act_unblock, SIG);
	forks(target, 1);
	settle();
	say("victim: %s", task_state(victim->pid) == 'S' ? "alive" : "dead");
}
CASE(exec_nonleader_own_reg, "28 33", "so do those of a thread that became the process by exec", "victim: FORK:child")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread"), *victim;
	pid_t tid = thread->pid;

	watch(thread, target, FORK);
	exec_self(thread);
	victim = victim_with(tid);
	say_victim(victim, target);
}
CASE(fork_child_exit_pid_reused, "31b 33", "so do those of a child that registered through an inherited descriptor", "victim: FORK:child")
{
	struct puppet *target = puppet("target"), *parent = monitor("parent"), *child = fork_from(parent, "forked"), *victim;

	watch(child, target, FORK);
	end(child);
	on(parent, act_wait, child->pid);
	victim = victim_with(child->pid);
	say_victim(victim, target);
}
CASE(monitor_exit_fd_shared, "31b 33", "so do those of a monitor that died while a child holds its descriptor", "victim: FORK:child")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher"), *victim;

	watch(watcher, target, FORK);
	fork_from(watcher, "holder");
	kill_with(watcher, SIGKILL);
	reap(watcher);
	victim = victim_with(watcher->pid);
	say_victim(victim, target);
}
CASE(monitor_thread_last_out, "31c 33", "so do those of a main thread that ended before the last thread", "victim: FORK:child")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread"), *victim;

	monitor("stranger");
	watch(leader, target, FORK);
	end(leader);
	end_process(thread, 0);
	reap(leader);
	victim = victim_with(leader->pid);
	say_victim(victim, target);
}
CASE(stale_mask_inherited, "16 33", "a new monitor with the number gets events it never asked for",
     "FORK:child sig=RTMIN+1, EXIT:target sig=RTMIN+1")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher"), *heir;

	watch(watcher, target, FORK);
	fork_from(watcher, "holder");
	kill_with(watcher, SIGKILL);
	reap(watcher);
	heir = victim_with(watcher->pid);
	open_device(heir, O_RDWR);
	need(reg(heir, target->pid, EXIT, SIG + 1) == 0);
	forks(target, 1);
	end(target);
	say("%s", rest(heir));
}
CASE(stale_owner_deregisters, "14 33", "a new process with the number can deregister what it did not register", "0")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher"), *heir;

	watch(watcher, target, FORK);
	fork_from(watcher, "holder");
	kill_with(watcher, SIGKILL);
	reap(watcher);
	heir = victim_with(watcher->pid);
	open_device(heir, O_RDWR);
	say_result(dereg(heir, target->pid, FORK));
}

/* ---- Where everything is cleaned up ---- */

CASE(monitor_exit_cleans, "31a", "the end of a monitor that alone holds the file leaves nothing to a successor", "victim: nothing, EINVAL")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher"), *victim;

	monitor("stranger");
	watch(watcher, target, FORK);
	end_process(watcher, 0);
	reap(watcher);
	victim = victim_with(watcher->pid);
	say_victim(victim, target);
	open_device(victim, O_RDWR);
	say_result(dereg(victim, target->pid, FORK));
}
CASE(monitor_sigkill_cleans, "31a", "nor does its death by SIGKILL", "victim: nothing, EINVAL")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher"), *victim;

	monitor("stranger");
	watch(watcher, target, FORK);
	kill_with(watcher, SIGKILL);
	reap(watcher);
	victim = victim_with(watcher->pid);
	say_victim(victim, target);
	open_device(victim, O_RDWR);
	say_result(dereg(victim, target->pid, FORK));
}
CASE(monitor_zombie_silent, "31a 35", "a monitor that is a zombie is no trouble to others", "FORK:child")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher"), *other = monitor("other");

	watch(watcher, target, FORK);
	watch(other, target, FORK);
	end(watcher);
	forks(target, 1);
	say("%s", rest(other));
}
CASE(close_pid_reused, "31a", "registrations ended by close are not a successor's either", "victim: nothing")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher"), *victim;

	monitor("stranger");
	watch(watcher, target, FORK);
	close_device(watcher);
	end(watcher);
	reap(watcher);
	victim = victim_with(watcher->pid);
	say_victim(victim, target);
}
CASE(dereg_pid_reused, "19", "nor are deregistered ones", "victim: nothing")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher"), *victim;

	watch(watcher, target, FORK);
	fork_from(watcher, "holder");
	need(dereg(watcher, target->pid, FORK) == 0);
	end(watcher);
	reap(watcher);
	victim = victim_with(watcher->pid);
	say_victim(victim, target);
}
