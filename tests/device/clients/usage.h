/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Each client's answer to -h, and to arguments that it does not take. */
#ifndef USAGE_H
#define USAGE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void refuse_usage(const char *help)
{
	fputs(help, stderr);
	exit(2);
}

/* -h, or arguments that are too few or many, print the text and end the program. */
static inline void check_usage(int argc, char *argv[], int wanted, const char *help)
{
	if (argc == 2 && strcmp(argv[1], "-h") == 0) {
		fputs(help, stdout);
		exit(0);
	}
	if (argc != wanted)
		refuse_usage(help);
}

/* An argument that is a number above 0. */
static inline double positive(const char *argument, const char *help)
{
	double number = atof(argument);

	if (number <= 0)
		refuse_usage(help);
	return number;
}

#endif
