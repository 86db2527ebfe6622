/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only */
/*
 * Following a tree of tasks: who belongs to it.
 *
 * A task belongs to it if its own word or that of its process has FOLLOW, and a
 * new task has it from its creator. That leaves the tree that is already there
 * when somebody begins to follow it. While it is searched for members
 * (state.scanning), they must neither be born nor be orphaned unseen: a birth
 * counts if any ancestor belongs to the tree, and who ends hands its children
 * over before they get another parent.
 */
#ifndef FOLLOW_H
#define FOLLOW_H

#include "records.h"

/* Generations that are searched for an ancestor. */
#define MOST_GENERATIONS 4096
/* Children or threads of one task that are looked at. */
#define MOST_MEMBERS (1 << 20)

INLINE u32 is_scanning(void)
{
	struct state *state = the_state();

	return state && load(&state->scanning);
}

/*
 * Says that a task is there, unless that was said. The record is reserved
 * first: it lies before those of whoever sees KNOWN.
 */
INLINE void introduce(const struct task_struct *task)
{
	const struct task_struct *parent;
	struct state *state = the_state();
	struct record *record;
	u32 *own;
	s32 pid;

	if (!state || READ(pid, task, pid))
		return;
	own = word_of(pid);
	if (!own || load(own) & KNOWN)
		return;
	record = reserve_empty(MEMBER);
	if (!record) {
		/* At its next event, then. */
		__sync_fetch_and_or(own, FOLLOW);
		return;
	}
	if (__sync_fetch_and_or(own, FOLLOW | KNOWN) & KNOWN) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return;
	}
	__sync_fetch_and_add(&state->members, 1);
	record->tid = pid;
	READ(record->tgid, task, tgid);
	READ(record->start, task, start_boottime);
	read_uid(&record->uid, task);
	if (!READ(parent, task, real_parent))
		READ(record->other, parent, tgid);
	record->flags = IS_FOLLOWED | (record->tid == record->tgid ? 0 : IS_THREAD);
	submit(record);
}

/*
 * The same of a task that may have ended before. Such a one has no event to
 * come, and leads to its children only. One that ends now introduces itself.
 */
INLINE void find(const struct task_struct *task)
{
	u32 *own;
	s32 pid;

	if (READ(pid, task, pid))
		return;
	own = word_of(pid);
	if (own && load(own) & EXITING)
		__sync_fetch_and_or(own, FOLLOW);
	else
		introduce(task);
}

/* True if the task or its process has FOLLOW. */
INLINE u32 has_follow(const struct task_struct *task)
{
	s32 pid, tgid;
	u32 *own, *process;

	if (READ(pid, task, pid) || READ(tgid, task, tgid))
		return 0;
	own = word_of(pid);
	process = word_of(tgid);
	return own && process && (load(own) | load(process)) & FOLLOW;
}

struct climb {
	const struct task_struct *task;
	u32 found;
};

static long climb(u32 generation, struct climb *climb)
{
	const struct task_struct *parent;

	/* The way on is read first: a task that goes has handed its children over by then. */
	if (READ(parent, climb->task, real_parent))
		return 1;
	if (has_follow(climb->task)) {
		climb->found = 1;
		return 1;
	}
	if (!parent || parent == climb->task)
		return 1;
	climb->task = parent;
	return 0;
}

/* True if the task or any of its ancestors is followed. */
INLINE u32 is_descendant(const struct task_struct *task)
{
	struct climb context = { task, 0 };

	bpf_loop(MOST_GENERATIONS, climb, &context, 0);
	return context.found;
}

struct children {
	const struct list_head *head;
	const struct list_head *node;
};

static long adopt(u32 number, struct children *children)
{
	if (READ(children->node, children->node, next) || !children->node || children->node == children->head)
		return 1;
	find((void *)children->node - OFFSET(struct task_struct, sibling));
	return 0;
}

/* Makes members of a task's children, which will have another parent soon. */
INLINE void hand_over(const struct task_struct *task)
{
	const struct list_head *head = &task->children;
	struct children context = { head, head };

	bpf_loop(MOST_MEMBERS, adopt, &context, 0);
}

struct threads {
	const struct list_head *head;
	const struct list_head *node;
	u64 runtime;
};

static long add_up(u32 number, struct threads *threads)
{
	const struct task_struct *thread;
	u64 runtime;

	if (READ(threads->node, threads->node, next) || !threads->node || threads->node == threads->head)
		return 1;
	thread = (void *)threads->node - OFFSET(struct task_struct, thread_node);
	if (!READ(runtime, thread, se.sum_exec_runtime))
		threads->runtime += runtime;
	return 0;
}

/* The time on processors of a process's threads, and of those that are no more. */
INLINE u64 runtime_of_process(const struct signal_struct *signal)
{
	const struct list_head *head = &signal->thread_head;
	struct threads context = { head, head, signal->sum_sched_runtime };

	bpf_loop(MOST_MEMBERS, add_up, &context, 0);
	return context.runtime;
}

#endif
