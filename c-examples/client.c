/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "client.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

const struct timespec NO_WAIT = { 0, 0 };

static const char *remedy(int error)
{
	switch (error) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return "the service is not running; start `kmonitor serve`";
	case ENOTCONN:
	case ECONNABORTED:
		return "the service has died; start `kmonitor serve` again";
	case EACCES:
	case EPERM:
		return "only those who may open the device can monitor; be its owner, or have its mode changed";
	default:
		return "is this the device of `kmonitor serve`?";
	}
}

int open_device(const char *path)
{
	int device = open(path, O_RDWR | O_CLOEXEC);

	if (device == -1)
		errx(EXIT_TROUBLE, "cannot open %s: %s: %s", path, strerror(errno), remedy(errno));
	return device;
}

int register_target(int device, pid_t target, int events, int signal)
{
	struct kmonitor_cmd command = { target, events, signal };

	return ioctl(device, KMONITOR_IOW_REGISTER, &command);
}

int deregister_target(int device, pid_t target, int events)
{
	struct kmonitor_cmd command = { target, events, 0 };

	return ioctl(device, KMONITOR_IOW_DEREGISTER, &command);
}

const char *event_name(int event)
{
	switch (event) {
	case KMONITOR_THREAD_CREATE:
		return "thread-create";
	case KMONITOR_THREAD_ABORT:
		return "thread-abort";
	case KMONITOR_THREAD_EXIT:
		return "thread-exit";
	case KMONITOR_PROCESS_FORK:
		return "fork";
	case KMONITOR_PROCESS_ABORT:
		return "abort";
	case KMONITOR_PROCESS_EXEC:
		return "exec";
	case KMONITOR_PROCESS_EXIT:
		return "exit";
	default:
		return "unknown";
	}
}

/* The state letter in /proc, or 0 where it shows no such task. */
static char state_letter(pid_t tid)
{
	char path[32], line[512], state;
	const char *name_end;
	size_t length;
	FILE *stat;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)tid);
	stat = fopen(path, "re");
	if (!stat)
		return 0;
	length = fread(line, 1, sizeof line - 1, stat);
	fclose(stat);
	line[length] = '\0';
	/* The command name stands in parentheses and may contain any character. */
	name_end = strrchr(line, ')');
	return name_end && sscanf(name_end + 1, " %c", &state) == 1 ? state : 0;
}

enum task_state state_of(pid_t tid)
{
	int pidfd = open_pidfd(tid), process_ended;
	char state;

	if (pidfd == -1 && kill(tid, 0) == -1 && errno == ESRCH)
		return TASK_HAS_ENDED;
	if (pidfd != -1) {
		process_ended = is_readable(pidfd);
		close(pidfd);
		if (process_ended)
			return TASK_HAS_ENDED;
	}
	state = state_letter(tid);
	if (state)
		return state == 'Z' || state == 'X' ? TASK_HAS_ENDED : TASK_RUNS;
	/* It has just gone, or it is hidden; of a thread, kill() has told all. */
	if (kill(tid, 0) == -1 && errno == ESRCH)
		return TASK_HAS_ENDED;
	return pidfd == -1 ? TASK_RUNS : TASK_IS_HIDDEN;
}

int open_pidfd(pid_t pid)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);

	/* Older kernels say EINVAL of a process that its parent is waiting for just now, too, and not only of a thread. */
	if (pidfd == -1 && errno == EINVAL && kill(pid, 0) == 0)
		errno = EINVAL;
	return pidfd;
}

pid_t process_of(pid_t tid)
{
	char path[32], line[256];
	int tgid = 0;
	FILE *status;

	snprintf(path, sizeof path, "/proc/%d/status", (int)tid);
	status = fopen(path, "re");
	if (!status)
		return 0;
	while (fgets(line, sizeof line, status))
		if (sscanf(line, "Tgid: %d", &tgid) == 1)
			break;
	fclose(status);
	return tgid;
}

void raise_signal_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_SIGPENDING, &limit) == -1)
		err(EXIT_TROUBLE, "cannot read the limit of pending signals");
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_SIGPENDING, &limit) == -1)
		err(EXIT_TROUBLE, "cannot raise the limit of pending signals");
}

long parse_number(const char *text, long max, const char *what)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(text, &end, 10);
	if (errno || end == text || *end || number < 1 || number > max)
		errx(EXIT_USAGE, "%s '%s' is not a number from 1 to %ld; see -h", what, text, max);
	return number;
}

static struct timespec now(void)
{
	struct timespec moment;

	if (clock_gettime(CLOCK_MONOTONIC, &moment) == -1)
		err(EXIT_TROUBLE, "cannot read the clock");
	return moment;
}

struct timespec parse_deadline(const char *text)
{
	struct timespec deadline = now();
	double seconds;
	char *end;

	seconds = strtod(text, &end);
	/* Written so that "nan" fails too. */
	if (end == text || *end || !(seconds >= 0 && seconds <= 1e8))
		errx(EXIT_USAGE, "'%s' is not a number of seconds from 0 to 100000000; see -h", text);
	deadline.tv_sec += (time_t)seconds;
	deadline.tv_nsec += (long)((seconds - (time_t)seconds) * 1e9);
	if (deadline.tv_nsec >= 1000000000) {
		deadline.tv_sec++;
		deadline.tv_nsec -= 1000000000;
	}
	return deadline;
}

/* Zero when the deadline has passed. */
static struct timespec time_until(const struct timespec *deadline)
{
	struct timespec left = now();

	left.tv_sec = deadline->tv_sec - left.tv_sec;
	left.tv_nsec = deadline->tv_nsec - left.tv_nsec;
	if (left.tv_nsec < 0) {
		left.tv_sec--;
		left.tv_nsec += 1000000000;
	}
	return left.tv_sec < 0 ? NO_WAIT : left;
}

int has_passed(const struct timespec *deadline)
{
	struct timespec left = time_until(deadline);

	return left.tv_sec == 0 && left.tv_nsec == 0;
}

int take_signal(const sigset_t *signals, siginfo_t *info, const struct timespec *deadline)
{
	for (;;) {
		struct timespec left;
		int signal;

		if (deadline) {
			left = time_until(deadline);
			signal = sigtimedwait(signals, info, &left);
		} else {
			signal = sigwaitinfo(signals, info);
		}
		if (signal > 0)
			return signal;
		if (errno == EAGAIN)
			return 0;
		/* Stopped and continued, or traced: the wait begins again. */
		if (errno != EINTR)
			err(EXIT_TROUBLE, "cannot wait for signals");
	}
}

int open_signals(const sigset_t *signals)
{
	int descriptor = signalfd(-1, signals, SFD_CLOEXEC);

	if (descriptor == -1)
		err(EXIT_TROUBLE, "cannot make a descriptor for signals");
	return descriptor;
}

int wait_readable(struct pollfd *descriptors, int count, const struct timespec *deadline)
{
	for (;;) {
		struct timespec left;
		int ready;

		if (deadline)
			left = time_until(deadline);
		ready = ppoll(descriptors, count, deadline ? &left : NULL, NULL);
		if (ready >= 0)
			return ready;
		if (errno != EINTR)
			err(EXIT_TROUBLE, "cannot wait");
	}
}

int is_readable(int descriptor)
{
	struct pollfd readable = { .fd = descriptor, .events = POLLIN };

	return wait_readable(&readable, 1, &NO_WAIT);
}

int finish_output(int status)
{
	if (ferror(stdout) || fflush(stdout) == EOF)
		err(EXIT_TROUBLE, "cannot write to standard output");
	return status;
}
