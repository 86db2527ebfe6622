/*
 * The shortest use of /dev/kmonitor: watches a child's end and waits for the signal. Plain numbers on purpose: it
 * must mean the same on the original and on ours, whatever our header says.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REGISTER 0x400CDE01
#define PROCESS_EXIT 0x40

static void check(int good, const char *what)
{
	if (!good) {
		perror(what);
		exit(1);
	}
}

int main(void)
{
	struct timespec limit = { .tv_sec = 10 };
	siginfo_t info;
	sigset_t set;
	int hold[2];

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	check(sigprocmask(SIG_BLOCK, &set, NULL) == 0, "sigprocmask");
	check(pipe(hold) == 0, "pipe");
	int device = open("/dev/kmonitor", O_WRONLY | O_CLOEXEC);
	check(device >= 0, "open /dev/kmonitor");

	pid_t child = fork();
	check(child >= 0, "fork");
	if (child == 0) {
		char byte;

		close(device);
		close(hold[1]);
		/* Returns when the parent, registered by then, closes its end. */
		_exit(read(hold[0], &byte, 1) == 0 ? 7 : 8);
	}
	int command[3] = { child, PROCESS_EXIT, SIGRTMIN };
	check(ioctl(device, REGISTER, command) == 0, "REGISTER");
	close(hold[1]);
	check(sigtimedwait(&set, &info, &limit) == SIGRTMIN, "wait for the signal");

	int status;
	check(waitpid(child, &status, 0) == child, "waitpid");
	printf("si_pid %s si_code %d si_int 0x%x child's status %d\n", info.si_pid == child ? "right" : "wrong",
	       info.si_code, info.si_int, WEXITSTATUS(status));
	return 0;
}
