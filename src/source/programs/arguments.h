/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only */
/*
 * What a task executes. It goes through a ring of its own, so that long texts
 * push out nobody's events.
 */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H

#include "records.h"

/* Its size is set when it is loaded. */
struct {
	UINT(type, BPF_MAP_TYPE_RINGBUF);
	UINT(max_entries, 4096);
} arguments SECTION(".maps");

struct {
	UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	UINT(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, struct arguments);
} scratch SECTION(".maps");

/* True if it was written. It lies in its ring before the record of the exec is reserved. */
INLINE u32 write_arguments(const struct task_struct *task, const struct linux_binprm *program, u64 stamp)
{
	const struct mm_struct *memory = task->mm;
	const struct task_struct *parent;
	struct arguments *to;
	u64 file, kept, whole;
	u32 zero = 0;

	to = bpf_map_lookup_elem(&scratch, &zero);
	if (!to || !memory)
		return 0;
	to->stamp = stamp;
	to->cgroup = bpf_get_current_cgroup_id();
	to->tid = task->pid;
	if (READ(parent, task, real_parent) || READ(to->parent, parent, comm))
		to->parent[0] = 0;
	file = bpf_probe_read_kernel_str(to->text, MOST_FILE, program->filename);
	if (file > MOST_FILE)
		file = 0;
	whole = memory->arg_end - memory->arg_start;
	kept = whole;
	if (kept > MOST_ARGUMENTS)
		kept = MOST_ARGUMENTS;
	if (bpf_probe_read_user(to->text + file, kept, (void *)memory->arg_start))
		kept = 0;
	to->file = file;
	to->kept = kept;
	to->whole = whole;
	return !bpf_ringbuf_output(&arguments, to, __builtin_offsetof(struct arguments, text) + file + kept,
				   BPF_RB_NO_WAKEUP);
}

#endif
