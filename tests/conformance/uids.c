/* Whose credentials count, and which are reported. */
#include "suite.h"

#include <linux/capability.h>
#include <sys/prctl.h>

enum { SOMEBODY = 54321 };

/* A target that has become `uid`, a monitor that has become `watcher_uid`, and what the monitor sees of a short life. */
static void life_seen_across(uid_t target_uid, uid_t watcher_uid)
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher");

	become(watcher, watcher_uid);
	watch(watcher, target, ALL);
	become(target, target_uid);
	forks(target, 1);
	end(target);
	say("%s", rest(watcher));
}

CASE(uid_both_root, "39 40", "root watches root", "FORK:child, EXIT:target") { life_seen_across(0, 0); }
CASE(uid_target_nobody, "39", "events of a target under another uid are lost even to root", "nothing") { life_seen_across(NOBODY, 0); }
CASE(uid_monitor_nobody_root_target, "2 39", "nobody may watch root, given a descriptor", "FORK:child, EXIT:target") { life_seen_across(0, NOBODY); }
CASE(uid_same_user, "39 40", "a user watches a process of the same user", "FORK:child uid=65534, EXIT:target uid=65534")
{
	life_seen_across(NOBODY, NOBODY);
}
CASE(uid_two_different, "39", "one user's events are lost to another", "nothing") { life_seen_across(NOBODY, SOMEBODY); }

CASE(uid_target_changes, "39 40", "the uid is the one at the time of the event", "FORK:child, EXIT:target uid=65534")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher");

	become(watcher, NOBODY);
	watch(watcher, target, ALL);
	forks(target, 1);
	become(target, NOBODY);
	end(target);
	say("%s", rest(watcher));
}
CASE(uid_child_changes, "40", "a child's own uid is reported for its own events", "FORK:child, EXIT:child uid=65534")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher"), *child;

	become(watcher, NOBODY);
	watch(watcher, target, FORK);
	child = fork_from(target, "child");
	watch(watcher, child, ALL);
	become(child, NOBODY);
	end(child);
	say("%s", rest(watcher));
}
CASE(uid_grandchild_inherits, "40", "a changed uid is inherited", "FORK:grandchild uid=65534")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher"), *child = fork_from(target, "child");

	become(watcher, NOBODY);
	become(child, NOBODY);
	watch(watcher, child, FORK);
	name_pid(forks(child, 1), "grandchild");
	say("%s", rest(watcher));
}
CASE(uid_changed_before_register, "40", "a uid changed before REGISTER is known", "FORK:child uid=65534, EXEC:target uid=65534, EXIT:target uid=65534")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher");

	become(target, NOBODY);
	become(watcher, NOBODY);
	watch(watcher, target, ALL);
	forks(target, 1);
	exec_self(target);
	end(target);
	say("%s", rest(watcher));
}

/* ---- Real, effective, saved ---- */

static void fork_of(uid_t real, uid_t effective, uid_t saved, struct puppet *watcher)
{
	struct puppet *target = puppet("target");

	watch(watcher, target, FORK);
	need(on(target, act_setresuid, real, effective, saved) == 0);
	forks(target, 1);
	say("%s", rest(watcher));
}

CASE(uid_target_effective_root, "39 40", "real nobody, effective root: allowed; the real uid is reported", "FORK:child uid=65534")
{
	fork_of(NOBODY, 0, 0, me);
}
CASE(uid_target_real_root, "39 40", "real root, effective nobody: the real uid allows it and is reported", "FORK:child")
{
	fork_of(0, NOBODY, 0, me);
}
CASE(uid_target_saved_root, "39", "a saved uid of the target alone does not count", "nothing") { fork_of(NOBODY, NOBODY, 0, me); }

static struct puppet *watcher_as(uid_t real, uid_t effective, uid_t saved)
{
	struct puppet *watcher = monitor("watcher");

	need(on(watcher, act_setresuid, real, effective, saved) == 0);
	return watcher;
}

CASE(uid_monitor_saved, "39", "the monitor's saved uid counts", "FORK:child uid=65534")
{
	fork_of(NOBODY, NOBODY, NOBODY, watcher_as(0, 0, NOBODY));
}
CASE(uid_monitor_real, "39", "the monitor's real uid counts", "FORK:child uid=65534")
{
	fork_of(NOBODY, NOBODY, NOBODY, watcher_as(NOBODY, 0, 0));
}
CASE(uid_monitor_effective, "39", "the monitor's effective uid alone does not", "nothing")
{
	fork_of(NOBODY, NOBODY, NOBODY, watcher_as(0, NOBODY, 0));
}
CASE(uid_monitor_drops, "41", "a monitor that gives up root after REGISTER is told as before", "FORK:child, EXIT:target")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher");

	watch(watcher, target, ALL);
	become(watcher, NOBODY);
	forks(target, 1);
	end(target);
	say("%s", rest(watcher));
}
CASE(uid_monitor_drops_then_dereg, "2 41", "and deregisters as before", "0")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher");

	watch(watcher, target, ALL);
	become(watcher, NOBODY);
	say_result(dereg(watcher, target->pid, ALL));
}

