/* The release of the last reference to an open file, and whose registrations it ends. */
#include "suite.h"

/* ---- By the registrant ---- */

CASE(close_last, "31a 47", "the last close ends the registrations", "FORK:child, 0, nothing")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	forks(target, 1);
	say_events(me, 1);
	say_result(close_device(me));
	forks(target, 1);
	end(target);
	say_rest(me);
}
CASE(close_last_with_driver_open, "31a 32", "also while somebody else has the device open", "nothing")
{
	struct puppet *target = puppet("target");

	monitor("stranger");
	watch(me, target, ALL);
	close_device(me);
	forks(target, 1);
	say_rest(me);
}
CASE(close_then_dereg, "31a", "after it they are not there to be deregistered", "EINVAL")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	close_device(me);
	open_device(me, O_RDWR);
	say_result(dereg(me, target->pid, ALL));
}
CASE(close_then_register, "31a", "a new registration does not remember the old bits", "EXIT:target")
{
	struct puppet *target = puppet("target");

	watch(me, target, FORK);
	close_device(me);
	watch(me, target, EXIT);
	forks(target, 1);
	end(target);
	say_rest(me);
}
CASE(close_all_targets, "31a", "all targets at once", "nothing")
{
	struct puppet *a = puppet("a"), *b = puppet("b"), *c = puppet("c");

	monitor("stranger");
	watch(me, a, ALL);
	watch(me, b, ALL);
	watch(me, c, ALL);
	close_device(me);
	forks(a, 1);
	forks(b, 1);
	end(c);
	say_rest(me);
}
CASE(close_by_dup2, "31a", "dup2 over the descriptor is a close", "nothing")
{
	struct puppet *target = puppet("target");
	long fd = open_device(me, O_RDWR);

	watch(me, target, ALL);
	need(dup2(0, (int)fd) == fd);
	forks(target, 1);
	say_rest(me);
}
CASE(close_by_close_range, "31a", "close_range is a close", "nothing")
{
	struct puppet *target = puppet("target");
	long fd = open_device(me, O_RDWR);

	watch(me, target, ALL);
	need(syscall(SYS_close_range, fd, fd, 0) == 0);
	forks(target, 1);
	say_rest(me);
}
CASE(close_twice, "31", "a second close finds no descriptor", "0, EBADF")
{
	long fd = open_device(me, O_RDWR);

	say_result(close_fd(me, fd));
	say_result(close_fd(me, fd));
}
CASE(close_never_registered, "31", "open and close without a registration", "0, 0")
{
	for (int i = 0; i < 2; i++) {
		open_device(me, O_RDWR);
		say_result(close_device(me));
	}
}

static long act_exec_closing(const long *arg)
{
	if (fcntl((int)arg[1], F_SETFD, FD_CLOEXEC))
		return -errno;
	return act_exec(arg);
}

CASE(exec_cloexec_cleans, "31e", "exec with close-on-exec is a close by the registrant", "nothing, EINVAL")
{
	struct puppet *target = puppet("target"), *watcher = puppet("watcher");
	long fd = open_device(watcher, O_RDWR);

	monitor("stranger");
	watch(watcher, target, ALL);
	need(on(watcher, act_exec_closing, watcher->slot, fd) > 0);
	forks(target, 1);
	say("%s", rest(watcher));
	open_device(watcher, O_RDWR);
	say_result(dereg(watcher, target->pid, ALL));
}
CASE(exec_cloexec_by_thread, "31e", "by another thread too: it has the process id by then", "nothing")
{
	struct puppet *target = puppet("target"), *watcher = puppet("watcher"), *thread = thread_of(watcher, "thread");
	long fd = open_device(watcher, O_RDWR);

	monitor("stranger");
	watch(watcher, target, ALL);
	need(on(thread, act_exec_closing, thread->slot, fd) > 0);
	forks(target, 1);
	say("%s", rest(thread));
}
CASE(self_exec_cloexec, "31e J2", "a self-monitor that closes on exec", "EXEC:self")
{
	struct puppet *self = puppet("self");
	long fd = open_device(self, O_RDWR);

	watch(self, self, EXEC);
	need(on(self, act_exec_closing, self->slot, fd) > 0);
	say("%s", rest(self));
}

/* ---- With a second open ---- */

CASE(two_opens_close_other, "31d", "closing an unrelated second open ends all registrations of the task", "nothing")
{
	struct puppet *target = puppet("target");
	long first = open_device(me, O_RDWR), second = open_device(me, O_RDWR);

	need(register_on(me, first, target->pid, FORK, SIG) == 0);
	close_fd(me, second);
	forks(target, 1);
	say_rest(me);
}
CASE(two_opens_close_registering, "31d", "so does closing the one that was registered through", "nothing, EINVAL")
{
	struct puppet *target = puppet("target");
	long first = open_device(me, O_RDWR), second = open_device(me, O_RDWR);

	need(register_on(me, first, target->pid, FORK, SIG) == 0);
	close_fd(me, first);
	forks(target, 1);
	say_rest(me);
	say_result(deregister_on(me, second, target->pid, FORK));
}
CASE(two_opens_register_both, "31d", "so does closing one of two that were registered through", "nothing")
{
	struct puppet *target = puppet("target");
	long first = open_device(me, O_RDWR), second = open_device(me, O_RDWR);

	need(register_on(me, first, target->pid, FORK, SIG) == 0);
	need(register_on(me, second, target->pid, FORK, SIG) == 0);
	close_fd(me, first);
	forks(target, 1);
	say_rest(me);
}
CASE(two_opens_of_two_threads, "31d", "one thread's close of its own open is not another thread's", "FORK:child")
{
	struct puppet *target = puppet("target"), *leader = puppet("leader"), *thread = thread_of(leader, "thread");
	long first = open_device(leader, O_RDWR), second = open_device(thread, O_RDWR);

	need(register_on(leader, first, target->pid, FORK, SIG) == 0);
	need(register_on(thread, second, target->pid, FORK, SIG + 1) == 0);
	close_fd(thread, second);
	forks(target, 1);
	say("%s", rest(leader));
}
CASE(close_childs_own_open, "31", "a child that opens and closes for itself takes nothing from its parent", "FORK:child")
{
	struct puppet *target = puppet("target"), *parent = monitor("parent"), *child;

	watch(parent, target, FORK);
	child = fork_from(parent, "forked");
	open_device(child, O_RDWR);
	close_device(child);
	forks(target, 1);
	say("%s", rest(parent));
}

