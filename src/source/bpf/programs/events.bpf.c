// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/*
 * Births, execs and exits of tasks: for each it looks in the words whether
 * anybody wants to know, and writes a record.
 */
#include "shared.h"

char licence[] SECTION("license") = "Dual MIT/GPL";

/* An entry takes eight bytes at least. */
struct two_words {
	u32 word[2];
};

struct {
	UINT(type, BPF_MAP_TYPE_ARRAY);
	UINT(map_flags, BPF_F_MMAPABLE);
	UINT(max_entries, MOST_PIDS / 2);
	TYPE(key, u32);
	TYPE(value, struct two_words);
} words SECTION(".maps");

/* Its size is set when it is loaded. */
struct {
	UINT(type, BPF_MAP_TYPE_RINGBUF);
	UINT(max_entries, 4096);
} ring SECTION(".maps");

struct {
	UINT(type, BPF_MAP_TYPE_ARRAY);
	UINT(map_flags, BPF_F_MMAPABLE);
	UINT(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, struct state);
} state SECTION(".maps");

INLINE u32 *word_of(s32 pid)
{
	u32 at = (u32)pid / 2;
	struct two_words *two = bpf_map_lookup_elem(&words, &at);

	return two ? &two->word[pid & 1] : 0;
}

INLINE u32 load(const u32 *word)
{
	return *(const volatile u32 *)word;
}

INLINE struct state *the_state(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&state, &zero);
}

/* A record that is still to be filled in, or nothing if the ring is full. */
INLINE struct record *reserve(enum kind kind, const struct task_struct *by, const struct task_struct *subject)
{
	struct record *record = bpf_ringbuf_reserve(&ring, sizeof *record, 0);

	if (record) {
		record->stamp = bpf_ktime_get_ns();
		record->start = subject->start_boottime;
		record->runtime = 0;
		record->peak_pages = 0;
		record->kind = kind;
		record->tid = by->pid;
		record->tgid = by->tgid;
		record->other = 0;
		record->uid = subject->real_cred->uid.val;
		record->status = 0;
	}
	return record;
}

/*
 * Wakes the daemon if it sleeps. The exchange comes after the reservation, and
 * the daemon looks for reservations after it has said that it sleeps: one of
 * the two sees the other.
 */
INLINE void submit(struct record *record)
{
	struct state *state = the_state();
	u64 flags = BPF_RB_NO_WAKEUP;

	if (!state || __sync_fetch_and_and(&state->asleep, 0))
		flags = BPF_RB_FORCE_WAKEUP;
	bpf_ringbuf_submit(record, flags);
}

/* Leaves the daemon asleep: something else wakes it. Not when the ring fills up. */
INLINE void submit_silently(struct record *record)
{
	struct state *state = the_state();

	if (!state || bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) >= state->half)
		submit(record);
	else
		bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
}

/*
 * Counts a record that the ring had no room for. If it has by now, the daemon
 * may have read everything and be asleep.
 */
INLINE void lose(enum lost kind, const struct task_struct *by)
{
	struct state *state = the_state();
	struct record *record;

	if (!state)
		return;
	__sync_fetch_and_add(&state->lost[kind], 1);
	record = reserve(LOST, by, by);
	if (record) {
		record->flags = 0;
		record->word = 0;
		submit(record);
	}
}

