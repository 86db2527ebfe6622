/* Exec: once, on success, under the process id. */
#include "suite.h"

#include <sys/mman.h>
#include <sys/wait.h>

CASE(ev_exec_twice, "28", "each exec is an event", "EXEC:target, EXEC:target")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	exec_self(target);
	exec_self(target);
	say_rest(me);
}
CASE(ev_exec_fail, "28", "a failing exec is none", "ENOTDIR, nothing")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	say_result(on(target, act_exec_fail));
	say_rest(me);
}

static long act_exec_text(const long *arg)
{
	int fd = memfd_create("text", 0);

	(void)arg;
	if (write(fd, "no program\n", 11) != 11)
		return -errno;
	return act_exec_fd((const long[4]){ 0, fd });
}

CASE(ev_exec_no_program, "28", "nor is one that fails while the file is read", "ENOEXEC, nothing")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	say_result(on(target, act_exec_text));
	say_rest(me);
}
CASE(ev_exec_script, "28", "a script counts once", "EXEC:target")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	need(on(target, act_exec_script, target->slot) > 0);
	say_rest(me);
}

static long act_exec_own_fd(const long *arg)
{
	return act_exec_fd((const long[4]){ arg[0], open("/proc/self/exe", O_RDONLY | O_CLOEXEC) });
}

CASE(ev_exec_fd, "28", "execveat of a descriptor too", "EXEC:target")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	need(on(target, act_exec_own_fd, target->slot) > 0);
	say_rest(me);
}
CASE(ev_exec_entries_survive, "28", "a target's registrations survive its exec", "EXEC:target, FORK:child, EXIT:target")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	exec_self(target);
	forks(target, 1);
	end(target);
	say_rest(me);
}
CASE(ev_exec_after_fork, "28 30", "the exec of a child is the child's", "FORK:child, EXEC:child")
{
	struct puppet *target = puppet("target"), *child;

	watch(me, target, ALL);
	child = fork_from(target, "child");
	watch(me, child, EXEC);
	exec_self(child);
	say_rest(me);
}
CASE(ev_exec_leader_threads, "28", "exec by the main thread of several: thread exits, then exec", "TEXIT:thread, EXEC:target")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, target, ALL);
	watch(me, thread, ALL);
	exec_self(target);
	say_rest(me);
}
CASE(ev_exec_leader_threads_tgid, "25 28", "of which the process id sees only the exec", "EXEC:target")
{
	struct puppet *target = puppet("target");

	thread_of(target, "thread");
	watch(me, target, ALL);
	exec_self(target);
	say_rest(me);
}

/* The thread's slot goes on as the process. */
static void exec_by_thread(struct puppet *thread, struct puppet *process)
{
	exec_self(thread);
	thread->pid = process->pid;
}

CASE(ev_exec_nonleader, "28", "exec by another thread: process exit, then exec, under the process id", "EXIT:target, EXEC:target")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, target, ALL);
	exec_by_thread(thread, target);
	say_rest(me);
}
CASE(ev_exec_nonleader_tid, "28", "a registration of the caller's old tid gets nothing", "nothing, gone")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");
	pid_t tid = thread->pid;

	watch(me, thread, ALL);
	exec_by_thread(thread, target);
	say_rest(me);
	say("%s", task_state(tid) ? "still there" : "gone");
}
CASE(ev_exec_nonleader_then_life, "28", "afterwards the process id is a main thread again", "EXIT:target, EXEC:target, FORK:child, EXIT:target")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, target, ALL);
	exec_by_thread(thread, target);
	forks(thread, 1);
	end(thread);
	say_rest(me);
}
CASE(ev_exec_nonleader_third_thread, "28", "a third thread ends with a thread exit", "EXEC:target, EXIT:target, TEXIT:third")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread"), *third = thread_of(target, "third");

	watch(me, target, ALL);
	watch(me, third, ALL);
	exec_by_thread(thread, target);
	say("%s", rest_sorted(me));
}
CASE(ev_exec_after_leader_exit, "26 28", "exec after the main thread has ended: an exec of the process id", "EXIT:target, EXEC:target")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread");

	watch(me, target, ALL);
	end(target);
	say_events(me, 1);
	exec_by_thread(thread, target);
	say_rest(me);
}

static long act_vfork_exec(const long *arg)
{
	pid_t wait_for = vfork();

	(void)arg;
	if (!wait_for) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, 1);
		execl("/proc/self/exe", "conformance", "-h", NULL);
		_exit(1);
	}
	return wait_for > 0 && waitpid(wait_for, NULL, 0) == wait_for ? wait_for : -errno;
}

CASE(ev_vfork_exec, "24 28", "vfork and exec: the parent sees one fork", "FORK:child")
{
	struct puppet *target = puppet("target");
	long pid;

	watch(me, target, ALL);
	pid = on(target, act_vfork_exec);
	need(pid > 0);
	name_pid((pid_t)pid, "child");
	say_rest(me);
}
