/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "common.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

static const char help[] =
	"usage: storm DEVICE COUNT\n"
	"A target forks COUNT children as fast as it can. Each fork must be signalled\n"
	"once, in order, with the whole siginfo. Exit status 0: so it was.\n";

/* Not root, so that si_uid has something to tell. */
#define TARGET_UID 65534

static pid_t *children;

static void fork_all(int go, int count)
{
	char byte;
	int i;

	must(setresuid(TARGET_UID, TARGET_UID, TARGET_UID) == 0);
	must(read(go, &byte, 1) == 1);
	for (i = 0; i < count; i++) {
		pid_t child = fork();

		must(child != -1);
		if (child == 0)
			_exit(0);
		children[i] = child;
	}
	while (wait(NULL) > 0)
		;
	_exit(0);
}

static int is_right(const siginfo_t *info, pid_t child)
{
	return info->si_signo == SIGRTMIN && info->si_code == SI_QUEUE && info->si_errno == 0 &&
	       info->si_pid == child && info->si_uid == TARGET_UID && info->si_int == KMONITOR_PROCESS_FORK &&
	       info->si_ptr == (void *)KMONITOR_PROCESS_FORK;
}

static void complain(int number, const siginfo_t *info)
{
	printf("signal %d: signo %d code %d errno %d pid %d uid %u int %#x, and fork %d made %d\n", number,
	       info->si_signo, info->si_code, info->si_errno, (int)info->si_pid, (unsigned)info->si_uid,
	       (unsigned)info->si_int, number, (int)children[number]);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int argc, char *argv[])
{
	int count, device, go[2], status, seen, i, wrong = 0;
	siginfo_t *infos;
	double begin, end;
	pid_t target;

	check_usage(argc, argv, 3, help);
	count = positive(argv[2], help);
	children = mmap(NULL, (count + 1) * sizeof *children, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	infos = calloc(count + 1, sizeof *infos);
	must(children != MAP_FAILED && infos);
	prepare_signals();
	must(pipe(go) == 0);
	target = fork_helper();
	if (target == 0)
		fork_all(go[0], count);

	device = open(argv[1], O_RDWR);
	must(device != -1);
	must(command(device, KMONITOR_IOW_REGISTER, target, KMONITOR_PROCESS_FORK, SIGRTMIN) == 0);
	begin = seconds();
	must(write(go[1], "", 1) == 1);
	for (seen = 0; seen < count && next_signal(&infos[seen], 10000); seen++)
		;
	end = seconds();

	/* All has happened and all is signalled when DEREGISTER returns. */
	must(waitpid(target, &status, 0) == target && status == 0);
	must(command(device, KMONITOR_IOW_DEREGISTER, target, KMONITOR_PROCESS_FORK, 0) == 0);
	seen += next_signal(&infos[count], 0) != 0;
	for (i = 0; i < seen; i++) {
		if (!is_right(&infos[i], children[i]) && wrong++ < 5)
			complain(i, &infos[i]);
	}
	printf("%d forks, %d signals in %.0f ms, %d of them wrong\n", count, seen, 1e3 * (end - begin), wrong);
	return seen != count || wrong;
}
