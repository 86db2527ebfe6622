/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * usage: target plain | main-ends | zombie | no-zombie | traced | reuse | many COUNT
 *        target between gone|reused NAME PROGRAM ARGUMENT...
 *
 * A process to wait for, of a kind that needs C. It prints the ids of those to
 * wait for, then does what each line of its input says, and answers with a line:
 *
 *   exit STATUS   the process (or all of them) exits with this status
 *   kill SIGNAL   ... is killed by this signal
 *   uid NUMBER    it becomes this user (plain)
 *   reap          it is waited for (zombie)
 *   again         it is killed and waited for, and its id is given to another (reuse)
 *
 * `between` runs PROGRAM, with {} among its arguments replaced by the id of a
 * process of this NAME. When PROGRAM calls pidfd_open for it, that process has
 * just been killed and waited for, and its id belongs to no one or to another
 * process. Ends with PROGRAM's status.
 */
#define _GNU_SOURCE
#include "../device/clients/common.h"

#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char line[64];

static int next_line(void)
{
	return fgets(line, sizeof line, stdin) != NULL;
}

static void answer(const char *text)
{
	puts(text);
	must(fflush(stdout) == 0);
}

static void print_pid(pid_t pid)
{
	printf("%d\n", (int)pid);
	must(fflush(stdout) == 0);
}

/* Does what the line says to this process. */
static void obey(void)
{
	int number;

	if (sscanf(line, "exit %d", &number) == 1)
		_exit(number);
	if (sscanf(line, "kill %d", &number) == 1)
		must(kill(getpid(), number) == 0);
	if (sscanf(line, "uid %d", &number) == 1) {
		must(setresuid(number, number, number) == 0);
		answer("done");
	}
}

static void *obey_all(void *unused)
{
	(void)unused;
	print_pid(getpid());
	while (next_line())
		obey();
	exit(0);
}

static pid_t spawn(void (*run)(void))
{
	pid_t pid = fork_helper();

	if (pid == 0) {
		run();
		_exit(0);
	}
	return pid;
}

static void pause_for_ever(void)
{
	for (;;)
		pause();
}

/* A pipe whose end tells children to end with the status it carries. */
static int go[2];

static void exit_when_told(void)
{
	unsigned char status = 0;

	must(close(go[1]) == 0);
	must(read(go[0], &status, 1) >= 0);
	_exit(status);
}

static void kill_and_reap(pid_t pid)
{
	must(kill(pid, SIGKILL) == 0);
	must(waitpid(pid, NULL, 0) == pid);
}

/* A process with a chosen id, which may be given back a moment after its owner has gone. */
static pid_t fork_as(pid_t pid)
{
	struct clone_args args = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1 };
	pid_t parent = getpid();
	long result;

	do
		result = syscall(SYS_clone3, &args, sizeof args);
	while (result == -1 && errno == EEXIST);
	must(result != -1);
	if (result == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (getppid() == parent)
			pause();
		_exit(1);
	}
	return result;
}

static const char *victims_name;

static void become_victim(void)
{
	must(prctl(PR_SET_NAME, victims_name) == 0);
	must(write(go[1], "", 1) == 1);
	pause_for_ever();
}

/* Stops the traced program where it enters pidfd_open(2) for this process. */
static int runs_until_pidfd_open(pid_t program, pid_t victim, int *status)
{
	struct __ptrace_syscall_info info;

	for (;;) {
		must(waitpid(program, status, 0) == program);
		if (WIFEXITED(*status) || WIFSIGNALED(*status))
			return 0;
		if (WSTOPSIG(*status) == (SIGTRAP | 0x80)) {
			must(ptrace(PTRACE_GET_SYSCALL_INFO, program, sizeof info, &info) > 0);
			if (info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr == SYS_pidfd_open &&
			    (pid_t)info.entry.args[0] == victim)
				return 1;
		}
		must(ptrace(PTRACE_SYSCALL, program, NULL, NULL) == 0);
	}
}

