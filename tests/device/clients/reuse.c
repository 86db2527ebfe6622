/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "common.h"

#include <linux/sched.h>
#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const char help[] =
	"usage: reuse DEVICE ROUNDS\n"
	"A monitor registers and is killed, and a stranger gets its pid; then the\n"
	"target does something. In every other round the monitor's file lives on in\n"
	"another process. Prints how many strangers were signalled; exit status 0: none.\n";

/* A fork with a chosen pid, which may be given back a moment after its task has gone. */
static pid_t fork_as(pid_t pid)
{
	struct clone_args args = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1 };
	long result;

	do
		result = syscall(SYS_clone3, &args, sizeof args);
	while (result == -1 && errno == EEXIST);
	must(result != -1);
	return result;
}

static void tell(int pipe, char what) { must(write(pipe, &what, 1) == 1); }
static char hear(int pipe)
{
	char what = 0;

	must(read(pipe, &what, 1) == 1);
	return what;
}

int main(int argc, char *argv[])
{
	int rounds, round, go[2], done[2], signalled = 0, heard = 0;
	pid_t target, chosen;
	siginfo_t info;

	check_usage(argc, argv, 3, help);
	rounds = positive(argv[2], help);
	prepare_signals();
	must(pipe(go) == 0 && pipe(done) == 0);
	target = fork_helper();
	if (target == 0) {
		for (;;) {
			hear(go[0]);
			pid_t child = fork();

			if (child == 0)
				_exit(0);
			must(waitpid(child, NULL, 0) == child);
			tell(done[1], 'd');
		}
	}
	/* A number that nobody is given by chance for a while. */
	chosen = fork();
	if (chosen == 0)
		_exit(0);
	must(waitpid(chosen, NULL, 0) == chosen);

	for (round = 0; round < rounds; round++) {
		int said[2], shared = round % 2 ? open(argv[1], O_RDWR) : -1, own, status;
		pid_t monitor, stranger;

		must(pipe(said) == 0);
		monitor = fork_as(chosen);
		if (monitor == 0) {
			int device = shared >= 0 ? shared : open(argv[1], O_RDWR);

			must(command(device, KMONITOR_IOW_REGISTER, target, KMONITOR_PROCESS_FORK, SIGRTMIN) == 0);
			tell(go[1], 'g');
			must(next_signal(&info, 10000) == SIGRTMIN);
			tell(said[1], 'r');
			pause();
		}
		must(hear(said[0]) == 'r');
		heard++;
		must(hear(done[0]) == 'd');
		must(kill(monitor, SIGKILL) == 0 && waitpid(monitor, NULL, 0) == monitor);
		stranger = fork_as(chosen);
		if (stranger == 0) {
			hear(said[0]);
			_exit(next_signal(&info, 0) != 0);
		}
		must(stranger == monitor);
		tell(go[1], 'g');
		must(hear(done[0]) == 'd');
		/* When this has been answered, that fork has been signalled to whoever is told of it. */
		own = open(argv[1], O_RDWR);
		must(command(own, KMONITOR_IOW_REGISTER, target, KMONITOR_PROCESS_EXIT, SIGRTMIN) == 0);
		must(close(own) == 0);
		tell(said[1], 'c');
		must(waitpid(stranger, &status, 0) == stranger);
		signalled += status != 0;
		if (shared >= 0)
			must(close(shared) == 0);
		must(close(said[0]) == 0 && close(said[1]) == 0);
	}
	printf("%d monitors heard of the target, %d strangers were signalled\n", heard, signalled);
	return signalled != 0;
}
