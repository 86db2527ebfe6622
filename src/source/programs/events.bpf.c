// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/*
 * Births, execs and exits of tasks: for each it looks in the words whether
 * anybody wants to know, and writes a record.
 */
#include "arguments.h"
#include "copies.h"
#include "follow.h"

char licence[] SECTION("license") = "Dual MIT/GPL";

/* Runs as the creator, before the new task can. */
INLINE int birth(u64 *context, const u32 can_follow, const u32 copy)
{
	const struct task_struct *child = (void *)context[0], *creator = bpf_get_current_task_btf();
	u32 *own = word_of(child->pid), *by = word_of(creator->pid), *process = word_of(creator->tgid);
	u32 is_thread = child->pid != child->tgid, before, scanning, followed, wanted, concerned;
	struct record *record;

	/* The idle task of a new processor has no number. */
	if (!child->pid || !own || !by || !process)
		return 0;
	if (copy && is_repeated(child, BIRTH, copy))
		return 0;
	before = __sync_fetch_and_and(own, ~OF_LAST_OWNER);
	concerned = before & (EVENTS | HELD | LOST_OF_LAST_OWNER);
	/* Before the words: when the search is over, they know. */
	scanning = can_follow && is_scanning();
	followed = (load(by) | load(process)) & FOLLOW;
	wanted = load(by) & (is_thread ? THREAD_CREATE : PROCESS_FORK);
	if (scanning && !followed)
		followed = is_descendant(creator);
	if (followed) {
		__sync_fetch_and_or(own, FOLLOW | KNOWN);
		introduce(creator);
	}
	if (!followed && !wanted && !concerned)
		return 0;

	record = reserve(BORN, creator, child);
	if (record) {
		record->other = child->pid;
		record->flags = (is_thread ? IS_THREAD : 0) | (followed ? IS_FOLLOWED : 0) | (wanted ? IS_WANTED : 0);
		/* The daemon may have taken it meanwhile: one of us tells. */
		if (before & LOST_OF_LAST_OWNER)
			before = (before & ~LOST_OF_LAST_OWNER) |
				 (__sync_fetch_and_and(own, ~LOST_OF_LAST_OWNER) & LOST_OF_LAST_OWNER);
		record->word = before;
		submit(record);
		return 0;
	}
	if (concerned)
		__sync_fetch_and_or(own, LOST_BIRTH);
	if (wanted || followed)
		__sync_fetch_and_or(by, LOST_CHILDREN);
	/* It is introduced at its next event. */
	__sync_fetch_and_and(own, ~KNOWN);
	lose(!wanted && !followed ? LOST_BIRTHS : is_thread ? LOST_THREAD_CREATES : LOST_FORKS);
	return 0;
}

/* The task has its new program, and if it was not the main thread, the main thread's id. */
INLINE int execution(u64 *context, const u32 copy)
{
	const struct task_struct *task = (void *)context[0];
	s32 former = context[1];
	u32 *own = word_of(task->pid), *left = word_of(former), now, has_arguments;
	struct state *state = the_state();
	struct record *record;
	u64 stamp;

	if (!own || !left || !state)
		return 0;
	if (copy && is_repeated(task, FIRST_EXEC + (u32)task->self_exec_id, copy))
		return 0;
	if (former != task->pid) {
		/* The main thread has ended, and has given its id away. Nobody has the other one now. */
		if (__sync_fetch_and_or(left, EXITING) & FOLLOW)
			__sync_fetch_and_or(own, FOLLOW | KNOWN);
		__sync_fetch_and_and(own, ~(EXITING | HOLD | HELD));
	}
	now = load(own);
	if (!(now & (PROCESS_EXEC | FOLLOW)))
		return 0;
	stamp = bpf_ktime_get_ns();
	if (now & FOLLOW)
		introduce(task);
	has_arguments = state->arguments && write_arguments(task, (void *)context[2], stamp);

	record = reserve(EXEC, task, task);
	if (record) {
		record->stamp = stamp;
		record->other = former;
		record->flags = (now & FOLLOW ? IS_FOLLOWED : 0) | (now & PROCESS_EXEC ? IS_WANTED : 0) |
				(has_arguments ? HAS_ARGUMENTS : 0);
		record->word = now;
		submit(record);
		return 0;
	}
	__sync_fetch_and_or(own, LOST_EXEC);
	lose(LOST_EXECS);
	return 0;
}

