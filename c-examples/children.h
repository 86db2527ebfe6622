/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Children of unit_test that are registered before they exist.
 *
 * A future id is foretold from the one that was given last: a whole range
 * behind it is registered, and once the child exists, held back, all others are
 * deregistered again.
 */
#ifndef CHILDREN_H
#define CHILDREN_H

#include <signal.h>
#include <sys/types.h>

/* How often the foretelling may fail. */
#define ATTEMPTS 20

/* The device, and the signals that it sends to the test. */
extern const char *path;
extern int device;
extern sigset_t signals;

/* These end the program when the device refuses. */
void must_register(pid_t target, int events, int signal);
void must_deregister(pid_t target, int events);

/* The id after which the next ones will be given. */
pid_t last_id_given(void);

/* Registers the ids behind it. */
void register_range(pid_t before, int events);

/* Keeps of the range the one that has come into being; false if it is not in there. */
int narrow_range(pid_t before, int events, pid_t chosen);

void discard_pending(void);

struct child {
	pid_t pid;
	int commands;	/* each byte lets the child go one step on; end of file, all steps */
	int reports;	/* a byte says that a step is done */
};

/* A child's own ends of its pipes. */
extern int my_commands, my_reports;

typedef void deed(void);

void send_byte(int fd);
void receive_byte(int fd);

/*
 * A child whose id was registered when nobody had it. It waits for a byte, does
 * its deed and exits.
 */
struct child make_foretold_child(deed *act, int events);

/* Lets the child go and waits for it. */
void end_child(struct child *child);

#endif