static int between(int reused, char *argv[])
{
	pid_t victim, program;
	char text[16];
	int i, status;

	victim = spawn(become_victim);
	must(read(go[0], text, 1) == 1);
	snprintf(text, sizeof text, "%d", (int)victim);
	for (i = 0; argv[i]; i++)
		if (strcmp(argv[i], "{}") == 0)
			argv[i] = text;
	program = fork_helper();
	if (program == 0) {
		must(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
		must(raise(SIGSTOP) == 0);
		execv(argv[0], argv);
		err(2, "%s", argv[0]);
	}
	must(waitpid(program, &status, 0) == program && WIFSTOPPED(status));
	must(ptrace(PTRACE_SETOPTIONS, program, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0);
	must(ptrace(PTRACE_SYSCALL, program, NULL, NULL) == 0);
	if (!runs_until_pidfd_open(program, victim, &status))
		errx(3, "it ended without pidfd_open of %d", (int)victim);
	kill_and_reap(victim);
	if (reused)
		fork_as(victim);
	must(ptrace(PTRACE_DETACH, program, NULL, NULL) == 0);
	must(waitpid(program, &status, 0) == program);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Children that all end at once, and are waited for. */
static void many(int count)
{
	unsigned char statuses[4096] = { 0 };
	int i;

	for (i = 0; i < count; i++)
		printf("%d%c", (int)spawn(exit_when_told), i + 1 < count ? ' ' : '\n');
	must(fflush(stdout) == 0);
	must(next_line());
	must(count <= (int)sizeof statuses && write(go[1], statuses, count) == count);
	for (i = 0; i < count; i++)
		must(wait(NULL) > 0);
	answer("reaped");
}

static void zombie(void)
{
	unsigned char status = 7;
	pid_t child = spawn(exit_when_told);
	siginfo_t info;

	must(write(go[1], &status, 1) == 1);
	must(waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0);
	print_pid(child);
	while (next_line())
		if (strncmp(line, "reap", 4) == 0) {
			must(waitpid(child, NULL, 0) == child);
			answer("reaped");
		}
}

/* A child that is gone as soon as it has ended. */
static void no_zombie(void)
{
	unsigned char status;

	must(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
	print_pid(spawn(exit_when_told));
	while (next_line())
		if (sscanf(line, "exit %hhu", &status) == 1)
			must(write(go[1], &status, 1) == 1);
}

/* A child with a tracer that is not its parent. */
static void traced(void)
{
	unsigned char status;
	pid_t child = spawn(exit_when_told);
	int wait_status;

	print_pid(child);
	if (fork_helper() == 0) {
		must(ptrace(PTRACE_SEIZE, child, NULL, NULL) == 0);
		answer("traced");
		while (waitpid(child, &wait_status, 0) == child && WIFSTOPPED(wait_status))
			must(ptrace(PTRACE_CONT, child, NULL, WSTOPSIG(wait_status)) == 0);
		_exit(0);
	}
	while (next_line())
		if (sscanf(line, "exit %hhu", &status) == 1) {
			must(write(go[1], &status, 1) == 1);
			must(waitpid(child, NULL, 0) == child);
		}
}

static void reuse(void)
{
	pid_t child = spawn(pause_for_ever);

	print_pid(child);
	while (next_line())
		if (strncmp(line, "again", 5) == 0) {
			kill_and_reap(child);
			must(fork_as(child) == child);
			answer("reused");
		}
}

int main(int argc, char *argv[])
{
	const char *kind = argc > 1 ? argv[1] : "";
	pthread_t thread;

	must(pipe(go) == 0);
	if (strcmp(kind, "plain") == 0)
		obey_all(NULL);
	if (strcmp(kind, "main-ends") == 0) {
		must(pthread_create(&thread, NULL, obey_all, NULL) == 0);
		pthread_exit(NULL);
	}
	if (strcmp(kind, "zombie") == 0)
		zombie();
	else if (strcmp(kind, "no-zombie") == 0)
		no_zombie();
	else if (strcmp(kind, "traced") == 0)
		traced();
	else if (strcmp(kind, "reuse") == 0)
		reuse();
	else if (strcmp(kind, "many") == 0 && argc == 3)
		many(atoi(argv[2]));
	else if (strcmp(kind, "between") == 0 && argc > 4) {
		victims_name = argv[3];
		return between(strcmp(argv[2], "reused") == 0, argv + 4);
	}
	else
		errx(2, "see the head of target.c for how to use this");
	return 0;
}
