/* What a target notices: nothing. */
#include "suite.h"

#include <sched.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

/* A number from /proc/PID/status. */
static long status_of(struct puppet *p, const char *field, int base)
{
	char path[40], line[256];
	long value = -1;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/status", p->pid);
	file = fopen(path, "r");
	need(file);
	while (fgets(line, sizeof line, file))
		if (!strncmp(line, field, strlen(field)))
			value = (long)strtoull(line + strlen(field) + 1, NULL, base);
	fclose(file);
	return value;
}

CASE(target_not_traced, "50", "a target is not traced and keeps its parent", "FORK:child, tracer 0, parent me")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	forks(target, 1);
	say_events(me, 1);
	say("tracer %ld", status_of(target, "TracerPid:", 10));
	say("parent %s", name_of((pid_t)status_of(target, "PPid:", 10)));
}
CASE(target_gets_no_signal, "50", "a target gets no signal", "nothing")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher");

	watch(watcher, target, ALL);
	forks(target, 3);
	say("%s", rest(target));
}
CASE(target_parent_waits_as_usual, "50", "the parent of a target waits as usual", "7, EXIT:child")
{
	struct puppet *parent = puppet("parent"), *child = fork_from(parent, "child");

	watch(me, child, EXIT);
	tell(child, act_exit, 7);
	say("%d", WEXITSTATUS((int)on(parent, act_wait, child->pid)));
	say_rest(me);
}

static void attach(struct puppet *target)
{
	need(ptrace(PTRACE_ATTACH, target->pid, 0, 0) == 0);
	need(waitpid(target->pid, NULL, __WALL) == target->pid);
}

CASE(target_debugger_later, "50", "a debugger may attach to a target", "FORK:child, EXIT:target")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	attach(target);
	need(ptrace(PTRACE_CONT, target->pid, 0, 0) == 0);
	forks(target, 1);
	kill_with(target, SIGKILL);
	say_rest(me);
}
CASE(target_debugger_before, "50", "a process under a debugger may be a target", "FORK:child, FORK:child")
{
	struct puppet *target = puppet("target");

	attach(target);
	watch(me, target, ALL);
	need(ptrace(PTRACE_CONT, target->pid, 0, 0) == 0);
	forks(target, 1);
	say_events(me, 1);
	forks(target, 1);
	say_rest(me);
}
CASE(target_debugger_follows_forks, "24 50", "a debugger that follows forks does not hide them", "debugger told, FORK:child")
{
	struct puppet *target = puppet("target");
	unsigned long child = 0;
	int status;

	attach(target);
	need(ptrace(PTRACE_SETOPTIONS, target->pid, 0, PTRACE_O_TRACEFORK) == 0);
	watch(me, target, FORK);
	need(ptrace(PTRACE_CONT, target->pid, 0, 0) == 0);
	tell(target, act_fork_exit, 1);
	need(waitpid(target->pid, &status, __WALL) == target->pid);
	need(ptrace(PTRACE_GETEVENTMSG, target->pid, 0, &child) == 0);
	name_pid((pid_t)child, "child");
	say("%s", status >> 8 == (SIGTRAP | PTRACE_EVENT_FORK << 8) ? "debugger told" : "another stop");
	say_rest(me);
}
CASE(target_tracee_killed, "29 50", "the death of a traced target is reported", "EXIT:target")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	attach(target);
	kill_with(target, SIGKILL);
	say_rest(me);
}

/* ---- Namespaces, which are younger than the driver ---- */

static long act_unshare(const long *arg)
{
	return sys(unshare((int)arg[0]));
}

static void in_namespace(int flags)
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	need(on(target, act_unshare, flags) == 0);
	forks(target, 1);
	end(target);
	say_rest(me);
}

CASE(ns_mount_ipc_uts, "23 J8", "a target in other mount, IPC and UTS namespaces", "FORK:child, EXIT:target")
{
	in_namespace(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS);
}
CASE(ns_net, "23 J8", "a target in another network namespace", "FORK:child, EXIT:target") { in_namespace(CLONE_NEWNET); }
CASE(ns_pid_of_children, "23 J8", "a fork into another pid namespace; the pid is the one that fork returned", "FORK:child")
{
	struct puppet *target = puppet("target");

	need(on(target, act_unshare, CLONE_NEWPID) == 0);
	watch(me, target, ALL);
	forks(target, 1);
	say_rest(me);
}
CASE(ns_monitor_mount, "4 15", "a monitor in another mount namespace and another network", "0, FORK:child, 0")
{
	struct puppet *target = puppet("target"), *watcher = puppet("watcher");

	need(on(watcher, act_unshare, CLONE_NEWNS | CLONE_NEWNET) == 0);
	need(open_device(watcher, O_RDWR) >= 0);
	say_result(reg(watcher, target->pid, FORK, SIG));
	forks(target, 1);
	say("%s", rest(watcher));
	say_result(dereg(watcher, target->pid, FORK));
}
