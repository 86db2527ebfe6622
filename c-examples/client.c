/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* PF_EXITING in the flags of /proc/PID/stat: set before the exit event, unlike the state Z. */
#define FLAG_EXITING 0x4

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

int task_is_ending(pid_t tid)
{
	char path[32], line[512], state;
	unsigned flags;
	const char *name_end;
	size_t length;
	FILE *stat;

	/* Where /proc hides the processes of others, kill() still tells who exists. */
	if (kill(tid, 0) == -1 && errno == ESRCH)
		return 1;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)tid);
	stat = fopen(path, "re");
	if (!stat)
		return kill(tid, 0) == -1 && errno == ESRCH;
	length = fread(line, 1, sizeof line - 1, stat);
	fclose(stat);
	line[length] = '\0';
	/* The command name stands in parentheses and may contain any character. */
	name_end = strrchr(line, ')');
	if (!name_end || sscanf(name_end + 1, " %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
		return 1;
	return state == 'Z' || state == 'X' || (flags & FLAG_EXITING) != 0;
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
