/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "rounds.h"

#include <sys/time.h>

static const char help[] =
	"usage: interrupted DEVICE ROUNDS MICROSECONDS\n"
	"Opens, registers, deregisters and closes while a timer interrupts each system\n"
	"call several times: a handler runs so often, without SA_RESTART.\n"
	"Exit status 0: no call failed, and all events were signalled by the return of\n"
	"the call that ended their registration.\n";

static volatile long interruptions;

static void interrupt(int signal)
{
	(void)signal;
	interruptions++;
}

int main(int argc, char *argv[])
{
	struct itimerval often = { { 0 }, { 0 } };
	struct sigaction action = { .sa_handler = interrupt };
	int round;

	check_usage(argc, argv, 4, help);
	often.it_interval.tv_usec = often.it_value.tv_usec = atoi(argv[3]);
	round_of = "interrupted";
	prepare_signals();
	must(sigaction(SIGALRM, &action, NULL) == 0);
	must(setitimer(ITIMER_REAL, &often, NULL) == 0);
	for (round = 0; round < atoi(argv[2]); round++)
		monitor_round(argv[1], round % 2);
	printf("%d rounds, %ld interruptions\n", round, interruptions);
	return interruptions == 0;
}
