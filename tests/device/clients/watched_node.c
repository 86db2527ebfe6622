/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "rounds.h"

#include <dirent.h>
#include <libgen.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

static const char help[] =
	"usage: watched_node DEVICE ROUNDS\n"
	"Rounds of a monitor while others watch the node by inotify and fanotify, and walk\n"
	"over it as updatedb, tar and lsof do. Needs root.\n"
	"Exit status 0: every event was signalled, and inotify told of the opens and closes.\n";

/* Looks at all that can be looked at, without opening it. */
static void walk(char *path)
{
	char copy[4096], value[256];
	struct statfs filesystem;
	struct dirent *entry;
	struct stat status;
	DIR *directory;

	for (;;) {
		strcpy(copy, path);
		directory = opendir(dirname(copy));
		must(directory);
		while ((entry = readdir(directory)))
			fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW);
		closedir(directory);
		stat(path, &status);
		statfs(path, &filesystem);
		access(path, R_OK);
		listxattr(path, value, sizeof value);
		getxattr(path, "user.none", value, sizeof value);
		readlink(path, value, sizeof value);
	}
}

int main(int argc, char *argv[])
{
	int watch, wide_watch, round, opens = 0, closes = 0;
	char events[65536] __attribute__((aligned(8)));
	struct inotify_event *event;
	ssize_t length;
	char *at;
	pid_t walker;

	check_usage(argc, argv, 3, help);
	round_of = "watched_node";
	prepare_signals();
	watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	must(watch != -1 && inotify_add_watch(watch, argv[1], IN_OPEN | IN_CLOSE) != -1);
	wide_watch = fanotify_init(FAN_CLOEXEC | FAN_NONBLOCK | FAN_CLASS_NOTIF, O_RDONLY | O_CLOEXEC);
	must(wide_watch != -1);
	/* Not its opens: fanotify opens for its reader what it tells of. */
	must(fanotify_mark(wide_watch, FAN_MARK_ADD, FAN_MODIFY | FAN_ACCESS, AT_FDCWD, argv[1]) == 0);
	walker = fork_helper();
	if (walker == 0)
		walk(argv[1]);
	for (round = 0; round < atoi(argv[2]); round++) {
		monitor_round(argv[1], round % 2);
		while ((length = read(watch, events, sizeof events)) > 0) {
			for (at = events; at < events + length; at += sizeof *event + event->len) {
				event = (struct inotify_event *)at;
				opens += (event->mask & IN_OPEN) != 0;
				closes += (event->mask & IN_CLOSE) != 0;
			}
		}
	}
	kill(walker, SIGKILL);
	/* Others may open it too. */
	if (opens < round || closes < round)
		fail("inotify told of %d opens and %d closes in %d rounds", opens, closes, round);
	printf("%d rounds\n", round);
	return 0;
}
