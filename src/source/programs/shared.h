/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only */
/*
 * What the programs share with the daemon. words.rs and record.rs are the same
 * in Rust.
 */
#ifndef SHARED_H
#define SHARED_H

#include "kernel.h"

/* ---- The word of a task id. Both sides change it by atomic operations only. ---- */

/* Events that somebody wants of the task: the bits of linux/kmonitor.h. */
#define THREAD_CREATE 0x01
#define THREAD_ABORT 0x02
#define THREAD_EXIT 0x04
#define PROCESS_FORK 0x08
#define PROCESS_ABORT 0x10
#define PROCESS_EXEC 0x20
#define PROCESS_EXIT 0x40
#define EVENTS 0x7f
#define THREAD_ENDS (THREAD_EXIT | THREAD_ABORT)
#define PROCESS_ENDS (PROCESS_EXIT | PROCESS_ABORT)

/* All events of the task and of its descendants are wanted. */
#define FOLLOW 0x80
/* The task has passed the exit tracepoint; cleared when a new task gets the number. */
#define EXITING 0x100
/* With EXITING: the process ends with this task, so that the exit is reported when it is dead. */
#define HOLD 0x200
/* Such an exit is on its way to the daemon, which wants to know of a birth on this number. */
#define HELD 0x400
/* The daemon polls a pidfd of this process. */
#define PIDFD 0x800
/* With FOLLOW: there was a record of the task, its birth or that it is there. */
#define KNOWN 0x1000
/* Records that the ring had no room for. */
#define LOST_EXEC 0x2000
#define LOST_EXIT 0x4000
#define LOST_THREAD_EXIT 0x8000
#define LOST_BIRTH 0x10000
#define LOST_CHILDREN 0x20000

/* What a new task on the number must not inherit from the last one. */
#define OF_LAST_OWNER (FOLLOW | KNOWN | EXITING | HOLD | HELD | PIDFD)
/* Nor this; but it has not been told, and goes into the record of the birth. */
#define LOST_OF_LAST_OWNER (LOST_EXEC | LOST_EXIT | LOST_THREAD_EXIT)

/* ---- A record of the ring ---- */

enum kind {
	BORN,
	EXEC,
	EXIT,
	/* A task that was there when somebody began to follow it. */
	MEMBER,
	/* The ring was full, and there is room again. */
	LOST,
};

/* Flags of a record */
/* BORN: a thread of its creator's process. EXIT: of a task that is no main thread. */
#define IS_THREAD 0x1
/* The task is followed. */
#define IS_FOLLOWED 0x2
/* EXIT: to be reported when the process is dead. */
#define IS_HELD 0x4
/* EXIT: of the last running thread of its process; usage is that of the process. */
#define IS_LAST 0x8
/* The word of who did it asks for it. */
#define IS_WANTED 0x10
/* EXEC: there is a struct arguments of the same task and stamp in the other ring. */
#define HAS_ARGUMENTS 0x20

struct record {
	/* CLOCK_MONOTONIC */
	u64 stamp;
	/* When the subject began, in nanoseconds since boot. */
	u64 start;
	/* EXIT of a followed task: nanoseconds on a processor, and the most memory that it had, in pages. */
	u64 runtime;
	u64 peak_pages;
	u32 kind;
	u32 flags;
	/* Who did it. */
	s32 tid;
	s32 tgid;
	/* BORN: the new task. EXEC: the id that the task had before. MEMBER: its parent. */
	s32 other;
	/* The subject's real uid. */
	u32 uid;
	/* EXIT: as waitpid(2) tells it. */
	u32 status;
	/* The subject's word, as it was when the event happened. */
	u32 word;
};

/* ---- A record of the ring of arguments ---- */

/* PATH_MAX */
#define MOST_FILE 4096
#define MOST_ARGUMENTS 16384

struct arguments {
	u64 stamp;
	/* The cgroup of the task, as name_to_handle_at(2) numbers it. */
	u64 cgroup;
	s32 tid;
	/* Bytes of the text: first the name of the file, with its end, then the arguments. */
	u32 file;
	u32 kept;
	/* Bytes that the arguments have. */
	u32 whole;
	/* The name of the parent's thread. */
	char parent[TASK_COMM_LEN];
	char text[MOST_FILE + MOST_ARGUMENTS];
};

/* ---- State besides words and ring ---- */

enum lost {
	LOST_FORKS,
	LOST_THREAD_CREATES,
	LOST_EXECS,
	LOST_EXITS,
	LOST_THREAD_EXITS,
	/* Births that only concern the new task's own number. */
	LOST_BIRTHS,
	LOST_KINDS,
};

struct state {
	/* How many records of each kind the ring had no room for. */
	u32 lost[LOST_KINDS];
	/* The daemon has read all, and wants to be woken by the next record. */
	u32 asleep;
	/* Half of the ring's size. */
	u32 half;
	/* Somebody is beginning to follow: not all members of the tree have FOLLOW. */
	u32 scanning;
	/* How many records of kind MEMBER there were. */
	u32 members;
	/* The arguments of execs are wanted. */
	u32 arguments;
	/* Events that the first copy of a program has not seen, and another one has. */
	u32 caught;
};

#endif
