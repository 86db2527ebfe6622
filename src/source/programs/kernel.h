/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only */
/*
 * What the programs use of the kernel: members of its structures, which the
 * loader looks up in the running kernel's BTF by name, and BPF helpers.
 */
#ifndef KERNEL_H
#define KERNEL_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;

#define RELOCATED __attribute__((preserve_access_index))

typedef struct {
	int counter;
} RELOCATED atomic_t;

typedef struct {
	u32 val;
} RELOCATED kuid_t;

struct cred {
	kuid_t uid;
} RELOCATED;

/* include/linux/sched/signal.h */
#define SIGNAL_GROUP_EXIT 0x00000004

struct list_head {
	struct list_head *next;
} RELOCATED;

struct signal_struct {
	atomic_t live;
	int nr_threads;
	struct list_head thread_head;
	u32 flags;
	u64 sum_sched_runtime;
	unsigned long maxrss;
} RELOCATED;

struct sched_entity {
	u64 sum_exec_runtime;
} RELOCATED;

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
} RELOCATED;

struct linux_binprm {
	const char *filename;
} RELOCATED;

/* include/linux/sched.h */
#define TASK_COMM_LEN 16

struct task_struct {
	s32 pid;
	s32 tgid;
	s32 exit_code;
	u64 start_boottime;
	const struct cred *real_cred;
	struct signal_struct *signal;
	/* How many programs it has executed. */
	u64 self_exec_id;
	struct sched_entity se;
	struct task_struct *real_parent;
	struct list_head children;
	struct list_head sibling;
	struct list_head thread_node;
	struct mm_struct *mm;
	char comm[TASK_COMM_LEN];
} RELOCATED;

/* PID_MAX_LIMIT of a 64-bit kernel (include/linux/threads.h) */
#define MOST_PIDS (4 << 20)

/* include/linux/bpf.h */
struct bpf_iter__task {
	struct task_struct *task;
} RELOCATED;

/* include/uapi/linux/bpf.h */
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define BPF_MAP_TYPE_RINGBUF 27
#define BPF_F_MMAPABLE (1U << 10)
#define BPF_RB_NO_WAKEUP 1
#define BPF_RB_FORCE_WAKEUP 2
#define BPF_RB_AVAIL_DATA 0

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static u32 (*const bpf_get_smp_processor_id)(void) = (void *)8;
static u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static u64 (*const bpf_get_current_cgroup_id)(void) = (void *)80;
static long (*const bpf_probe_read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*const bpf_probe_read_kernel_str)(void *to, u32 size, const void *from) = (void *)115;
static long (*const bpf_ringbuf_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;
static long (*const bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static void *(*const bpf_ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *data, u64 flags) = (void *)132;
static void (*const bpf_ringbuf_discard)(void *data, u64 flags) = (void *)133;
static struct task_struct *(*const bpf_get_current_task_btf)(void) = (void *)158;
static u64 (*const bpf_ringbuf_query)(void *ring, u64 flags) = (void *)134;

static long (*const bpf_loop)(u32 times, void *each, void *context, u64 flags) = (void *)181;

/* Reads a member of a structure that is known by its address alone. 0: done. */
#define READ(to, structure, member)                                                      \
	({                                                                               \
		typeof(structure) from_ = (structure);                                   \
		bpf_probe_read_kernel(&(to), sizeof(to), &from_->member);                \
	})
/* BPF_FIELD_BYTE_OFFSET of the running kernel. */
#define OFFSET(structure, member) __builtin_preserve_field_info(((structure *)0)->member, 0)

/* The form in which the loader reads a map's definition. */
#define UINT(name, value) int (*name)[value]
#define TYPE(name, type) typeof(type) *name
#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))

#endif
