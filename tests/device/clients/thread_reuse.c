/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "rounds.h"

#include <linux/sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static const char help[] =
	"usage: thread_reuse DEVICE ROUNDS\n"
	"A thread id is a target: of ROUNDS threads, one after another, while other\n"
	"processes fork on all processors. It is registered once, and again before every\n"
	"other thread. Needs root, to choose the id.\n"
	"Exit status 0: each thread's end was signalled, once, and before the next one's.\n";

enum { STACK = 65536, NOISE = 4 };

static int shared_flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
			  CLONE_CHILD_CLEARTID;
static volatile pid_t alive;

/* A thread of this id, or of any if that is 0, that ends at once. Its id, or -1. */
static pid_t brief_thread(pid_t id, char *stack)
{
	struct clone_args arguments = {
		.flags = shared_flags, .child_tid = (uintptr_t)&alive, .stack = (uintptr_t)stack,
		.stack_size = STACK, .set_tid = id ? (uintptr_t)&id : 0, .set_tid_size = id != 0,
	};
	long thread;

	alive = 1;
	/* The thread has an empty stack: it may not return. */
	__asm__ volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\txor %%edi, %%edi\n\tmov %2, %%eax\n\tsyscall\n1:"
			 : "=a"(thread) : "0"((long)SYS_clone3), "i"(SYS_exit), "D"(&arguments), "S"(sizeof arguments)
			 : "rcx", "r11", "memory");
	if (thread < 0) {
		errno = -thread;
		return -1;
	}
	/* The kernel clears it when the thread is gone, but for its number. */
	while (alive)
		usleep(1);
	return thread;
}

static pid_t thread_with_id(pid_t id, char *stack)
{
	pid_t thread;

	/* The last one's number may not be free yet. */
	do
		thread = brief_thread(id, stack);
	while (thread == -1 && errno == EEXIST);
	return thread;
}

int main(int argc, char *argv[])
{
	int round, rounds, device, i;
	siginfo_t info;
	char *stack;
	pid_t id;

	check_usage(argc, argv, 3, help);
	round_of = "thread_reuse";
	rounds = atoi(argv[2]);
	prepare_signals();
	for (i = 0; i < NOISE; i++) {
		if (fork_helper() == 0) {
			for (;;) {
				pid_t child = vfork();

				if (child == 0)
					_exit(0);
				waitpid(child, NULL, 0);
			}
		}
	}
	stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(stack != MAP_FAILED);
	device = open_or_fail(argv[1]);
	/* Kept free: ids are given in a circle, and this one was given just now. */
	id = brief_thread(0, stack);
	must(id != -1);
	for (round = 0; round < rounds; round++) {
		if (round % 2 == 0)
			register_events(device, id, KMONITOR_THREAD_EXIT);
		if (thread_with_id(id, stack) != id)
			err(2, "cannot have a thread of the id %d", (int)id);
		if (!next_signal(&info, 10000))
			fail("the end of thread %d is not signalled", round);
		if (info.si_int != KMONITOR_THREAD_EXIT || info.si_pid != id)
			fail("event %#x of %d", info.si_int, (int)info.si_pid);
	}
	if (command(device, KMONITOR_IOW_DEREGISTER, id, 0x7f, 0))
		fail("DEREGISTER failed");
	if (next_signal(&info, 0))
		fail("a further event %#x of %d", info.si_int, (int)info.si_pid);
	printf("%d threads\n", rounds);
	return 0;
}
