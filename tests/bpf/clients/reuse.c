/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * usage: reuse PID
 *
 * For each line of its input, creates a child with this pid, which ends at
 * once, and waits for it; says "done". Takes the capabilities of clone3(2)
 * with set_tid.
 */
#define _GNU_SOURCE
#include "common.h"

#include <linux/sched.h>

int main(int argc, char *argv[])
{
	pid_t pid = argc == 2 ? atoi(argv[1]) : 0;
	struct clone_args arguments = { .exit_signal = SIGCHLD, .set_tid = (unsigned long)&pid, .set_tid_size = 1 };

	if (pid <= 0)
		errx(2, "usage: reuse PID");
	say("ready");
	while (heard()) {
		pid_t child = syscall(SYS_clone3, &arguments, sizeof arguments);

		must(child != -1);
		if (child == 0)
			_exit(0);
		must(waitpid(child, NULL, 0) == child);
		say("done");
	}
	return 0;
}
