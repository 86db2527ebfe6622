/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "common.h"

#include <pthread.h>
#include <sys/syscall.h>

static const char help[] =
	"usage: threads execute|new\n"
	"A target with a second thread, whose id it prints.\n"
	"execute: at a line of input the second thread executes cat. new: at a line of\n"
	"input a thread is made that executes cat as its first deed.\n";

static void say_tid(void)
{
	printf("%d\n", (int)syscall(SYS_gettid));
	fflush(stdout);
}

static void wait_for_line(void)
{
	char byte;

	/* Unbuffered: what follows is cat's. */
	do
		must(read(STDIN_FILENO, &byte, 1) == 1);
	while (byte != '\n');
}

static void *execute(void *wait)
{
	if (wait) {
		say_tid();
		wait_for_line();
	}
	execlp("cat", "cat", (char *)NULL);
	err(2, "cannot execute cat");
}

int main(int argc, char *argv[])
{
	int new = argc == 2 && strcmp(argv[1], "new") == 0;
	pthread_t thread;

	check_usage(argc, argv, 2, help);
	if (!new && strcmp(argv[1], "execute") != 0)
		refuse_usage(help);
	if (new) {
		say_tid();
		wait_for_line();
	}
	must(pthread_create(&thread, NULL, execute, new ? NULL : &thread) == 0);
	for (;;)
		pause();
}
