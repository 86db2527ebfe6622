/* One process and the events of its life. */
#include "suite.h"

#include <sys/wait.h>

/* ---- Each kind ---- */

CASE(ev_fork, "23 36", "a fork is reported with the id of the child", "FORK:child")
{
	struct puppet *target = puppet("target");

	watch(me, target, FORK);
	fork_from(target, "child");
	say_rest(me);
}
CASE(ev_exec, "23 28 36", "an exec is reported with the process id", "EXEC:target")
{
	struct puppet *target = puppet("target");

	watch(me, target, EXEC);
	exec_self(target);
	say_rest(me);
}
CASE(ev_exit, "23 36", "the end of a process is reported with its id", "EXIT:target")
{
	struct puppet *target = puppet("target");

	watch(me, target, EXIT);
	end_process(target, 0);
	say_rest(me);
}
CASE(ev_thread_create, "23 36", "a new thread is reported with its tid", "TCREATE:thread")
{
	struct puppet *target = puppet("target");

	watch(me, target, TCREATE);
	thread_of(target, "thread");
	say_rest(me);
}
CASE(ev_thread_exit, "23 36", "the end of a thread is reported to a registration of its tid", "TEXIT:thread")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, thread, TEXIT);
	end(thread);
	say_rest(me);
}

/* A life with every kind of event, as far as the process id sees it. */
static void live(struct puppet *target)
{
	forks(target, 1);
	name_pid((pid_t)on(target, act_thread_exit, 1), "thread");
	exec_self(target);
	end_process(target, 0);
}

static void life_seen_by(int mask)
{
	struct puppet *target = puppet("target");

	watch(me, target, mask);
	live(target);
	say_rest(me);
}

CASE(ev_all_bits, "23 45", "all bits report the whole life in order", "FORK:child, TCREATE:thread, EXEC:target, EXIT:target") { life_seen_by(ALL); }
CASE(ev_only_fork, "23", "the fork bit reports nothing else", "FORK:child") { life_seen_by(FORK); }
CASE(ev_only_thread_create, "23", "the thread create bit reports nothing else", "TCREATE:thread") { life_seen_by(TCREATE); }
CASE(ev_only_exec, "23", "the exec bit reports nothing else", "EXEC:target") { life_seen_by(EXEC); }
CASE(ev_only_exit, "23", "the process exit bit reports nothing else", "EXIT:target") { life_seen_by(EXIT); }
CASE(ev_only_thread_exit, "25", "the thread exit bit on a process id is useless", "nothing") { life_seen_by(TEXIT); }
CASE(ev_abort_bits_only, "23", "the abort bits are never reported", "nothing") { life_seen_by(ABORT | TABORT); }
CASE(ev_two_bits, "23", "two bits report two kinds", "FORK:child, EXEC:target") { life_seen_by(FORK | EXEC); }

CASE(ev_one_bit_each, "23", "each event is a signal of its own with one bit", "FORK:child, FORK:child, EXIT:target")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	forks(target, 1);
	say_events(me, 1);
	forks(target, 1);
	end_process(target, 0);
	say_rest(me);
}

/* ---- Ways to die ---- */

static void death_by(int sig)
{
	struct puppet *target = puppet("target");
	int status;

	watch(me, target, ALL);
	tell(target, act_die_by, sig);
	say_events(me, 1);
	need(waitpid(target->pid, &status, 0) == target->pid);
	say("%s", WIFSIGNALED(status) ? signal_name(WTERMSIG(status)) : "exited");
}

CASE(ev_exit_status, "29 50", "an exit status does not show in the event, and stays intact", "EXIT:target, 42")
{
	struct puppet *target = puppet("target");
	int status;

	watch(me, target, ALL);
	end_process(target, 42);
	say_rest(me);
	need(waitpid(target->pid, &status, 0) == target->pid);
	say("%d", WEXITSTATUS(status));
}
CASE(ev_die_sigterm, "29", "death by SIGTERM is a process exit", "EXIT:target, TERM") { death_by(SIGTERM); }
CASE(ev_die_sigkill, "29", "death by SIGKILL is a process exit", "EXIT:target, KILL") { death_by(SIGKILL); }
CASE(ev_die_abort, "29", "death by SIGABRT is a process exit, not an abort", "EXIT:target, ABRT") { death_by(SIGABRT); }
CASE(ev_die_segv, "29", "death by SIGSEGV is a process exit", "EXIT:target, SEGV") { death_by(SIGSEGV); }
CASE(ev_die_realtime, "29", "death by a real-time signal is a process exit", "EXIT:target, RTMIN+7") { death_by(SIGRTMIN + 7); }
CASE(ev_killed_from_outside, "29", "a kill by someone else too", "EXIT:target")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	kill_with(target, SIGKILL);
	say_rest(me);
}
CASE(ev_exit_before_reaping, "29 48", "the exit is reported at death, not when the parent waits", "EXIT:target, zombie, nothing")
{
	struct puppet *target = puppet("target");

	watch(me, target, EXIT);
	end(target);
	say_events(me, 1);
	say("%s", task_state(target->pid) == 'Z' ? "zombie" : "gone");
	reap(target);
	say_rest(me);
}
CASE(ev_exit_autoreaped, "29", "the exit of a child that nobody waits for is reported", "EXIT:child")
{
	struct puppet *parent = puppet("parent"), *child;

	need(on(parent, act_ignore, SIGCHLD) == 0);
	child = fork_from(parent, "child");
	watch(me, child, EXIT);
	tell(child, act_exit, 0);
	await_gone(child->pid);
	say_rest(me);
}
CASE(ev_stop_continue, "29", "stop and continue are no events", "nothing, EXIT:target")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	kill(target->pid, SIGSTOP);
	await_state(target->pid, 'T');
	kill(target->pid, SIGCONT);
	await_state(target->pid, 'S');
	say_rest(me);
	end(target);
	say_rest(me);
}
CASE(ev_killed_while_stopped, "29", "a stopped target can be killed and is reported", "EXIT:target")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	kill(target->pid, SIGSTOP);
	await_state(target->pid, 'T');
	kill_with(target, SIGKILL);
	say_rest(me);
}
CASE(ev_exit_then_wait, "48", "after the exit signal the target can be waited for", "EXIT:target, waited")
{
	struct puppet *target = puppet("target");

	watch(me, target, EXIT);
	tell(target, act_exit, 0);
	say_events(me, 1);
	say("%s", waitpid(target->pid, NULL, 0) == target->pid ? "waited" : "cannot wait");
}

