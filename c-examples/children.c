/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "children.h"

#include "client.h"

#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* How many ids are registered at once. */
#define RANGE 64

int my_commands, my_reports;

void must_register(pid_t target, int events, int signal)
{
	if (register_target(device, target, events, signal) == -1)
		err(EXIT_TROUBLE, "%s does not register %d", path, (int)target);
}

void must_deregister(pid_t target, int events)
{
	if (deregister_target(device, target, events) == -1)
		err(EXIT_TROUBLE, "%s does not deregister %d", path, (int)target);
}

pid_t last_id_given(void)
{
	pid_t pid = fork();

	if (pid == -1)
		err(EXIT_TROUBLE, "cannot fork");
	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	return pid;
}

void register_range(pid_t before, int events)
{
	int i;

	for (i = 1; i <= RANGE; i++)
		must_register(before + i, events, SIGRTMIN);
}

int narrow_range(pid_t before, int events, pid_t chosen)
{
	int i;

	for (i = 1; i <= RANGE; i++)
		if (before + i != chosen)
			must_deregister(before + i, events);
	return chosen > before && chosen <= before + RANGE;
}

/* What others did that had an id of a registered range. */
void discard_pending(void)
{
	siginfo_t info;

	while (take_signal(&signals, &info, &NO_WAIT))
		;
}

void send_byte(int fd)
{
	if (write(fd, "", 1) != 1)
		err(EXIT_TROUBLE, "cannot write to a pipe");
}

void receive_byte(int fd)
{
	char byte;

	if (read(fd, &byte, 1) == -1)
		err(EXIT_TROUBLE, "cannot read from a pipe");
}

static struct child make_child(deed *act)
{
	struct child child;
	int commands[2], reports[2];

	if (pipe2(commands, O_CLOEXEC) == -1 || pipe2(reports, O_CLOEXEC) == -1)
		err(EXIT_TROUBLE, "cannot make a pipe");
	child.pid = fork();
	if (child.pid == -1)
		err(EXIT_TROUBLE, "cannot fork");
	if (child.pid == 0) {
		/* Only the last close() of the device cleans up, and that is to be the parent's. */
		close(device);
		close(commands[1]);
		close(reports[0]);
		my_commands = commands[0];
		my_reports = reports[1];
		send_byte(my_reports);
		receive_byte(my_commands);
		act();
		_exit(0);
	}
	close(commands[0]);
	close(reports[1]);
	child.commands = commands[1];
	child.reports = reports[0];
	/* It has closed the device. */
	receive_byte(child.reports);
	return child;
}

void end_child(struct child *child)
{
	close(child->commands);
	if (waitpid(child->pid, NULL, 0) == -1)
		err(EXIT_TROUBLE, "cannot wait for the child");
	close(child->reports);
}

struct child make_foretold_child(deed *act, int events)
{
	int attempt;

	for (attempt = 0; attempt < ATTEMPTS; attempt++) {
		pid_t before = last_id_given();
		struct child child;

		register_range(before, events);
		child = make_child(act);
		if (narrow_range(before, events, child.pid)) {
			discard_pending();
			return child;
		}
		end_child(&child);
	}
	errx(EXIT_TROUBLE, "cannot foretell an id: others start too many processes");
}
