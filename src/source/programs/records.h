/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only */
/* The maps, and how the programs use them. */
#ifndef RECORDS_H
#define RECORDS_H

#include "shared.h"

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

/* A record that says no more than its kind, or nothing if the ring is full. */
INLINE struct record *reserve_empty(enum kind kind)
{
	struct record *record = bpf_ringbuf_reserve(&ring, sizeof *record, 0);

	if (record) {
		__builtin_memset(record, 0, sizeof *record);
		record->stamp = bpf_ktime_get_ns();
		record->kind = kind;
	}
	return record;
}

/*
 * The task's real uid. By a helper: for each pointer that a program follows by
 * itself, the verifier searches the kernel's types by name.
 */
INLINE void read_uid(u32 *uid, const struct task_struct *task)
{
	const struct cred *credentials;

	if (!READ(credentials, task, real_cred))
		READ(*uid, credentials, uid.val);
}

/* One about what `by` did to `subject`. */
INLINE struct record *reserve(enum kind kind, const struct task_struct *by, const struct task_struct *subject)
{
	struct record *record = reserve_empty(kind);

	if (record) {
		record->start = subject->start_boottime;
		record->tid = by->pid;
		record->tgid = by->tgid;
		read_uid(&record->uid, subject);
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
INLINE void lose(enum lost kind)
{
	struct state *state = the_state();
	struct record *record;

	if (!state)
		return;
	__sync_fetch_and_add(&state->lost[kind], 1);
	record = reserve_empty(LOST);
	if (record)
		submit(record);
}

#endif