/* Runs as the creator, before the new task can. */
SECTION("tp_btf/task_newtask")
int born(u64 *arguments)
{
	const struct task_struct *child = (void *)arguments[0], *creator = bpf_get_current_task_btf();
	u32 *own = word_of(child->pid), *by = word_of(creator->pid), *process = word_of(creator->tgid);
	u32 is_thread = child->pid != child->tgid, before, followed, wanted, concerned;
	struct record *record;

	/* The idle task of a new processor has no number. */
	if (!child->pid || !own || !by || !process)
		return 0;
	before = __sync_fetch_and_and(own, ~OF_LAST_OWNER);
	concerned = before & (EVENTS | HELD);
	followed = (load(by) | load(process)) & FOLLOW;
	wanted = load(by) & (is_thread ? THREAD_CREATE : PROCESS_FORK);
	if (followed)
		__sync_fetch_and_or(own, FOLLOW);
	if (!followed && !wanted && !concerned)
		return 0;

	record = reserve(BORN, creator, child);
	if (record) {
		record->other = child->pid;
		record->flags = (is_thread ? IS_THREAD : 0) | (followed ? IS_FOLLOWED : 0) | (wanted ? IS_WANTED : 0);
		record->word = before;
		submit(record);
		return 0;
	}
	if (concerned)
		__sync_fetch_and_or(own, LOST_BIRTH);
	if (wanted || followed)
		__sync_fetch_and_or(by, LOST_CHILDREN);
	lose(!wanted && !followed ? LOST_BIRTHS : is_thread ? LOST_THREAD_CREATES : LOST_FORKS, creator);
	return 0;
}

/* The task has its new program, and if it was not the main thread, the main thread's id. */
SECTION("tp_btf/sched_process_exec")
int exec(u64 *arguments)
{
	const struct task_struct *task = (void *)arguments[0];
	s32 former = arguments[1];
	u32 *own = word_of(task->pid), *left = word_of(former), now;
	struct record *record;

	if (!own || !left)
		return 0;
	if (former != task->pid) {
		/* The main thread has ended, and has given its id away. Nobody has the other one now. */
		if (__sync_fetch_and_or(left, EXITING) & FOLLOW)
			__sync_fetch_and_or(own, FOLLOW);
		__sync_fetch_and_and(own, ~(EXITING | HOLD | HELD));
	}
	now = load(own);
	if (!(now & (PROCESS_EXEC | FOLLOW)))
		return 0;

	record = reserve(EXEC, task, task);
	if (record) {
		record->other = former;
		record->flags = (now & FOLLOW ? IS_FOLLOWED : 0) | (now & PROCESS_EXEC ? IS_WANTED : 0);
		record->word = now;
		submit(record);
		return 0;
	}
	__sync_fetch_and_or(own, LOST_EXEC);
	lose(LOST_EXECS, task);
	return 0;
}

/*
 * The task begins to exit: on recent kernels it still has its memory, on all
 * its files and locks.
 */
SECTION("tp_btf/sched_process_exit")
int exiting(u64 *arguments)
{
	const struct task_struct *task = (void *)arguments[0];
	const struct signal_struct *signal = task->signal;
	u32 *own = word_of(task->pid), *process = word_of(task->tgid);
	u32 is_thread = task->pid != task->tgid, is_last = signal->live.counter == 0;
	/*
	 * Not a main thread that others survive, nor one that makes room for a
	 * thread that execs: these will not be dead soon.
	 */
	u32 hold = !is_thread && (is_last || signal->flags & SIGNAL_GROUP_EXIT);
	u32 before, followed, wanted;
	struct record *record;

	if (!own || !process)
		return 0;
	before = __sync_fetch_and_or(own, hold ? EXITING | HOLD : EXITING);
	followed = (before | load(process)) & FOLLOW;
	wanted = before & (is_thread ? THREAD_ENDS : PROCESS_ENDS);
	if (!followed && !wanted)
		return 0;
	if (hold)
		__sync_fetch_and_or(own, HELD);

	record = reserve(EXIT, task, task);
	if (record) {
		record->flags = (is_thread ? IS_THREAD : 0) | (followed ? IS_FOLLOWED : 0) | (wanted ? IS_WANTED : 0) |
				(hold ? IS_HELD : 0) | (is_last ? IS_LAST : 0);
		record->status = task->exit_code;
		record->word = before;
		record->runtime = task->se.sum_exec_runtime;
		record->peak_pages = signal->maxrss;
		/* The pidfd of a process with one thread becomes readable without anybody else's doing. */
		if (hold && before & PIDFD && signal->nr_threads == 1)
			submit_silently(record);
		else
			submit(record);
		return 0;
	}
	__sync_fetch_and_or(own, is_thread ? LOST_THREAD_EXIT : LOST_EXIT);
	lose(is_thread ? LOST_THREAD_EXITS : LOST_EXITS, task);
	return 0;
}
