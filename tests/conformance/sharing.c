/* One open file in many hands: duplicates, children, sockets. */
#include "suite.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* ---- Any descriptor will do ---- */

CASE(fd_second_open_serves, "15", "a second open deregisters what the first registered", "0, EINVAL")
{
	struct puppet *target = puppet("target");
	long first = open_device(me, O_RDWR), second = open_device(me, O_RDWR);

	need(register_on(me, first, target->pid, FORK, SIG) == 0);
	say_result(deregister_on(me, second, target->pid, FORK));
	say_result(deregister_on(me, first, target->pid, FORK));
}
CASE(fd_second_open_adds, "15 16", "and adds bits to it", "FORK:child sig=RTMIN+1, EXIT:target sig=RTMIN+1")
{
	struct puppet *target = puppet("target");
	long first = open_device(me, O_RDWR), second = open_device(me, O_RDONLY);

	need(register_on(me, first, target->pid, FORK, SIG) == 0);
	need(register_on(me, second, target->pid, EXIT, SIG + 1) == 0);
	forks(target, 1);
	end(target);
	say_rest(me);
}
CASE(fd_dup_serves, "15", "so does a duplicate", "0, FORK:child, 0")
{
	struct puppet *target = puppet("target");
	long first = open_device(me, O_RDWR), second = on(me, act_dup, first);

	say_result(register_on(me, second, target->pid, FORK, SIG));
	forks(target, 1);
	say_events(me, 1);
	say_result(deregister_on(me, first, target->pid, FORK));
}
CASE(fd_thread_open_serves, "15", "one thread's open serves another thread", "0, FORK:child, 0")
{
	struct puppet *target = puppet("target"), *leader = puppet("leader"), *thread = thread_of(leader, "thread");
	long fd = open_device(thread, O_RDWR);

	say_result(register_on(leader, fd, target->pid, FORK, SIG));
	forks(target, 1);
	say("%s", rest(leader));
	say_result(deregister_on(leader, fd, target->pid, FORK));
}
CASE(fd_received_serves, "15", "a received descriptor serves the receiver", "receiver: FORK:child, sender: nothing")
{
	struct puppet *target = puppet("target"), *receiver = puppet("receiver"), *sender = monitor("sender");

	send_fd(sender, DEFAULT_FD);
	receive_fd(receiver);
	watch(receiver, target, FORK);
	forks(target, 1);
	say("receiver: %s", rest(receiver));
	say("sender: %s", rest(sender));
}
CASE(fd_received_not_owner, "14 15", "but not the sender's registrations", "EINVAL, 0")
{
	struct puppet *target = puppet("target"), *receiver = puppet("receiver"), *sender = monitor("sender");

	watch(sender, target, FORK);
	send_fd(sender, DEFAULT_FD);
	receive_fd(receiver);
	say_result(dereg(receiver, target->pid, FORK));
	say_result(dereg(sender, target->pid, FORK));
}

/* ---- Close while another copy exists is no clean-up ---- */

