/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * usage: exits WAY
 *
 * Says that it is ready, waits for a line, and ends in this way. With main-ends
 * another thread goes on to the next line.
 */
#define _GNU_SOURCE
#include "common.h"

#define MEMORY (256L << 20)

static void *sleeper(void *unused)
{
	pause();
	return unused;
}

static void threads(int count)
{
	pthread_t thread;

	while (count-- > 0)
		must(pthread_create(&thread, NULL, sleeper, NULL) == 0);
}

static void *becomes_cat(void *unused)
{
	heard();
	execl("/bin/cat", "cat", NULL);
	err(2, "cat");
	return unused;
}

static void *survives(void *unused)
{
	heard();
	_exit(7);
	return unused;
}

static void *begun(void *work)
{
	pthread_t thread;

	must(pthread_create(&thread, NULL, work, NULL) == 0);
	return NULL;
}

int main(int argc, char *argv[])
{
	const char *way = argc == 2 ? argv[1] : "";

	if (strcmp(way, "plain") == 0) {
		say("ready");
		heard();
	} else if (strcmp(way, "memory") == 0) {
		char *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		must(memory != MAP_FAILED);
		memset(memory, 1, MEMORY);
		say("ready");
		heard();
	} else if (strcmp(way, "group") == 0) {
		threads(50);
		say("ready");
		heard();
	} else if (strcmp(way, "thread-exec") == 0) {
		begun(becomes_cat);
		say("ready");
		pause();
	} else if (strcmp(way, "main-ends") == 0) {
		say("ready");
		heard();
		begun(survives);
		pthread_exit(NULL);
	} else {
		errx(2, "usage: exits plain|memory|group|thread-exec|main-ends");
	}
	_exit(5);
}
