// SPDX-License-Identifier: MIT
/*
 * The 2004 driver as a module for Linux 6.1. It is included below, taken from a mail by "port", and this file
 * gives it what later kernels no longer have. Nothing here changes what it does; what the surroundings change is
 * said where it happens.
 */

/* All headers that the driver names come first, so that no name below reaches into them. */
#include <linux/atomic.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/hash.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/pid_namespace.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sysctl.h>
#include <linux/timer.h>
#include <linux/tracepoint.h>
#include <linux/types.h>
#include <linux/uaccess.h>
#include <trace/events/sched.h>

/* The patch sets these in files that we do not take: Kconfig and miscdevice.h. */
#define CONFIG_KMONITOR 1
#define KMONITOR_MINOR 221

/* 2.6.24 took the type's short name, 2.6.20 the flag, 2.6.23 the destructor argument. */
#define kmem_cache_t struct kmem_cache
#define SLAB_KERNEL GFP_KERNEL
#define kmem_cache_create(name, size, align, flags, ctor, dtor) (kmem_cache_create)(name, size, align, flags, ctor)

/* 2.6.39 took the nameless initial value of a lock. */
#define RW_LOCK_UNLOCKED ((rwlock_t){ .raw_lock = __ARCH_RW_LOCK_UNLOCKED })

/* Since 4.20 the kernel's own signal information is a type of its own, with the same members. */
#define siginfo kernel_siginfo

/*
 * Modules can no longer send a signal to a process by its number. This is what did it: the process is found, and
 * the permission of the running task checked, by the kernel's own function, whose address the loader gives.
 * Process numbers are those of the first namespace, as everywhere in the driver: 2.6 had no other.
 */
static unsigned long sym_group;
module_param(sym_group, ulong, 0);
MODULE_PARM_DESC(sym_group, "address of group_send_sig_info, from /proc/kallsyms");

static void kill_proc_info(int signal, const struct kernel_siginfo *from, pid_t pid)
{
	int (*send)(int, struct kernel_siginfo *, struct task_struct *, enum pid_type) = (void *)sym_group;
	struct kernel_siginfo info;
	struct task_struct *task;

	/* 6.1 hands the whole structure to the process; what the driver leaves unset must not be stack bytes. */
	clear_siginfo(&info);
	info.si_signo = from->si_signo;
	info.si_code = from->si_code;
	info.si_int = from->si_int;
	info.si_pid = from->si_pid;
	info.si_uid = from->si_uid;
	rcu_read_lock();
	task = pid_task(find_pid_ns(pid, &init_pid_ns), PIDTYPE_PID);
	if (task)
		send(signal, &info, task, PIDTYPE_TGID);
	rcu_read_unlock();
}

static uid_t port_uid(struct task_struct *task)
{
	return from_kuid(&init_user_ns, task_uid(task));
}

static long port_ioctl(struct file *file, unsigned int command, unsigned long argument);

/* The driver's start and end are called by ours. */
#pragma push_macro("module_init")
#pragma push_macro("module_exit")
#undef module_init
#undef module_exit
#define module_init(function)
#define module_exit(function)
#include "driver.c"
#pragma pop_macro("module_init")
#pragma pop_macro("module_exit")

/* 2.6 held the big kernel lock here. An entry is only changed by the task that it belongs to: nothing is lost. */
static long port_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	return kmonitor_ioctl(file_inode(file), file, command, argument);
}

/*
 * A module cannot add lines to fork, exec and exit, as the patch does. The tracepoints there come closest:
 * fork before the child first runs (the patch of 15 June does so; that of 10 June reports it later), exec when the
 * new program is in place (the same), exit a little earlier, before files are closed and the parent hears of it.
 */
static void on_fork(void *data, struct task_struct *parent, struct task_struct *child)
{
	kmonitor_notify_event(child, child->pid == child->tgid ? KMONITOR_PROCESS_FORK : KMONITOR_THREAD_CREATE);
}

static void on_exec(void *data, struct task_struct *task, pid_t old_pid, struct linux_binprm *program)
{
	kmonitor_notify_event(task, KMONITOR_PROCESS_EXEC);
}

static void on_exit(void *data, struct task_struct *task)
{
	kmonitor_notify_event(task, task->pid == task->tgid ? KMONITOR_PROCESS_EXIT : KMONITOR_THREAD_EXIT);
}

static struct {
	const char *name;
	void *probe;
	struct tracepoint *point;
} hooks[] = {
	{ "sched_process_fork", on_fork },
	{ "sched_process_exec", on_exec },
	{ "sched_process_exit", on_exit },
};

/* These tracepoints are not exported by name, only the list of all. */
static void find_hook(struct tracepoint *point, void *data)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(hooks); i++)
		if (!strcmp(point->name, hooks[i].name))
			hooks[i].point = point;
}

static void unhook(int count)
{
	while (count--)
		tracepoint_probe_unregister(hooks[count].point, hooks[count].probe, NULL);
	tracepoint_synchronize_unregister();
}

static int __init port_init(void)
{
	int i, error;

	check_trace_callback_type_sched_process_fork(on_fork);
	check_trace_callback_type_sched_process_exec(on_exec);
	check_trace_callback_type_sched_process_exit(on_exit);
	if (!sym_group) {
		pr_err("kmonitor: load me with sym_group=0x..., the address of group_send_sig_info\n");
		return -EINVAL;
	}
	for_each_kernel_tracepoint(find_hook, NULL);
	for (i = 0; i < ARRAY_SIZE(hooks); i++) {
		error = hooks[i].point ? tracepoint_probe_register(hooks[i].point, hooks[i].probe, NULL) : -ENOENT;
		if (error) {
			pr_err("kmonitor: cannot hook %s: %d\n", hooks[i].name, error);
			unhook(i);
			return error;
		}
	}
	/* Last: the hooks do nothing before the first open. */
	error = kmonitor_init();
	if (error)
		unhook(ARRAY_SIZE(hooks));
	return error;
}

static void __exit port_exit(void)
{
	unhook(ARRAY_SIZE(hooks));
	kmonitor_exit();
}

module_init(port_init);
module_exit(port_exit);
