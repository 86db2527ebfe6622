/*
 * conformance: exercises a /dev/kmonitor through its C interface and reports in TAP how it behaves.
 *
 * It knows nothing of which implementation it talks to.  What a case expects is what the original driver shows.
 */
#include "suite.h"

#include <fnmatch.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <dirent.h>

int rounds = 200;
static int limit_seconds = 30;

extern const struct test *const __start_tests[], *const __stop_tests[];

#define each_test(entry) \
	const struct test *const *entry = __start_tests; entry < __stop_tests; entry++

static void usage(FILE *to)
{
	fprintf(to, "usage: conformance [-l] [-d DEVICE] [-t SECONDS] [-r ROUNDS] [NAME...]\n"
		"  NAME  a case, or a pattern like 'ev_*'; all cases when there is none\n"
		"  -l    list the cases: name, fact, property, claim\n"
		"  -d    the device (/dev/kmonitor)\n"
		"  -t    limit for one case in seconds (30)\n"
		"  -r    rounds of each race (200)\n");
}

static bool chosen(const struct test *t, char **patterns)
{
	for (char **p = patterns; *p; p++)
		if (!fnmatch(*p, t->name, 0))
			return true;
	return !*patterns;
}

static const char *inapplicable(const struct test *t)
{
	if (t->flags & ONLY64 && sizeof(long) == 4)
		return "needs a 64-bit register";
	return NULL;
}

static void list(char **patterns)
{
	for (each_test(t))
		if (chosen(*t, patterns))
			printf("%s\t%s\t%s\t%s\n", (*t)->name, (*t)->fact, (*t)->flags & TIMING ? "timing" : "-", (*t)->claim);
}

/* ---- Running one case ---- */

static _Noreturn void play(const struct test *t)
{
	int pair[2];

	setsid();
	need(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
	need(dup2(pair[0], PASS_FD) >= 0 && dup2(pair[1], PASS_FD + 1) >= 0);
	close(pair[0]);
	close(pair[1]);
	puppets_start();
	observe_start();
	t->run();
	observe_end();
	_exit(0);
}

static void kill_children(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc))) {
		char path[300];
		int parent = 0;
		FILE *stat;

		snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
		if (!atoi(entry->d_name) || !(stat = fopen(path, "r")))
			continue;
		if (fscanf(stat, "%*d %*[^)]) %*c %d", &parent) == 1 && parent == getpid())
			kill(atoi(entry->d_name), SIGKILL);
		fclose(stat);
	}
	if (proc)
		closedir(proc);
}

/* Whoever is left of a case has become a child of ours. */
static void clear_stage(pid_t session)
{
	pid_t pid;

	kill(-session, SIGKILL);
	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0)
		if (pid == 0) {
			kill_children();
			usleep(1000);
		}
}

/*
 * On the original, registrations that outlive their task wait for the next one with its number, which would be a
 * stranger in a later case.  They go when a task with that number closes a device.
 */
static void forget_registrant(pid_t tid)
{
	struct clone_args args = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&tid, .set_tid_size = 1 };
	long pid = syscall(SYS_clone3, &args, sizeof args);

	if (!pid) {
		close(open(device, O_RDWR));
		_exit(0);
	}
	if (pid > 0)
		waitpid((pid_t)pid, NULL, 0);
}

static void run(const struct test *t)
{
	struct pollfd ended = { .events = POLLIN };
	int status;
	pid_t pid;

	memset(&shared->saw, 0, sizeof *shared - offsetof(struct shared, saw));
	pid = fork();
	if (!pid)
		play(t);
	ended.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (poll(&ended, 1, limit_seconds * 1000) != 1) {
		kill(pid, SIGKILL);
		say("still running after %d s", limit_seconds);
		waitpid(pid, &status, 0);
	} else if (waitpid(pid, &status, 0) == pid && WIFSIGNALED(status)) {
		say("killed by signal %s", signal_name(WTERMSIG(status)));
	}
	close(ended.fd);
	clear_stage(pid);
	for (int i = 0; i < shared->registered; i++)
		forget_registrant(shared->registrants[i]);
}

static bool report(int number, const struct test *t)
{
	bool ok = !strcmp(shared->saw, t->expected);

	printf("%s %d - %s # fact %s; expected \"%s\"; saw \"%s\"\n", ok ? "ok" : "not ok", number, t->name, t->fact,
	       t->expected, shared->saw);
	return ok;
}

static int run_all(char **patterns)
{
	int planned = 0, number = 0, failed = 0, skipped = 0;

	for (each_test(t))
		planned += chosen(*t, patterns);
	printf("TAP version 13\n1..%d\n", planned);
	for (each_test(t)) {
		const char *reason = inapplicable(*t);

		if (!chosen(*t, patterns))
			continue;
		number++;
		if (reason) {
			printf("ok %d - %s # SKIP %s\n", number, (*t)->name, reason);
			skipped++;
		} else {
			run(*t);
			failed += !report(number, *t);
		}
	}
	printf("# %d cases: %d ok, %d not ok, %d skipped\n", planned, planned - failed - skipped, failed, skipped);
	return failed || !planned;
}

static void prepare(const char *path)
{
	int state = memfd_create("conformance", 0);

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (geteuid() != 0 || access(path, F_OK) || state < 0 || ftruncate(state, sizeof *shared) || dup2(state, SHARED_FD) < 0) {
		printf("Bail out! Run as root, with %s in place.\n", path);
		exit(2);
	}
	close(state);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, SHARED_FD, 0);
	snprintf(device, sizeof device, "%s", path);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

int main(int argc, char **argv)
{
	const char *path = "/dev/kmonitor";
	bool only_list = false;
	int option;

	if (argc > 2 && !strcmp(argv[1], "--puppet"))
		serve_after_exec(argc, argv);
	while ((option = getopt(argc, argv, "d:t:r:lh")) != -1)
		switch (option) {
		case 'd': path = optarg; break;
		case 't': limit_seconds = atoi(optarg); break;
		case 'r': rounds = atoi(optarg); break;
		case 'l': only_list = true; break;
		case 'h': usage(stdout); return 0;
		default: usage(stderr); return 2;
		}
	if (only_list) {
		list(argv + optind);
		return 0;
	}
	prepare(path);
	return run_all(argv + optind);
}
