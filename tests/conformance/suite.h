/*
 * Conformance suite for /dev/kmonitor: what a case is made of.
 *
 * A case is a short script.  Its cast are puppets: processes and threads that wait for commands ("actions") and
 * carry them out one at a time, so that the case decides what happens in which order.  The case itself is the
 * puppet `me`.  What it sees it writes down with say(); the runner compares that with what the case expects.
 */
#ifndef SUITE_H
#define SUITE_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <linux/kmonitor.h>

#define TCREATE KMONITOR_THREAD_CREATE
#define TABORT KMONITOR_THREAD_ABORT
#define TEXIT KMONITOR_THREAD_EXIT
#define FORK KMONITOR_PROCESS_FORK
#define ABORT KMONITOR_PROCESS_ABORT
#define EXEC KMONITOR_PROCESS_EXEC
#define EXIT KMONITOR_PROCESS_EXIT
#define ALL 0x7f

/* The signal that watch() asks for. */
#define SIG SIGRTMIN

#define NOBODY 65534

/* ---- A case ---- */

enum {
	TIMING = 1,	/* what an asynchronous implementation shows here may go either way */
	ONLY64 = 2,	/* needs a register wider than 32 bits */
};

struct test {
	const char *name;
	const char *fact;	/* numbers in docs/behaviour.md */
	const char *claim;
	const char *expected;	/* what the original shows */
	unsigned flags;
	void (*run)(void);
};

#define CASE_IF(flags, id, fact, claim, expected)                                                   \
	static void case_##id(void);                                                                \
	static const struct test test_##id = { #id, fact, claim, expected, flags, case_##id };      \
	__attribute__((used, section("tests"))) static const struct test *const entry_##id = &test_##id; \
	static void case_##id(void)
#define CASE(id, fact, claim, expected) CASE_IF(0, id, fact, claim, expected)

extern int rounds;		/* of each race */

/* ---- Writing down what was seen (observe.c) ---- */

/* Adds an item to the list that the runner compares. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends the case when something the case builds on is missing. */
#define need(condition) ((condition) ? (void)0 : missing(#condition))
_Noreturn void missing(const char *what);

/* "0", a positive number, or the name of the error in -errno. */
const char *result(long r);
#define say_result(r) say("%s", result(r))
/* Turns the C convention (-1 and errno) into -errno. */
long sys(long r);

void name_pid(pid_t pid, const char *name);
const char *name_of(pid_t pid);
const char *signal_name(int sig);

/* ---- Puppets (puppet.c) ---- */

struct puppet {
	pid_t pid;	/* its tid, when it is a thread */
	pid_t process;
	int slot;
};

typedef long action(const long *arg);

extern struct puppet *const me;

struct puppet *puppet(const char *name);		/* a child of the case, without the case's device files */
struct puppet *fork_from(struct puppet *parent, const char *name);	/* an ordinary fork: shares all files */
struct puppet *fork_as(struct puppet *parent, pid_t pid, const char *name);	/* a fork with a chosen pid */
struct puppet *fork_sharing_table(struct puppet *parent, const char *name);	/* CLONE_FILES: one descriptor table */
struct puppet *thread_of(struct puppet *process, const char *name);
/* A task cloned with `flags` that understands but one command: end(). */
struct puppet *clone_from(struct puppet *parent, int flags, const char *name);

/* Makes the puppet run an action and gives its result. */
#define on(p, act, ...) (tell(p, act, ##__VA_ARGS__), answer(p))
/* The same in two halves, for actions that end the puppet and for things that happen at the same time. */
#define tell(p, act, ...) tell_args(p, act, (const long[4]){ __VA_ARGS__ })
void tell_args(struct puppet *p, action *act, const long arg[4]);
long answer(struct puppet *p);

/* clone3; a chosen pid is given back a moment after its task has disappeared, so that is waited for. */
struct clone_args;
long clone_task(struct clone_args *args);

