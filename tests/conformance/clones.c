/* Every way to make a process, and ids registered before they exist. */
#include "suite.h"

#include <linux/sched.h>
#include <sched.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

static pid_t make(struct puppet *target, action *act)
{
	long pid = on(target, act);

	need(pid > 0);
	name_pid((pid_t)pid, "child");
	return (pid_t)pid;
}

CASE(fork_fork, "24", "fork", "FORK:child")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	forks(target, 1);
	say_rest(me);
}
CASE(fork_vfork, "24", "vfork", "FORK:child")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	make(target, act_vfork_exit);
	say_rest(me);
}

static long act_spawn(const long *arg)
{
	char *argv[] = { "conformance", "-h", NULL };
	posix_spawn_file_actions_t quiet;
	pid_t pid;
	int error;

	(void)arg;
	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
	error = posix_spawn(&pid, "/proc/self/exe", &quiet, NULL, argv, environ);
	return error ? -error : waitpid(pid, NULL, 0) == pid ? pid : -errno;
}

CASE(fork_posix_spawn, "24", "posix_spawn: one fork; the exec is the child's", "FORK:child")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	make(target, act_spawn);
	say_rest(me);
}

static void cloned_with(int flags)
{
	struct puppet *target = puppet("target"), *child;

	watch(me, target, ALL);
	child = clone_from(target, flags, "child");
	end(child);
	say_rest(me);
}

CASE(fork_clone_vm, "24", "clone with CLONE_VM makes a process", "FORK:child") { cloned_with(CLONE_VM | SIGCHLD); }
CASE(fork_clone_vm_sighand, "24", "CLONE_VM|CLONE_SIGHAND too", "FORK:child") { cloned_with(CLONE_VM | CLONE_SIGHAND | SIGCHLD); }
CASE(fork_clone_files_fs, "24", "CLONE_FILES|CLONE_FS too", "FORK:child") { cloned_with(CLONE_FILES | CLONE_FS | SIGCHLD); }
CASE(fork_clone_no_signal, "24", "a child without an exit signal too", "FORK:child") { cloned_with(0); }
CASE(fork_clone_untraced, "24", "CLONE_UNTRACED does not hide a fork", "FORK:child") { cloned_with(CLONE_UNTRACED | SIGCHLD); }
CASE(fork_clone_parent, "24", "CLONE_PARENT: the caller's fork, although the child is a sibling", "FORK:child")
{
	cloned_with(CLONE_PARENT | SIGCHLD);
}
CASE(fork_clone_parent_not_parents, "24", "CLONE_PARENT: not the fork of the resulting parent", "nothing")
{
	struct puppet *parent = puppet("parent"), *target = fork_from(parent, "target"), *child;

	watch(me, parent, ALL);
	child = clone_from(target, CLONE_PARENT | SIGCHLD, "child");
	end(child);
	say_rest(me);
}
CASE(fork_clone_thread, "23 24", "CLONE_THREAD makes a thread", "TCREATE:thread")
{
	struct puppet *target = puppet("target"), *thread;

	watch(me, target, ALL);
	thread = clone_from(target, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, "thread");
	end(thread);
	say_rest(me);
}

static long act_clone_vfork(const long *arg)
{
	struct clone_args args = { .flags = CLONE_VFORK, .exit_signal = SIGCHLD };
	long pid = syscall(SYS_clone3, &args, sizeof args);

	(void)arg;
	if (!pid)
		_exit(0);
	return pid > 0 && waitpid((pid_t)pid, NULL, 0) == pid ? pid : -errno;
}

CASE(fork_clone_vfork, "24", "CLONE_VFORK without shared memory", "FORK:child")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	make(target, act_clone_vfork);
	say_rest(me);
}
CASE(fork_clone3_pid, "24", "clone3 with a chosen pid", "FORK:child, chosen")
{
	struct puppet *target = puppet("target"), *child;
	pid_t pid = unused_pid();

	watch(me, target, ALL);
	child = fork_as(target, pid, "child");
	say_rest(me);
	say("%s", child->pid == pid ? "chosen" : "another");
}

/* ---- Failures ---- */

