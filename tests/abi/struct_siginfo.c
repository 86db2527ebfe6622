/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A handler declared as in 2004, with `struct siginfo`, and one declared as
 * POSIX has it: both must be the type of sa_sigaction.
 */
#ifdef SIGNAL_FIRST
#include <signal.h>
#endif
#include <linux/kmonitor.h>

#include <signal.h>
#include <string.h>

static volatile sig_atomic_t subject;

static void old_handler(int signum, struct siginfo *info, void *context)
{
	(void)signum;
	(void)context;
	if (info->si_code == SI_QUEUE && info->si_int == KMONITOR_PROCESS_EXIT)
		subject = info->si_pid;
}

static void posix_handler(int signum, siginfo_t *info, void *context)
{
	old_handler(signum, info, context);
}

int main(void)
{
	struct sigaction action;
	struct siginfo info;

	memset(&info, 0, sizeof info);
	memset(&action, 0, sizeof action);
	action.sa_flags = SA_SIGINFO;
	action.sa_sigaction = posix_handler;
	if (sigaction(SIGRTMIN, &action, NULL) == -1)
		return 1;
	action.sa_sigaction = old_handler;
	if (sigaction(SIGRTMIN, &action, NULL) == -1)
		return 1;
	action.sa_sigaction(SIGRTMIN, &info, NULL);
	return subject;
}
