/* gone: waits until the process PID has ended. It need not be a child. */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/kmonitor.h>

int main(int argc, char *argv[])
{
	struct kmonitor_cmd command = { 0, KMONITOR_PROCESS_EXIT, SIGRTMIN };
	const struct timespec no_wait = { 0, 0 };
	struct pollfd news[2] = { { .events = POLLIN }, { .events = POLLIN } };
	sigset_t signals;
	siginfo_t info;
	int device, done = 0;

	if (argc != 2 || (command.pid = atoi(argv[1])) <= 0)
		errx(2, "usage: %s PID", argv[0]);

	/* First block the signal: none is lost between REGISTER and the wait. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGRTMIN);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) == -1)
		err(1, "cannot block the signal");
	news[0].fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (news[0].fd == -1)
		err(1, "cannot make a descriptor for the signal");

	device = open("/dev/kmonitor", O_RDWR | O_CLOEXEC);
	if (device == -1)
		err(1, "cannot open /dev/kmonitor");
	if (ioctl(device, KMONITOR_IOW_REGISTER, &command) == -1)
		err(1, "cannot register %d", (int)command.pid);

	/* REGISTER takes any number, also of a process that is gone: a pidfd tells of an end before it.
	   An end that comes after it is signalled, also of a process that had begun to exit. */
	news[1].fd = syscall(SYS_pidfd_open, command.pid, 0);
	/* Older kernels say EINVAL also of a process that its parent is waiting for just now. */
	if (news[1].fd == -1 && errno == EINVAL && kill(command.pid, 0) == 0)
		errno = EINVAL;
	if (news[1].fd == -1 && errno != ESRCH)
		err(1, "cannot look at %d: is it a thread?", (int)command.pid);
	if (news[1].fd == -1)
		done = printf("%d does not exist\n", (int)command.pid);
	while (!done) {
		if (poll(news, 2, -1) == -1 && errno != EINTR)
			err(1, "cannot wait");
		/* When this has returned, a signal that is to come is there. */
		if (news[1].revents && ioctl(device, KMONITOR_IOW_DEREGISTER, &command) == -1)
			err(1, "cannot deregister %d", (int)command.pid);
		while (!done && sigtimedwait(&signals, &info, &no_wait) > 0) {
			/* Others may send us this signal too. */
			if (info.si_code == SI_QUEUE && info.si_pid == command.pid &&
			    info.si_int == KMONITOR_PROCESS_EXIT)
				done = printf("%d of user %u has ended\n", (int)info.si_pid, (unsigned)info.si_uid);
		}
		if (news[1].revents && !done)
			done = printf("%d had ended before\n", (int)command.pid);
	}
	if (done < 0 || fflush(stdout) == EOF)
		err(1, "cannot write to standard output");
	return 0;
}
