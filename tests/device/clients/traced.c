/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "rounds.h"

#include <sys/ptrace.h>

static const char help[] =
	"usage: traced DEVICE monitor|target ROUNDS\n"
	"Rounds in which the monitor, or its target and all that this forks, is traced:\n"
	"stopped at each system call, fork and exit for a moment.\n"
	"Exit status 0: every event was signalled, once and in order.\n";

/* Lets all tracees go on, from stop to stop, until the first of them has ended; its status. */
static int trace(pid_t first)
{
	int status;
	pid_t tracee;

	for (;;) {
		tracee = waitpid(-1, &status, __WALL);
		if (tracee == -1 && errno == EINTR)
			continue;
		must(tracee != -1);
		if (!WIFSTOPPED(status)) {
			if (tracee == first)
				return status;
			continue;
		}
		usleep(20);
		/* A stop by ptrace is no signal; a new tracee begins with SIGSTOP. */
		ptrace(PTRACE_SYSCALL, tracee, NULL,
		       status >> 16 || WSTOPSIG(status) == (SIGTRAP | 0x80) || WSTOPSIG(status) == SIGSTOP ?
		       0 : WSTOPSIG(status));
	}
}

static void begin_to_trace(pid_t pid)
{
	must(ptrace(PTRACE_SEIZE, pid, NULL,
		    PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
		    PTRACE_O_TRACEEXIT) == 0);
	must(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0);
}

static void traced_monitor(const char *path, int rounds)
{
	int ready[2], round, status;
	pid_t monitor;
	char byte;

	must(pipe2(ready, O_CLOEXEC) == 0);
	monitor = fork_helper();
	if (monitor == 0) {
		must(read(ready[0], &byte, 1) == 1);
		for (round = 0; round < rounds; round++)
			monitor_round(path, round % 2);
		_exit(0);
	}
	/* Its children are not traced. */
	must(ptrace(PTRACE_SEIZE, monitor, NULL, PTRACE_O_TRACESYSGOOD) == 0);
	must(ptrace(PTRACE_INTERRUPT, monitor, NULL, NULL) == 0);
	must(write(ready[1], "", 1) == 1);
	status = trace(monitor);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail("the monitor ended with status %#x", status);
}

static void traced_target(const char *path)
{
	struct target target = start_target();
	int device = open_or_fail(path);

	register_events(device, target.pid, KMONITOR_PROCESS_FORK | KMONITOR_PROCESS_EXIT);
	begin_to_trace(target.pid);
	must(write(target.go, "", 1) == 1);
	must(trace(target.pid) == 0);
	close(target.go);
	must(close(device) == 0);
	expect_all(&target, 0);
}

int main(int argc, char *argv[])
{
	int round, rounds;

	check_usage(argc, argv, 4, help);
	round_of = argv[2];
	rounds = atoi(argv[3]);
	prepare_signals();
	if (strcmp(argv[2], "monitor") == 0)
		traced_monitor(argv[1], rounds);
	else
		for (round = 0; round < rounds; round++)
			traced_target(argv[1]);
	printf("%d rounds\n", rounds);
	return 0;
}
