/*
 * Puppets: tasks that do what the case tells them.
 *
 * Each has a slot: a socket pair with fixed descriptor numbers, made before the first fork and so known to every
 * process of the case, also after an exec.  A command is the address of a function in this (statically linked,
 * position-dependent) program and its arguments.
 */
#include "suite.h"

#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

struct command {
	action *act;
	long arg[4];
};

static struct puppet cast[SLOTS + 1];
static int used;
static long own_result;	/* of what the case told itself */
struct puppet *const me = &cast[SLOTS];
struct shared *shared;

/* ---- Slots ---- */

static int case_end(int slot) { return SLOT_FD + 2 * slot; }
static int puppet_end(int slot) { return SLOT_FD + 2 * slot + 1; }

static void open_slot(int slot)
{
	int pair[2];

	need(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
	need(dup2(pair[0], case_end(slot)) >= 0 && dup2(pair[1], puppet_end(slot)) >= 0);
	close(pair[0]);
	close(pair[1]);
}

void puppets_start(void)
{
	for (int slot = 0; slot < SLOTS; slot++)
		open_slot(slot);
	me->pid = getpid();
	me->process = getpid();
	me->slot = -1;
	name_pid(me->pid, "me");
}

static struct puppet *new_puppet(void)
{
	struct puppet *p = &cast[used];

	need(used < SLOTS);
	p->slot = used++;
	return p;
}

/* ---- The puppet's side ---- */

static void nap(void)
{
	nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
}

static void reply(int slot, long r)
{
	send(puppet_end(slot), &r, sizeof r, 0);
}

/* Says hello with its tid, then obeys until it is told to end. */
static _Noreturn void serve(int slot)
{
	struct command c;

	reply(slot, gettid());
	for (;;) {
		ssize_t n = recv(puppet_end(slot), &c, sizeof c, 0);

		if (n == sizeof c)
			reply(slot, c.act(c.arg));
		else if (n == 0 || errno != EINTR)
			_exit(3);
	}
}

_Noreturn void serve_after_exec(int argc, char **argv)
{
	int slot = argc > 2 ? atoi(argv[argc - 1]) : -1;

	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, SHARED_FD, 0);
	if (slot < 0 || shared == MAP_FAILED)
		_exit(2);
	serve(slot);
}

static long act_fork(const long *arg)
{
	pid_t pid = fork();

	if (!pid) {
		if (arg[1])
			device_forget();
		serve((int)arg[0]);
	}
	return sys(pid);
}

long clone_task(struct clone_args *args)
{
	long pid;

	for (int tries = 0; tries < 500; tries++) {
		pid = syscall(SYS_clone3, args, sizeof *args);
		if (pid >= 0 || errno != EEXIST)
			break;
		nap();
	}
	return pid;
}

static long act_fork_as(const long *arg)
{
	pid_t wanted = (pid_t)arg[1];
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = wanted ? (uintptr_t)&wanted : 0,
		.set_tid_size = wanted != 0,
		.flags = (uint64_t)arg[3],
	};
	long pid = clone_task(&args);

	if (!pid) {
		if (arg[2])
			device_forget();
		serve((int)arg[0]);
	}
	return sys(pid);
}

static void *thread_main(void *slot)
{
	serve((int)(intptr_t)slot);
}

static long act_thread(const long *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	int error;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	error = pthread_create(&thread, &attr, thread_main, (void *)(intptr_t)arg[0]);
	return -error;
}

/* May share memory with its maker, thread-local data included: touches nothing. */
static int wait_for_end(void *slot)
{
	struct command c;

	recv(puppet_end((int)(intptr_t)slot), &c, sizeof c, 0);
	syscall(SYS_exit, 0);
	return 0;
}

static long act_clone(const long *arg)
{
	enum { STACK = 64 * 1024 };
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return sys(clone(wait_for_end, stack + STACK, (int)arg[1], (void *)(intptr_t)arg[0]));
}

/* ---- The case's side ---- */

char task_state(pid_t tid)
{
	char path[40], text[400], *paren;
	int fd;
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	paren = strrchr(text, ')');
	return paren ? paren[2] : 0;
}

