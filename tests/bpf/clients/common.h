/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the programs that the BPF source watches share. */
#ifndef COMMON_H
#define COMMON_H

#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define must(call)                                                                      \
	do {                                                                            \
		if (!(call))                                                            \
			err(2, "%s:%d: %s", __FILE__, __LINE__, #call);                 \
	} while (0)

extern char **environ;

/* Says something to the test, which waits for it. */
static inline void say(const char *word)
{
	puts(word);
	must(fflush(stdout) == 0);
}

/* Waits for the test's next line. False: it has hung up. */
static inline int heard(void)
{
	char byte;
	ssize_t got;

	do {
		got = read(0, &byte, 1);
	} while ((got == -1 && errno == EINTR) || (got == 1 && byte != '\n'));
	return got == 1;
}

#endif