/* ---- One thread's credentials ---- */

static long act_setuid_task(const long *arg)
{
#ifdef SYS_setresuid32
	return sys(syscall(SYS_setresuid32, arg[0], arg[0], arg[0]));
#else
	return sys(syscall(SYS_setresuid, arg[0], arg[0], arg[0]));
#endif
}

CASE(uid_one_thread, "39 40", "credentials belong to the task: one thread's fork shows its uid, the other's not",
     "FORK:thread's child uid=65534, FORK:leader's child")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread"), *watcher = monitor("watcher");

	become(watcher, NOBODY);
	watch(watcher, target, FORK);
	watch(watcher, thread, FORK);
	need(on(thread, act_setuid_task, NOBODY) == 0);
	name_pid(forks(thread, 1), "thread's child");
	name_pid(forks(target, 1), "leader's child");
	say("%s", rest(watcher));
}
CASE(uid_thread_setuid_all, "40", "the C library's setuid changes all threads", "FORK:child uid=65534")
{
	struct puppet *target = puppet("target"), *thread = thread_of(target, "thread"), *watcher = monitor("watcher");

	become(watcher, NOBODY);
	watch(watcher, thread, FORK);
	become(target, NOBODY);
	forks(thread, 1);
	say("%s", rest(watcher));
}

/* ---- Capabilities and sessions ---- */

static long act_become_with_cap_kill(const long *arg)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { { .effective = 1 << CAP_KILL, .permitted = 1 << CAP_KILL } };

	if (prctl(PR_SET_KEEPCAPS, 1) || setresuid((uid_t)arg[0], (uid_t)arg[0], (uid_t)arg[0]))
		return -errno;
	return sys(syscall(SYS_capset, &head, caps));
}

CASE(uid_target_cap_kill, "39", "a target with CAP_KILL may signal anybody", "FORK:child uid=65534")
{
	struct puppet *target = puppet("target");

	watch(me, target, FORK);
	need(on(target, act_become_with_cap_kill, NOBODY) == 0);
	forks(target, 1);
	say_rest(me);
}

static void sigcont_from_nobody(bool other_session)
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	need(reg(me, target->pid, FORK, SIGCONT) == 0);
	need(!other_session || on(target, act_setsid) == 0);
	become(target, NOBODY);
	forks(target, 1);
	say_rest(me);
}

CASE(uid_sigcont_same_session, "39", "SIGCONT passes within a session", "FORK:child uid=65534 sig=CONT") { sigcont_from_nobody(false); }
CASE(uid_sigcont_other_session, "39", "but not between sessions", "nothing") { sigcont_from_nobody(true); }

/* ---- Setuid programs ---- */

CASE(uid_target_setuid_exec, "39", "a target that becomes root by exec: lost before, sent from the exec on",
     "EXEC:target uid=65534, FORK:later uid=65534")
{
	int program = setuid_program();
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	become(target, NOBODY);
	name_pid(forks(target, 1), "earlier");
	need(on(target, act_exec_fd, target->slot, program) > 0);
	name_pid(forks(target, 1), "later");
	say_rest(me);
}

/* A monitor that registers as nobody and then runs a setuid-root program. */
static struct puppet *risen_watcher(struct puppet *target)
{
	int program = setuid_program();
	struct puppet *watcher = monitor("watcher");

	become(watcher, NOBODY);
	watch(watcher, target, FORK);
	need(on(watcher, act_exec_fd, watcher->slot, program) > 0);
	return watcher;
}

CASE(uid_setuid_exec_monitor, "41", "a monitor that has become root since REGISTER is still sent its signal", "FORK:child")
{
	struct puppet *target = puppet("target"), *watcher = risen_watcher(target);

	become(watcher, 0);
	forks(target, 1);
	say("%s", rest(watcher));
}
CASE(uid_setuid_exec_monitor_real, "41", "as is one whose real uid is still the one that registered", "FORK:child")
{
	struct puppet *target = puppet("target"), *watcher = risen_watcher(target);

	forks(target, 1);
	say("%s", rest(watcher));
}