static long act_bad_clone(const long *arg)
{
	(void)arg;
	return sys(syscall(SYS_clone, CLONE_THREAD | SIGCHLD, 0, 0, 0, 0));
}

static long act_clone_taken_pid(const long *arg)
{
	pid_t wanted = (pid_t)arg[0];
	struct clone_args args = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&wanted, .set_tid_size = 1 };

	return sys(syscall(SYS_clone3, &args, sizeof args));
}

static long act_fork_over_limit(const long *arg)
{
	struct rlimit none = { 0, 0 };

	(void)arg;
	if (setresuid(NOBODY, NOBODY, NOBODY) || setrlimit(RLIMIT_NPROC, &none))
		return -errno;
	return sys(fork());
}

CASE(fork_invalid_flags, "24", "a clone with impossible flags sends nothing", "EINVAL, nothing")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	say_result(on(target, act_bad_clone));
	say_rest(me);
}
CASE(fork_pid_taken, "24", "a clone that fails late sends nothing", "EEXIST, nothing")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	say_result(on(target, act_clone_taken_pid, getpid()));
	say_rest(me);
}
CASE(fork_over_limit, "24", "a fork beyond RLIMIT_NPROC sends nothing", "EAGAIN, nothing")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	say_result(on(target, act_fork_over_limit));
	say_rest(me);
}

/* ---- Many ---- */

CASE(fork_100, "24 49", "a hundred forks are a hundred events", "100, nothing")
{
	struct puppet *target = puppet("target");

	watch(me, target, FORK);
	forks(target, 100);
	say("%ld", count_of(me, FORK, 100));
	say_rest(me);
}
CASE(fork_concurrent, "24", "forks by two targets at once are all reported", "60 of 60, nothing")
{
	struct puppet *a = puppet("a"), *b = puppet("b");

	watch(me, a, FORK);
	watch(me, b, FORK);
	tell(a, act_fork_exit, 30);
	tell(b, act_fork_exit, 30);
	answer(a);
	answer(b);
	say("%ld of 60", count_of(me, FORK, 60));
	say_rest(me);
}

/* ---- Ids that nobody has yet ---- */

CASE(ev_future_pid, "17 30", "a registration made before the process exists fires once it does", "nothing, EXIT:target")
{
	pid_t pid = unused_pid();
	struct puppet *target;

	watch_pid(me, pid, ALL);
	say_rest(me);
	target = fork_as(me, pid, "target");
	end(target);
	say_rest(me);
}
CASE(ev_future_pid_all, "17 30", "it sees the whole life", "FORK:child, EXEC:target, EXIT:target")
{
	pid_t pid = unused_pid();
	struct puppet *target;

	watch_pid(me, pid, ALL);
	target = fork_as(me, pid, "target");
	forks(target, 1);
	exec_self(target);
	end(target);
	say_rest(me);
}
CASE(ev_future_pid_after_parent, "30 45", "the fork comes before anything the child does", "FORK:child, EXIT:child")
{
	struct puppet *target = puppet("target"), *child;
	pid_t pid = unused_pid();

	watch(me, target, FORK);
	watch_pid(me, pid, EXIT);
	child = fork_as(target, pid, "child");
	end(child);
	say_rest(me);
}
CASE(ev_registration_survives_target, "21", "a later process with the same id fires again", "EXIT:target, EXIT:successor, 0")
{
	struct puppet *target = puppet("target"), *successor;

	watch(me, target, EXIT);
	end(target);
	reap(target);
	say_events(me, 1);
	successor = fork_as(me, target->pid, "successor");
	end(successor);
	say_events(me, 1);
	say_result(dereg(me, target->pid, EXIT));
}
CASE(ev_register_zombie, "17", "REGISTER of a zombie succeeds and never fires", "0, nothing, 0")
{
	struct puppet *target = puppet("target");

	end(target);
	open_device(me, O_RDWR);
	say_result(reg(me, target->pid, ALL, SIG));
	reap(target);
	say_rest(me);
	say_result(dereg(me, target->pid, ALL));
}
CASE(ev_register_after_exit, "17 46", "REGISTER of a process that has ended reports no past event", "0, nothing")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	end(target);
	reap(target);
	say_result(reg(me, target->pid, ALL, SIG));
	say_rest(me);
}