static bool dead(pid_t tid)
{
	char state = task_state(tid);

	return state == 'Z' || state == 'X' || !state;
}

void tell_args(struct puppet *p, action *act, const long arg[4])
{
	struct command c = { act, { arg[0], arg[1], arg[2], arg[3] } };

	if (p == me)
		own_result = act(arg);
	else
		need(send(case_end(p->slot), &c, sizeof c, 0) == sizeof c);
}

/* Notices a puppet that died instead of answering.  (A thread that execs loses its tid to become the process.) */
long answer(struct puppet *p)
{
	struct pollfd readable = { .fd = p == me ? -1 : case_end(p->slot), .events = POLLIN };
	long r;

	if (p == me)
		return own_result;
	while (TEMP_FAILURE_RETRY(poll(&readable, 1, 200)) == 0)
		if (dead(p->pid) && dead(p->process) && poll(&readable, 1, 0) == 0) {
			say("%s died", name_of(p->pid));
			_exit(0);
		}
	need(TEMP_FAILURE_RETRY(recv(case_end(p->slot), &r, sizeof r, 0)) == sizeof r);
	return r;
}

/* A new puppet says hello on its slot, its maker answers on its own. */
static struct puppet *introduce(struct puppet *p, struct puppet *maker, const char *name)
{
	long made = answer(maker);	/* a pid, or 0 for a thread */

	if (made < 0) {
		say("no %s: %s", name, result(made));
		_exit(0);
	}
	p->process = made ? (pid_t)made : maker->process;
	p->pid = p->process;
	p->pid = (pid_t)answer(p);
	name_pid(p->pid, name);
	return p;
}

static struct puppet *fork_child(struct puppet *parent, const char *name, bool forget)
{
	struct puppet *p = new_puppet();

	tell(parent, act_fork, p->slot, forget);
	return introduce(p, parent, name);
}

struct puppet *puppet(const char *name)
{
	return fork_child(me, name, true);
}

struct puppet *fork_from(struct puppet *parent, const char *name)
{
	return fork_child(parent, name, false);
}

struct puppet *fork_as(struct puppet *parent, pid_t pid, const char *name)
{
	struct puppet *p = new_puppet();

	tell(parent, act_fork_as, p->slot, pid, parent == me);
	return introduce(p, parent, name);
}

struct puppet *fork_sharing_table(struct puppet *parent, const char *name)
{
	struct puppet *p = new_puppet();

	tell(parent, act_fork_as, p->slot, 0, false, CLONE_FILES);
	return introduce(p, parent, name);
}

struct puppet *thread_of(struct puppet *process, const char *name)
{
	struct puppet *p = new_puppet();

	tell(process, act_thread, p->slot);
	return introduce(p, process, name);
}

struct puppet *clone_from(struct puppet *parent, int flags, const char *name)
{
	struct puppet *p = new_puppet();
	long pid = on(parent, act_clone, p->slot, flags);

	if (pid < 0) {
		say("no %s: %s", name, result(pid));
		_exit(0);
	}
	p->pid = p->process = (pid_t)pid;
	name_pid(p->pid, name);
	return p;
}

/* ---- Ends ---- */

void await_dead(pid_t tid)
{
	while (!dead(tid))
		nap();
}

void await_gone(pid_t tid)
{
	while (task_state(tid))
		nap();
}

void await_state(pid_t tid, char state)
{
	while (task_state(tid) != state)
		nap();
}

void end(struct puppet *p)
{
	tell(p, act_exit_task);
	await_dead(p->pid);
}

void end_process(struct puppet *p, int status)
{
	tell(p, act_exit, status);
	await_dead(p->pid);
}

void kill_with(struct puppet *p, int sig)
{
	need(kill(p->pid, sig) == 0);
	await_dead(p->pid);
}

void reap(struct puppet *p)
{
	need(waitpid(p->pid, NULL, 0) == p->pid);
}

pid_t unused_pid(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	need(waitpid(pid, NULL, 0) == pid);
	return pid;
}
