/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "common.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

static const char help[] =
	"usage: soak DEVICE SECONDS MONITORS\n"
	"A storm of forks and threads on all processors, among it 25 targets a monitor\n"
	"that keep account of what they create. Each of their forks, new threads and\n"
	"exits must be signalled once, those of one target in order, to the one of the\n"
	"monitors that watches it. In the middle of the time it says \"half\" and waits\n"
	"for a line; half a second later some of the targets end.\n"
	"\n"
	"Prints how many signals came, how many are missing, and how many came that\n"
	"nobody accounts for; exit status 0: all exits came, and nothing unaccounted\n"
	"for.\n";

/* Each target of a monitor has a signal of its own. */
enum { MOST_MONITORS = 80, EACH = 25, MOST_TARGETS = MOST_MONITORS * EACH, FEW_TARGETS = 100 };
enum { MORTAL = 20, NOISE = 2, MOST = 1 << 17 };
enum { MOST_SIGNALS = 1 << 22 };

struct account {
	int count;
	struct { int subject, event; } created[MOST];
};

static struct shared {
	volatile int watching, die, stop, over;
	volatile int full;
	int signals, missing, unaccounted, exits;
	volatile pid_t thread[MOST_TARGETS];
	struct account accounts[MOST_TARGETS];
} *shared;

/* A pipe, closed when the storm begins. */
static int begin[2];

static void *say_tid(void *at)
{
	*(volatile pid_t *)at = syscall(SYS_gettid);
	return NULL;
}

static void note(struct account *account, int subject, int event)
{
	if (account->count == MOST) {
		shared->full = 1;
		return;
	}
	account->created[account->count].subject = subject;
	account->created[account->count].event = event;
	account->count++;
}

static void fork_once(struct account *account)
{
	pid_t child = vfork();

	if (child == 0)
		_exit(0);
	must(child > 0);
	if (account)
		note(account, child, KMONITOR_PROCESS_FORK);
	must(waitpid(child, NULL, 0) == child);
}

static void thread_once(struct account *account, volatile pid_t *tid)
{
	pthread_t thread;

	must(pthread_create(&thread, NULL, say_tid, (void *)tid) == 0);
	must(pthread_join(thread, NULL) == 0);
	if (account)
		note(account, *tid, KMONITOR_THREAD_CREATE);
}

static void target(int number, int targets)
{
	/* More than some dozens at work at once would only wait for a processor. */
	const int pause = (targets - FEW_TARGETS) * 100;
	struct account *account = &shared->accounts[number];
	char none;

	/* Until nobody can write any more. */
	must(close(begin[1]) == 0 && read(begin[0], &none, 1) == 0);
	while (!shared->stop && !(number < MORTAL && shared->die) && !shared->full) {
		fork_once(account);
		thread_once(account, &shared->thread[number]);
		if (pause > 0)
			usleep(pause);
	}
	_exit(0);
}

static void noise(void)
{
	pid_t tid;

	must(close(begin[1]) == 0);
	while (!shared->stop) {
		fork_once(NULL);
		thread_once(NULL, &tid);
	}
	_exit(0);
}

static double now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

struct heard {
	int signal, subject, event;
};

/* What was heard must be the targets' accounts; what is skipped in them is missing. */
static void judge(const struct heard *heard, int count, const struct account *accounts, const pid_t *targets)
{
	int next[EACH] = { 0 }, ended[EACH] = { 0 }, missing = 0, unaccounted = 0, exits = 0, i;

	for (i = 0; i < count; i++) {
		int number = heard[i].signal - SIGRTMIN, at;
		const struct account *account = &accounts[number];

		if (heard[i].event == KMONITOR_PROCESS_EXIT && heard[i].subject == targets[number] &&
		    !ended[number]) {
			exits += ended[number] = 1;
			continue;
		}
		for (at = next[number]; at < account->count; at++) {
			if (account->created[at].subject == heard[i].subject &&
			    account->created[at].event == heard[i].event)
				break;
		}
		if (at == account->count || ended[number]) {
			unaccounted++;
		} else {
			missing += at - next[number];
			next[number] = at + 1;
		}
	}
	for (i = 0; i < EACH; i++)
		missing += accounts[i].count - next[i];
	__sync_fetch_and_add(&shared->signals, count);
	__sync_fetch_and_add(&shared->missing, missing);
	__sync_fetch_and_add(&shared->unaccounted, unaccounted);
	__sync_fetch_and_add(&shared->exits, exits);
}