/* Ends the puppet's task alone, or its process, and waits until that is done. */
void end(struct puppet *p);
void end_process(struct puppet *p, int status);
void kill_with(struct puppet *p, int sig);
void await_dead(pid_t tid);	/* zombie or gone */
void await_gone(pid_t tid);	/* its number is free */
void reap(struct puppet *p);
char task_state(pid_t tid);	/* as in /proc, 0 when there is none */
void await_state(pid_t tid, char state);
pid_t unused_pid(void);

/* Used by the runner only. */
void puppets_start(void);
_Noreturn void serve_after_exec(int argc, char **argv);

/* ---- The device (actions.c) ---- */

long open_device(struct puppet *p, int flags);		/* a file descriptor or -errno; becomes the puppet's default */
long register_on(struct puppet *p, long fd, pid_t pid, int mask, int sig);
long deregister_on(struct puppet *p, long fd, pid_t pid, int mask);
long close_fd(struct puppet *p, long fd);
/* The same through the puppet's default descriptor. */
#define DEFAULT_FD (-1L)
#define reg(p, pid, mask, sig) register_on(p, DEFAULT_FD, pid, mask, sig)
#define dereg(p, pid, mask) deregister_on(p, DEFAULT_FD, pid, mask)
#define close_device(p) close_fd(p, DEFAULT_FD)
/* Opens the device if need be and registers for SIG; must succeed. */
void watch(struct puppet *monitor, struct puppet *target, int mask);
void watch_pid(struct puppet *monitor, pid_t pid, int mask);
/* A monitor process that has the device open. */
struct puppet *monitor(const char *name);
void device_forget(void);	/* closes inherited device files */

/* ---- What puppets can do (actions.c) ---- */

action act_open, act_close, act_dup;
action act_fork_exit;		/* (n): n children that end at once, each waited for; the last one's pid */
action act_vfork_exit;
action act_exec, act_exec_fd, act_exec_script, act_exec_fail;
action act_exit, act_exit_task, act_die_by;
action act_thread_exit;		/* (n): n threads that end at once, each joined; the last one's tid */
action act_wait;		/* (pid): the wait status */
action act_setresuid, act_setsid, act_unblock, act_ignore;

pid_t forks(struct puppet *p, int n);	/* the last child is named "child" */
void exec_self(struct puppet *p);
void become(struct puppet *p, uid_t uid);
/* A descriptor of a setuid-root copy of this program. */
int setuid_program(void);

/* Descriptor passing over a slot of its own. */
void send_fd(struct puppet *sender, long fd);
long receive_fd(struct puppet *receiver);	/* becomes its default */

/* ---- Signals (observe.c) ---- */

/* Makes sure that whatever was to be signalled until now has been. */
void settle(void);
/* n events as text, each awaited. */
const char *events(struct puppet *p, int n);
/* Everything that has come or is on its way; "nothing" if so. */
const char *rest(struct puppet *p);
/* Like rest(), without order: for events of tasks that end at the same time. */
const char *rest_sorted(struct puppet *p);
/* The same, without events of tasks that the case did not name: for registrations that strangers' numbers may meet. */
const char *rest_of_ours(struct puppet *p);
#define say_events(p, n) say("%s", events(p, n))
#define say_rest(p) say("%s", rest(p))
/* What is pending at this very moment. */
const char *pending_now(struct puppet *p);
/* How many events of `kind` come until `last` comes (which must). */
long count_until(struct puppet *p, int kind, int last);
/* How many of n events of this kind arrive. */
long count_of(struct puppet *p, int kind, int n);
long count_rest(struct puppet *p);
void observe_start(void);
void observe_end(void);

/* ---- State that all processes of a case share ---- */

struct shared {
	char device[256];
	char saw[4096];
	char text[4096];	/* what the last observing action wrote */
	struct { pid_t pid; char name[28]; } names[128];
	int named;
	volatile long scratch[16];
	pid_t registrants[128];	/* tasks that registered */
	int registered;
};
extern struct shared *shared;

/* The path of the device under test. */
#define device (shared->device)

enum { SHARED_FD = 291, SETTLE_FD = 292, PASS_FD = 294, SLOT_FD = 300, SLOTS = 40 };

#endif