CASE(close_dup_keeps, "31b", "close with a duplicate left", "0, FORK:child")
{
	struct puppet *target = puppet("target");
	long fd = open_device(me, O_RDWR);

	watch(me, target, FORK);
	on(me, act_dup, fd);
	say_result(close_fd(me, fd));
	forks(target, 1);
	say_rest(me);
}
CASE(close_both_dups, "31a", "close of the duplicate too", "nothing")
{
	struct puppet *target = puppet("target");
	long fd = open_device(me, O_RDWR);

	watch(me, target, FORK);
	on(me, act_dup, fd);
	close_fd(me, fd);
	close_device(me);
	forks(target, 1);
	say_rest(me);
}
CASE(fork_parent_close, "31b", "the registrant closes, its child holds on", "FORK:child")
{
	struct puppet *target = puppet("target"), *parent = monitor("parent");

	watch(parent, target, FORK);
	fork_from(parent, "holder");
	close_device(parent);
	forks(target, 1);
	say("%s", rest(parent));
}
CASE(fork_child_close, "31b", "the child closes, the registrant holds on", "FORK:child")
{
	struct puppet *target = puppet("target"), *parent = monitor("parent"), *holder;

	watch(parent, target, FORK);
	holder = fork_from(parent, "holder");
	close_device(holder);
	forks(target, 1);
	say("%s", rest(parent));
}
CASE(fork_child_exit_keeps, "31b", "the child ends, the registrant holds on", "FORK:child")
{
	struct puppet *target = puppet("target"), *parent = monitor("parent"), *holder;

	watch(parent, target, FORK);
	holder = fork_from(parent, "holder");
	end(holder);
	on(parent, act_wait, holder->pid);
	forks(target, 1);
	say("%s", rest(parent));
}
CASE(fork_child_close_own_reg, "31b", "a child registers and closes, its parent holds on", "child: FORK:grandchild, parent: nothing")
{
	struct puppet *target = puppet("target"), *parent = monitor("parent"), *child = fork_from(parent, "child");

	watch(child, target, FORK);
	close_device(child);
	name_pid(forks(target, 1), "grandchild");
	say("child: %s", rest(child));
	say("parent: %s", rest(parent));
}
CASE(fork_both_registered_one_closes, "31b", "parent and child registered, the child closes", "parent: FORK:x, child: FORK:x")
{
	struct puppet *target = puppet("target"), *parent = monitor("parent"), *child = fork_from(parent, "child");

	watch(parent, target, FORK);
	watch(child, target, FORK);
	close_device(child);
	name_pid(forks(target, 1), "x");
	say("parent: %s", rest(parent));
	say("child: %s", rest(child));
}
CASE(scm_sender_closes, "31b", "the registrant sends its descriptor and closes, the receiver holds on", "FORK:child")
{
	struct puppet *target = puppet("target"), *receiver = puppet("receiver"), *sender = monitor("sender");

	watch(sender, target, FORK);
	send_fd(sender, DEFAULT_FD);
	receive_fd(receiver);
	close_device(sender);
	forks(target, 1);
	say("%s", rest(sender));
}
CASE(scm_in_flight, "31b", "a copy in flight in a socket holds on", "FORK:child")
{
	struct puppet *target = puppet("target"), *sender = monitor("sender");

	watch(sender, target, FORK);
	send_fd(sender, DEFAULT_FD);
	close_device(sender);
	forks(target, 1);
	say("%s", rest(sender));
}
CASE(scm_received_back, "31", "sent, closed, received back and closed by the registrant", "FORK:child, nothing")
{
	struct puppet *target = puppet("target"), *sender = monitor("sender");

	watch(sender, target, FORK);
	send_fd(sender, DEFAULT_FD);
	close_device(sender);
	receive_fd(sender);
	forks(target, 1);
	say("%s", rest(sender));
	close_device(sender);
	forks(target, 1);
	say("%s", rest(sender));
}

static long act_steal_fd(const long *arg)
{
	int process = (int)syscall(SYS_pidfd_open, arg[0], 0);

	return sys(syscall(SYS_pidfd_getfd, process, arg[1], 0));
}

CASE(share_pidfd_getfd, "31b", "a copy taken by pidfd_getfd holds on", "FORK:child")
{
	struct puppet *target = puppet("target"), *thief = puppet("thief"), *sender = puppet("sender");
	long fd = open_device(sender, O_RDWR);

	watch(sender, target, FORK);
	need(on(thief, act_steal_fd, sender->pid, fd) >= 0);
	close_device(sender);
	forks(target, 1);
	say("%s", rest(sender));
}

static long act_own_files(const long *arg)
{
	(void)arg;
	return sys(unshare(CLONE_FILES));
}

CASE(share_thread_own_files, "31b", "a thread with a descriptor table of its own holds on", "FORK:child")
{
	struct puppet *target = puppet("target"), *leader = monitor("leader"), *thread = thread_of(leader, "thread");

	watch(leader, target, FORK);
	need(on(thread, act_own_files) == 0);
	close_device(leader);
	forks(target, 1);
	say("%s", rest(leader));
}

static long act_vfork_child_closes(const long *arg)
{
	pid_t pid = vfork();

	if (!pid) {
		close((int)arg[0]);
		_exit(0);
	}
	return pid > 0 && waitpid(pid, NULL, 0) == pid ? 0 : -errno;
}

CASE(share_vfork_child_closes, "31b", "a vfork child closes its own copy only", "0, FORK:child")
{
	struct puppet *target = puppet("target"), *parent = puppet("parent");
	long fd = open_device(parent, O_RDWR);

	watch(parent, target, FORK);
	say_result(on(parent, act_vfork_child_closes, fd));
	forks(target, 1);
	say("%s", rest(parent));
}
CASE(share_exec_keeps_in_child, "31b", "a child that kept the descriptor through exec holds on", "FORK:child")
{
	struct puppet *target = puppet("target"), *parent = monitor("parent"), *holder;

	watch(parent, target, FORK);
	holder = fork_from(parent, "holder");
	exec_self(holder);
	close_device(parent);
	forks(target, 1);
	say("%s", rest(parent));
}
CASE(share_exec_cloexec_in_child, "31b 31e", "a child's exec with close-on-exec is no last close", "FORK:child, nothing")
{
	struct puppet *target = puppet("target"), *parent = puppet("parent"), *holder;

	need(open_device(parent, O_RDWR | O_CLOEXEC) >= 0);
	watch(parent, target, FORK);
	holder = fork_from(parent, "holder");
	exec_self(holder);
	forks(target, 1);
	say("%s", rest(parent));
	close_device(parent);
	forks(target, 1);
	say("%s", rest(parent));
}