static void monitor(const char *path, const struct account *accounts, const pid_t *targets)
{
	struct heard *heard = mmap(NULL, MOST_SIGNALS * sizeof *heard, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int device = open(path, O_RDWR | O_CLOEXEC), count = 0, i;
	siginfo_t info;

	must(heard != MAP_FAILED && device != -1 && close(begin[1]) == 0);
	/* All monitors of a user share one limit of pending signals: none may fall far behind the storm. */
	must(setpriority(PRIO_PROCESS, 0, -20) == 0);
	for (i = 0; i < EACH; i++)
		must(command(device, KMONITOR_IOW_REGISTER, targets[i],
			     KMONITOR_PROCESS_FORK | KMONITOR_THREAD_CREATE | KMONITOR_PROCESS_EXIT,
			     SIGRTMIN + i) == 0);
	__sync_fetch_and_add(&shared->watching, 1);
	for (;;) {
		int over = shared->over;

		if (next_signal(&info, 5000)) {
			must(count < MOST_SIGNALS);
			heard[count++] = (struct heard){ info.si_signo, info.si_pid, info.si_int };
		} else if (over) {
			break;
		}
	}
	judge(heard, count, accounts, targets);
	_exit(0);
}

int main(int argc, char *argv[])
{
	pid_t helpers[MOST_TARGETS + NOISE], monitors[MOST_MONITORS];
	int watching, targets;
	double since, seconds;
	siginfo_t info;
	int i;

	check_usage(argc, argv, 4, help);
	seconds = positive(argv[2], help);
	watching = positive(argv[3], help);
	if (watching > MOST_MONITORS)
		errx(2, "at most %d monitors", MOST_MONITORS);
	targets = watching * EACH;
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	must(shared != MAP_FAILED && pipe(begin) == 0);
	prepare_signals();
	for (i = 0; i < targets + NOISE; i++) {
		helpers[i] = fork_helper();
		if (helpers[i] == 0 && i < targets)
			target(i, targets);
		else if (helpers[i] == 0)
			noise();
	}
	for (i = 0; i < watching; i++) {
		monitors[i] = fork_helper();
		if (monitors[i] == 0)
			monitor(argv[1], &shared->accounts[i * EACH], &helpers[i * EACH]);
	}
	while (shared->watching < watching)
		usleep(1000);

	since = now();
	must(close(begin[1]) == 0);
	usleep(seconds / 2 * 1e6);
	must(puts("half") != EOF && fflush(stdout) == 0);
	usleep(500000);
	shared->die = 1;
	/* The storm goes on until the reader of "half" has done what it wants to. */
	must(getchar() == '\n');
	while (now() - since < seconds)
		usleep(1000);
	shared->stop = 1;
	for (i = 0; i < targets + NOISE; i++)
		must(waitid(P_PID, helpers[i], &info, WEXITED | WNOWAIT) == 0);
	shared->over = 1;
	for (i = 0; i < watching; i++)
		must(waitpid(monitors[i], NULL, 0) == monitors[i]);
	/* Not before: whoever is given a target's number is a target. */
	while (wait(NULL) > 0)
		;
	if (shared->full)
		errx(2, "too long: a target's account is full");
	printf("%d signals, %d missing, %d unaccounted for, %d of %d exits\n", shared->signals, shared->missing,
	       shared->unaccounted, shared->exits, targets);
	return shared->exits != targets || shared->unaccounted;
}
