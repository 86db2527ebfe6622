/* Seeing: the words of a case, the names of its tasks, and the signals that reach its monitors. */
#include "suite.h"

#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

enum {
	AWAIT_MS = 60000,	/* for a signal that must come */
	GRACE_MS = 40,		/* for one that must not, after the sentinel's */
};

/* ---- Words ---- */

static void append(char *text, size_t size, const char *format, va_list args)
{
	size_t used = strlen(text);

	if (used && used + 2 < size)
		used += (size_t)sprintf(text + used, ", ");
	vsnprintf(text + used, size - used, format, args);
}

void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	append(shared->saw, sizeof shared->saw, format, args);
	va_end(args);
}

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	append(shared->text, sizeof shared->text, format, args);
	va_end(args);
}

_Noreturn void missing(const char *what)
{
	say("cannot go on: %s (%s)", what, strerrorname_np(errno));
	_exit(0);
}

long sys(long r)
{
	return r == -1 ? -errno : r;
}

const char *result(long r)
{
	static char number[8][24];
	static int next;
	const char *name = r < 0 ? strerrorname_np((int)-r) : NULL;

	if (name)
		return name;
	next = (next + 1) % 8;
	snprintf(number[next], sizeof number[next], "%ld", r);
	return number[next];
}

/* ---- Names ---- */

void name_pid(pid_t pid, const char *name)
{
	int i = 0;

	while (i < shared->named && shared->names[i].pid != pid)
		i++;
	if (i == (int)(sizeof shared->names / sizeof shared->names[0]))
		missing("room for another name");
	if (i == shared->named)
		shared->named++;
	shared->names[i].pid = pid;
	snprintf(shared->names[i].name, sizeof shared->names[i].name, "%s", name);
}

static const char *find_name(pid_t pid)
{
	for (int i = 0; i < shared->named; i++)
		if (shared->names[i].pid == pid)
			return shared->names[i].name;
	return NULL;
}

static bool is_named(pid_t pid) { return find_name(pid); }

const char *name_of(pid_t pid)
{
	const char *name = find_name(pid);

	return name ? name : pid ? "unnamed" : "0";
}

const char *signal_name(int sig)
{
	static char name[24];

	if (sig >= SIGRTMIN && sig <= SIGRTMAX)
		snprintf(name, sizeof name, "RTMIN+%d", sig - SIGRTMIN);
	else if (sigabbrev_np(sig))
		snprintf(name, sizeof name, "%s", sigabbrev_np(sig));
	else
		snprintf(name, sizeof name, "%d", sig);
	return name;
}

static const char *event_name(int event)
{
	switch (event) {
	case TCREATE: return "TCREATE";
	case TABORT: return "TABORT";
	case TEXIT: return "TEXIT";
	case FORK: return "FORK";
	case ABORT: return "ABORT";
	case EXEC: return "EXEC";
	case EXIT: return "EXIT";
	}
	return "unknown event";
}

/*
 * "EXIT:target".  All of the siginfo is looked at; what is as usual (signal SIG, code SI_QUEUE, errno 0, uid 0, upper
 * half of the value 0) is not mentioned.
 */
static void note_event(const siginfo_t *info)
{
	char more[128] = "";
	size_t used = 0;
	uintptr_t value = (uintptr_t)info->si_value.sival_ptr;

	if (info->si_code != SI_QUEUE) {
		note("signal %s code=%d from %s", signal_name(info->si_signo), info->si_code, name_of(info->si_pid));
		return;
	}
	if (info->si_uid)
		used += (size_t)sprintf(more + used, " uid=%u", info->si_uid);
	if (info->si_signo != SIG)
		used += (size_t)sprintf(more + used, " sig=%s", signal_name(info->si_signo));
	if (info->si_errno)
		used += (size_t)sprintf(more + used, " errno=%d", info->si_errno);
	if (value != (uintptr_t)(unsigned)info->si_int)
		sprintf(more + used, " upper half set");
	note("%s:%s%s", event_name(info->si_int), name_of(info->si_pid), more);
}

/* ---- Taking signals ---- */

/* SIGCHLD belongs to the ordinary life of a process with children. */
static sigset_t all_but_children(void)
{
	sigset_t set;

	sigfillset(&set);
	sigdelset(&set, SIGCHLD);
	return set;
}

static bool take(siginfo_t *info, int limit_ms)
{
	sigset_t set = all_but_children();
	struct timespec limit = { limit_ms / 1000, limit_ms % 1000 * 1000000L };
	int sig;

	do
		sig = sigtimedwait(&set, info, &limit);
	while (sig < 0 && errno == EINTR);
	return sig > 0;
}

static long act_take(const long *arg)
{
	siginfo_t info;
	long n = 0;

	for (; n < arg[0] && take(&info, (int)arg[1]); n++)
		note_event(&info);
	return n;
}