/* ---- Whose events ---- */

CASE(ev_child_not_inherited, "30", "a child inherits no registration", "FORK:child, nothing")
{
	struct puppet *target = puppet("target"), *child;

	watch(me, target, ALL);
	child = fork_from(target, "child");
	say_events(me, 1);
	fork_from(child, "grandchild");
	exec_self(child);
	end(child);
	say_rest(me);
}
CASE(ev_unregistered_silent, "30", "what others do is not reported", "nothing")
{
	struct puppet *target = puppet("target"), *other = puppet("other");

	watch(me, target, ALL);
	forks(other, 3);
	exec_self(other);
	end(other);
	say_rest(me);
}
CASE(ev_unrelated_target, "23", "the target need not be a child of the monitor", "FORK:child, EXIT:target")
{
	struct puppet *watcher = monitor("watcher"), *target = puppet("target");

	watch(watcher, target, ALL);
	forks(target, 1);
	end(target);
	say("%s", rest(watcher));
}
CASE(ev_parent_as_target, "23", "a monitor may watch its parent", "FORK:child")
{
	struct puppet *parent = puppet("parent"), *watcher = fork_from(parent, "watcher");

	watch(watcher, parent, FORK);
	forks(parent, 1);
	say("%s", rest(watcher));
}
CASE(ev_other_session, "23", "sessions do not matter", "FORK:child")
{
	struct puppet *target = puppet("target");

	need(on(target, act_setsid) == 0);
	watch(me, target, ALL);
	forks(target, 1);
	say_rest(me);
}
CASE(ev_orphan, "23", "a target that changes its parent stays a target", "FORK:child, EXIT:orphan")
{
	struct puppet *parent = puppet("parent"), *orphan = fork_from(parent, "orphan");

	watch(me, orphan, ALL);
	end(parent);
	reap(parent);
	forks(orphan, 1);
	end(orphan);
	say_rest(me);
}
CASE(ev_grandchild_registered, "30", "a grandchild can be registered as well", "FORK:child, FORK:grandchild, EXIT:grandchild")
{
	struct puppet *target = puppet("target"), *child, *grandchild;

	watch(me, target, FORK);
	child = fork_from(target, "child");
	watch(me, child, FORK);
	grandchild = fork_from(child, "grandchild");
	watch(me, grandchild, EXIT);
	end(grandchild);
	end(child);
	say_rest(me);
}
CASE(ev_two_targets, "14 23", "two targets of one monitor", "FORK:a child, EXIT:b, EXIT:a")
{
	struct puppet *a = puppet("a"), *b = puppet("b");

	watch(me, a, ALL);
	watch(me, b, EXIT);
	name_pid(forks(a, 1), "a child");
	forks(b, 1);
	end(b);
	end(a);
	say_rest(me);
}

/* ---- The monitor itself ---- */

CASE(self_fork, "43", "a monitor may watch its own forks", "FORK:child")
{
	watch(me, me, FORK);
	forks(me, 1);
	say_rest(me);
}
CASE(self_thread_create, "43", "and its own thread creations", "TCREATE:thread")
{
	watch(me, me, TCREATE);
	name_pid((pid_t)on(me, act_thread_exit, 1), "thread");
	say_rest(me);
}
CASE(self_exec, "31 43", "and its own exec, when the descriptor survives it", "EXEC:self")
{
	struct puppet *self = monitor("self");

	watch(self, self, EXEC);
	exec_self(self);
	say("%s", events(self, 1));
	if (strcmp(rest(self), "nothing") != 0)
		say("and more");
}
CASE(self_exit_of_leader, "26 35 43", "a surviving thread sees the end of its main thread", "EXIT:self")
{
	struct puppet *self = monitor("self"), *thread = thread_of(self, "thread");

	watch(self, self, EXIT);
	end(self);
	say("%s", rest(thread));
}
CASE(self_exit_of_thread, "43", "a main thread sees the end of its thread", "TEXIT:thread")
{
	struct puppet *self = monitor("self"), *thread = thread_of(self, "thread");

	watch(self, thread, TEXIT);
	end(thread);
	say("%s", rest(self));
}
CASE(self_process_exit, "43", "the end of the monitor's whole process reaches nobody", "ended")
{
	struct puppet *self = monitor("self");

	watch(self, self, EXIT);
	end_process(self, 0);
	settle();
	say("ended");
}
