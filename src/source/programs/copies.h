/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only */
/*
 * Copies of a program, where tracepoints can be preempted. While a program is,
 * the kernel does not run it for other tasks on that processor; but it runs the
 * next copy. An event is handled by the first copy that sees it.
 */
#ifndef COPIES_H
#define COPIES_H

#include "records.h"

/* Of each task id, the mark of its last event. Its size is set when it is loaded: one entry if there are no copies. */
struct {
	UINT(type, BPF_MAP_TYPE_ARRAY);
	UINT(max_entries, MOST_PIDS / 2);
	TYPE(key, u32);
	TYPE(value, struct two_words);
} last SECTION(".maps");

/* What marks tell apart. Each exec of a task has a number of its own from FIRST_EXEC on. */
#define BIRTH 0
#define END 1
#define FIRST_EXEC 2
/* Odd, so that different events of a task have different marks. */
#define SPREAD 0x9e3779b1

/*
 * True if an earlier copy than this one has seen the event. All copies run in
 * turn in the task that causes the event, and no other event of the same number
 * comes between: an end and an exec are the task's own doing, and at its birth
 * it does not run yet.
 */
INLINE u32 is_repeated(const struct task_struct *task, u32 what, const u32 copy)
{
	u32 at = (u32)task->pid / 2, mark = (u32)task->start_boottime + what * SPREAD;
	struct two_words *two = bpf_map_lookup_elem(&last, &at);
	struct state *state = the_state();

	if (!two || !state)
		return 0;
	if (__sync_lock_test_and_set(&two->word[task->pid & 1], mark) == mark)
		return 1;
	if (copy > 1)
		__sync_fetch_and_add(&state->caught, 1);
	return 0;
}

#endif