static const char *taken(struct puppet *p, int n, int limit_ms, long *count)
{
	shared->text[0] = 0;
	*count = on(p, act_take, n, limit_ms);
	return shared->text;
}

const char *events(struct puppet *p, int n)
{
	long count;

	taken(p, n, AWAIT_MS, &count);
	if (count < n)
		note("then nothing");
	return shared->text;
}

const char *rest(struct puppet *p)
{
	long count;

	settle();
	taken(p, 1000, GRACE_MS, &count);
	return count ? shared->text : "nothing";
}

static long act_take_ours(const long *arg)
{
	siginfo_t info;
	long n = 0;

	while (take(&info, (int)arg[0]))
		if (is_named(info.si_pid)) {
			note_event(&info);
			n++;
		}
	return n;
}

const char *rest_of_ours(struct puppet *p)
{
	settle();
	shared->text[0] = 0;
	return on(p, act_take_ours, GRACE_MS) ? shared->text : "nothing";
}

const char *pending_now(struct puppet *p)
{
	long count;

	taken(p, 1000, 0, &count);
	return count ? shared->text : "nothing";
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

const char *rest_sorted(struct puppet *p)
{
	char copy[sizeof shared->text], *item[64], *next = copy;
	size_t n = 0;

	strcpy(copy, rest(p));
	for (char *end; next && n < 64; next = end) {
		end = strstr(next, ", ");
		if (end) {
			*end = 0;
			end += 2;
		}
		item[n++] = next;
	}
	qsort(item, n, sizeof *item, by_text);
	shared->text[0] = 0;
	for (size_t i = 0; i < n; i++)
		note("%s", item[i]);
	return shared->text;
}

static long act_count(const long *arg)
{
	siginfo_t info;
	long count = 0;

	for (long i = 0; i < arg[1] && take(&info, AWAIT_MS); i++)
		count += info.si_code == SI_QUEUE && info.si_int == arg[0];
	return count;
}

long count_of(struct puppet *p, int kind, int n)
{
	return on(p, act_count, kind, n);
}

static long act_count_until(const long *arg)
{
	siginfo_t info;
	long count = 0;

	while (take(&info, AWAIT_MS)) {
		if (info.si_int == arg[1])
			return count;
		count += info.si_int == arg[0];
	}
	return -ETIME;
}

long count_until(struct puppet *p, int kind, int last)
{
	return on(p, act_count_until, kind, last);
}

static long act_count_rest(const long *arg)
{
	siginfo_t info;
	long count = 0;

	while (take(&info, (int)arg[0]))
		count++;
	return count;
}

long count_rest(struct puppet *p)
{
	settle();
	return on(p, act_count_rest, GRACE_MS);
}

/* ---- The sentinel ---- */

/*
 * A process of its own registers a child, lets it end, and waits for the signal.  Any implementation that keeps the
 * order of events has signalled everything before it by then.
 */
static bool sentinel(void)
{
	struct kmonitor_cmd cmd = { .type = EXIT, .signal = SIGRTMAX };
	int fd = open(device, O_RDWR), hold[2];
	siginfo_t info;
	bool heard = false;

	if (fd < 0 || pipe(hold) < 0)
		return false;
	cmd.pid = fork();
	if (!cmd.pid) {
		char byte;

		close(fd);
		close(hold[1]);
		_exit((int)read(hold[0], &byte, 1));
	}
	close(hold[0]);
	if (!ioctl(fd, KMONITOR_IOW_REGISTER, &cmd)) {
		close(hold[1]);
		while (!heard && take(&info, AWAIT_MS))
			heard = info.si_pid == cmd.pid && info.si_signo == SIGRTMAX;
	} else {
		close(hold[1]);
	}
	close(fd);
	waitpid(cmd.pid, NULL, 0);
	return heard;
}

static _Noreturn void keep_settling(int socket)
{
	char request;

	while (recv(socket, &request, 1, 0) == 1) {
		request = sentinel();
		send(socket, &request, 1, 0);
	}
	_exit(0);
}

void settle(void)
{
	char answer = 1;

	need(send(SETTLE_FD, &answer, 1, 0) == 1);
	need(TEMP_FAILURE_RETRY(recv(SETTLE_FD, &answer, 1, 0)) == 1);
	need(answer == 1);
}

void observe_start(void)
{
	int pair[2];
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	need(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
	need(dup2(pair[0], SETTLE_FD) == SETTLE_FD);
	if (!fork())
		keep_settling(pair[1]);
	close(pair[0]);
	close(pair[1]);
}

/* Whatever comes after a case has said its last word is spurious. */
void observe_end(void)
{
	const char *late = rest(me);

	if (strcmp(late, "nothing"))
		say("unexpected at the end: %s", late);
}