/* ---- By somebody else ---- */

CASE(close_by_thread_driver_open, "31c", "a sibling thread's last close leaves the registrations at work", "FORK:child")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	monitor("stranger");
	watch(leader, target, FORK);
	close_device(thread);
	forks(target, 1);
	say("%s", rest(leader));
}
CASE(close_by_thread_driver_idle, "31c 32", "asleep, when nobody has the device open", "nothing")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	watch(leader, target, FORK);
	close_device(thread);
	forks(target, 1);
	say("%s", rest(leader));
}
CASE(close_by_thread_revived, "31c 32", "what happens while nobody has it open is lost; anybody's open wakes them", "FORK:awake")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	watch(leader, target, FORK);
	close_device(thread);
	name_pid(forks(target, 1), "asleep");
	monitor("stranger");
	name_pid(forks(target, 1), "awake");
	say("%s", rest(leader));
}
CASE(close_by_registering_thread, "31c", "a last close ends the closing thread's registrations, not the other's", "FORK:child")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	monitor("stranger");
	watch(leader, target, FORK);
	need(reg(thread, target->pid, FORK, SIG + 1) == 0);
	close_device(thread);
	forks(target, 1);
	say("%s", rest(leader));
}
CASE(close_by_leader_of_thread, "31c", "the main thread's last close leaves a thread's registrations", "FORK:child")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	monitor("stranger");
	watch(thread, target, FORK);
	close_device(leader);
	forks(target, 1);
	say("%s", rest(leader));
}
CASE(close_by_clone_files, "31c", "a last close through a shared descriptor table leaves them at work", "FORK:child, EBADF")
{
	struct puppet *target = puppet("target"), *watcher = puppet("watcher"), *sharer;
	long fd = open_device(watcher, O_RDWR);

	monitor("stranger");
	watch(watcher, target, FORK);
	sharer = fork_sharing_table(watcher, "sharer");
	close_fd(sharer, fd);
	forks(target, 1);
	say("%s", rest(watcher));
	say_result(deregister_on(watcher, fd, target->pid, FORK));
}
CASE(fork_parent_then_child_close, "31c 32", "a child's last close leaves them asleep, until anybody's open", "nothing, FORK:child, 0")
{
	struct puppet *target = puppet("target"), *parent = monitor("parent"), *holder;

	watch(parent, target, FORK);
	holder = fork_from(parent, "holder");
	close_device(parent);
	close_device(holder);
	forks(target, 1);
	say("%s", rest(parent));
	monitor("stranger");
	forks(target, 1);
	say("%s", rest(parent));
	open_device(parent, O_RDWR);
	say_result(dereg(parent, target->pid, FORK));
}
CASE(fork_parent_close_child_exit, "31c", "a child's end as the last close does the same", "FORK:child")
{
	struct puppet *target = puppet("target"), *parent = monitor("parent"), *holder;

	monitor("stranger");
	watch(parent, target, FORK);
	holder = fork_from(parent, "holder");
	close_device(parent);
	end(holder);
	on(parent, act_wait, holder->pid);
	forks(target, 1);
	say("%s", rest(parent));
}
CASE(fork_parent_close_child_exec, "31c 31e", "a child's exec with close-on-exec as the last close does the same", "FORK:child")
{
	struct puppet *target = puppet("target"), *parent = puppet("parent"), *holder;

	monitor("stranger");
	need(open_device(parent, O_RDWR | O_CLOEXEC) >= 0);
	watch(parent, target, FORK);
	holder = fork_from(parent, "holder");
	close_device(parent);
	exec_self(holder);
	forks(target, 1);
	say("%s", rest(parent));
}
CASE(scm_receiver_last_close, "31c", "the receiver's last close does the same", "FORK:child")
{
	struct puppet *target = puppet("target"), *receiver = puppet("receiver"), *sender = monitor("sender");

	monitor("stranger");
	watch(sender, target, FORK);
	send_fd(sender, DEFAULT_FD);
	receive_fd(receiver);
	close_device(sender);
	close_device(receiver);
	forks(target, 1);
	say("%s", rest(sender));
}
CASE(child_registered_parent_last_close, "31c", "a child's registrations survive the parent's last close", "FORK:grandchild")
{
	struct puppet *target = puppet("target"), *parent = monitor("parent"), *child = fork_from(parent, "forked");

	monitor("stranger");
	watch(child, target, FORK);
	close_device(child);
	close_device(parent);
	name_pid(forks(target, 1), "grandchild");
	say("%s", rest(child));
}
