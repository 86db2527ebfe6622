// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/*
 * A warning that a watched process begins to exit, for who sleeps on another
 * processor and has slept for long. Nothing here is looked up in the kernel's
 * BTF, and no atomic operation returns a value: it runs on Linux 5.10.
 */
#include "kernel.h"

char licence[] SECTION("license") = "Dual MIT/GPL";

#define BITS 32

/* A tick is 2 to the power of this, in nanoseconds. */
#define TICK 20

/* What is shared with the daemon; exit_warning.rs is the same in Rust. */
struct warning {
	/* 1 more than the processor on which the daemon sleeps; 0: it does not. */
	u32 sleeper;
	/* The tick before which it has not slept for long, modulo 2^32. */
	u32 not_before;
	/* Who last began to exit, and on which processor. */
	u32 pid;
	u32 processor;
	/* A bit for each pid. */
	u32 watched[MOST_PIDS / BITS];
};

struct {
	UINT(type, BPF_MAP_TYPE_ARRAY);
	UINT(max_entries, 1);
	UINT(map_flags, BPF_F_MMAPABLE);
	TYPE(key, u32);
	TYPE(value, struct warning);
} words SECTION(".maps");

struct {
	UINT(type, BPF_MAP_TYPE_RINGBUF);
	UINT(max_entries, 4096);
} bell SECTION(".maps");

SECTION("raw_tp/sched_process_exit") int begins_to_exit(void *context)
{
	const u32 zero = 0;
	struct warning *warning = bpf_map_lookup_elem(&words, &zero);
	u32 processor;
	u64 id, pid;

	/* While nobody is watched this is all. */
	if (!warning || !warning->sleeper)
		return 0;
	processor = bpf_get_smp_processor_id();
	if (warning->sleeper == processor + 1)
		return 0;
	/* The upper half is the process, the lower one the task. */
	id = bpf_get_current_pid_tgid();
	pid = (u32)id;
	if (pid != id >> 32)
		return 0;
	/* The bound is for the verifier, which must see it on the very register. */
	__asm__ volatile("" : "+r"(pid));
	if (pid >= MOST_PIDS || !(warning->watched[pid / BITS] >> pid % BITS & 1))
		return 0;
	if ((s32)((u32)(bpf_ktime_get_ns() >> TICK) - warning->not_before) < 0)
		return 0;
	warning->pid = pid;
	warning->processor = processor;
	/* Any word will do. */
	bpf_ringbuf_output(&bell, &warning->pid, sizeof(warning->pid), BPF_RB_FORCE_WAKEUP);
	return 0;
}
