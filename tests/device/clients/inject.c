/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "usage.h"

static const char help[] =
	"usage: inject TID\n"
	"Has a thread of another process make system calls, as somebody would who has\n"
	"taken it over, and prints what each gives, -ERRNO for a failure. By ptrace(2),\n"
	"as gdb does. Reads lines NUMBER [ARGUMENT...] from its input: a system call, and\n"
	"up to six arguments, each a number or a text that begins with a slash or with\n"
	"text: (the call gets its address).\n";

static void check(long result, const char *what)
{
	if (result == -1)
		err(1, "%s", what);
}

static void await_stop(pid_t tid)
{
	int status;

	if (waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status))
		errx(1, "%d does not stop", (int)tid);
}

/* Below the thread's stack, and what the ABI lets it use there. */
static unsigned long long put(pid_t tid, unsigned long long at, const char *text)
{
	size_t length = strlen(text) + 1, done;
	long word;

	for (done = 0; done < length; done += sizeof word) {
		word = 0;
		memcpy(&word, text + done, length - done < sizeof word ? length - done : sizeof word);
		check(ptrace(PTRACE_POKEDATA, tid, at + done, word), "cannot write to its memory");
	}
	return at;
}

int main(int argc, char *argv[])
{
	struct user_regs_struct before, call;
	char line[4096];
	pid_t tid;

	check_usage(argc, argv, 2, help);
	tid = positive(argv[1], help);
	check(ptrace(PTRACE_ATTACH, tid, 0, 0), "cannot attach");
	await_stop(tid);
	check(ptrace(PTRACE_GETREGS, tid, 0, &before), "cannot read its registers");
	while (fgets(line, sizeof line, stdin)) {
		unsigned long long arguments[6] = { 0 }, memory = before.rsp - 65536;
		char *word = strtok(line, " \n");
		int i;

		if (!word)
			continue;
		call = before;
		call.rax = strtoull(word, NULL, 0);
		call.orig_rax = -1;
		/* It waits in a system call, behind whose instruction it stands. */
		call.rip = before.rip - 2;
		for (i = 0; i < 6 && (word = strtok(NULL, " \n")); i++) {
			if (*word == '/' || strncmp(word, "text:", 5) == 0) {
				arguments[i] = put(tid, memory, *word == '/' ? word : word + 5);
				memory -= 8192;
			} else {
				arguments[i] = strtoull(word, NULL, 0);
			}
		}
		call.rdi = arguments[0];
		call.rsi = arguments[1];
		call.rdx = arguments[2];
		call.r10 = arguments[3];
		call.r8 = arguments[4];
		call.r9 = arguments[5];
		check(ptrace(PTRACE_SETREGS, tid, 0, &call), "cannot set its registers");
		check(ptrace(PTRACE_SINGLESTEP, tid, 0, 0), "cannot let it run");
		await_stop(tid);
		check(ptrace(PTRACE_GETREGS, tid, 0, &call), "cannot read its registers");
		printf("%lld\n", (long long)call.rax);
		fflush(stdout);
	}
	check(ptrace(PTRACE_SETREGS, tid, 0, &before), "cannot set its registers");
	check(ptrace(PTRACE_DETACH, tid, 0, 0), "cannot detach");
	return 0;
}