/*
 * The task begins to exit: on recent kernels it still has its memory, on all
 * its files and locks.
 */
INLINE int end(u64 *context, const u32 can_follow, const u32 copy)
{
	const struct task_struct *task = (void *)context[0];
	const struct signal_struct *signal = task->signal;
	u32 *own = word_of(task->pid), *process = word_of(task->tgid);
	u32 is_thread = task->pid != task->tgid, is_last = signal->live.counter == 0;
	/*
	 * Not a main thread that others survive, nor one that makes room for a
	 * thread that execs: these will not be dead soon.
	 */
	u32 hold = !is_thread && (is_last || signal->flags & SIGNAL_GROUP_EXIT);
	u32 before, scanning, followed, wanted;
	struct record *record;

	if (!own || !process)
		return 0;
	if (copy && is_repeated(task, END, copy))
		return 0;
	before = __sync_fetch_and_or(own, hold ? EXITING | HOLD : EXITING);
	/* Before the words: when the search is over, they know. */
	scanning = can_follow && is_scanning();
	followed = (load(own) | load(process)) & FOLLOW;
	wanted = before & (is_thread ? THREAD_ENDS : PROCESS_ENDS);
	if (scanning && (followed || is_descendant(task))) {
		hand_over(task);
		followed = FOLLOW;
	}
	if (!followed && !wanted)
		return 0;
	if (followed)
		introduce(task);
	if (hold)
		__sync_fetch_and_or(own, HELD);

	record = reserve(EXIT, task, task);
	if (record) {
		record->flags = (is_thread ? IS_THREAD : 0) | (followed ? IS_FOLLOWED : 0) | (wanted ? IS_WANTED : 0) |
				(hold ? IS_HELD : 0) | (is_last ? IS_LAST : 0);
		record->status = task->exit_code;
		record->word = before;
		if (can_follow && followed && is_last) {
			record->runtime = runtime_of_process(signal);
			record->peak_pages = signal->maxrss;
		}
		/* The pidfd of a process with one thread becomes readable without anybody else's doing. */
		if (hold && before & PIDFD && signal->nr_threads == 1)
			submit_silently(record);
		else
			submit(record);
		return 0;
	}
	__sync_fetch_and_or(own, is_thread ? LOST_THREAD_EXIT : LOST_EXIT);
	lose(is_thread ? LOST_THREAD_EXITS : LOST_EXITS);
	return 0;
}

/* The programs for each tracepoint: where none is skipped, and copies for where one can be. */
#define PROGRAM(tracepoint, name, what)        \
	SECTION("tp_btf/" tracepoint)          \
	int name(u64 *context)                 \
	{                                      \
		return what;                   \
	}
#define COPIES(number)                                                                           \
	PROGRAM("task_newtask", born_copy_##number, birth(context, 1, number))                        \
	PROGRAM("sched_process_exec", exec_copy_##number, execution(context, number))                 \
	PROGRAM("sched_process_exit", exiting_copy_##number, end(context, 1, number))

PROGRAM("task_newtask", born, birth(context, 0, 0))
PROGRAM("task_newtask", born_following, birth(context, 1, 0))
PROGRAM("sched_process_exec", exec, execution(context, 0))
PROGRAM("sched_process_exit", exiting, end(context, 0, 0))
PROGRAM("sched_process_exit", exiting_following, end(context, 1, 0))
COPIES(1)
COPIES(2)
COPIES(3)

/* Looks at every task there is for members of followed trees, when the daemon asks. */
SECTION("iter/task")
int members(struct bpf_iter__task *context)
{
	const struct task_struct *task = context->task, *parent;
	u32 *own;

	if (!task)
		return 0;
	own = word_of(task->pid);
	parent = task->real_parent;
	if (own && !(load(own) & KNOWN) && (has_follow(task) || has_follow(parent)))
		find(task);
	return 0;
}
