/* Many registrations, many targets, many descriptors. */
#include "suite.h"

/* Process ids far beyond any that exist. */
static pid_t far_pid(int i) { return 1500000000 + i; }

static long act_register_many(const long *arg)
{
	struct kmonitor_cmd cmd = { .type = (int)arg[2], .signal = SIG };
	long done = 0;

	for (int i = 0; i < arg[1]; i++) {
		cmd.pid = far_pid(i);
		done += ioctl((int)arg[0], (unsigned long)arg[3], &cmd) == 0;
	}
	return done;
}

CASE(stress_5000_registrations, "51", "five thousand registrations neither disturb nor double others", "5000, FORK:child, 5000, 0")
{
	struct puppet *target = puppet("target");
	long fd = open_device(me, O_RDWR);

	watch(me, target, FORK);
	say_result(on(me, act_register_many, fd, 5000, EXIT, KMONITOR_IOW_REGISTER));
	forks(target, 1);
	say_rest(me);
	say_result(on(me, act_register_many, fd, 5000, EXIT, KMONITOR_IOW_DEREGISTER));
	say_result(on(me, act_register_many, fd, 5000, EXIT, KMONITOR_IOW_DEREGISTER));
}
CASE(stress_close_5000, "31a 51", "a close ends them all", "5000, 0")
{
	long fd = open_device(me, O_RDWR);

	say_result(on(me, act_register_many, fd, 5000, EXIT, KMONITOR_IOW_REGISTER));
	close_fd(me, fd);
	fd = open_device(me, O_RDWR);
	say_result(on(me, act_register_many, fd, 5000, EXIT, KMONITOR_IOW_DEREGISTER));
}
CASE(stress_same_registration, "16 51", "the same registration five hundred times is one", "FORK:child, 0, EINVAL")
{
	struct puppet *target = puppet("target");

	for (int i = 0; i < 500; i++)
		watch(me, target, FORK);
	forks(target, 1);
	say_rest(me);
	say_result(dereg(me, target->pid, FORK));
	say_result(dereg(me, target->pid, FORK));
}
CASE(stress_register_deregister, "16 19 51", "five hundred times registered and deregistered", "500, nothing")
{
	struct puppet *target = puppet("target");
	int good = 0;

	for (int i = 0; i < 500; i++) {
		watch(me, target, ALL);
		good += dereg(me, target->pid, ALL) == 0;
	}
	say("%d", good);
	forks(target, 1);
	say_rest(me);
}
/* Strangers may have the other numbers, now or later, and fork. */
CASE(stress_near_pids, "51", "neighbouring numbers are other targets", "FORK:child")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	for (int i = -600; i <= 600; i++)
		if (i && target->pid + i != getpid())
			need(reg(me, target->pid + i, FORK, SIG + 1) == 0);
	watch(me, target, FORK);
	forks(target, 1);
	settle();
	for (int i = -600; i <= 600; i++)
		if (i)
			dereg(me, target->pid + i, FORK);
	say("%s", rest_of_ours(me));
}
CASE(stress_same_low_bits, "51", "numbers that agree in their low bits are other targets", "FORK:child")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	for (int bit = 16; bit < 32; bit++)
		need(reg(me, (pid_t)((unsigned)target->pid ^ 1u << bit), FORK, SIG + 1) == 0);
	watch(me, target, FORK);
	forks(target, 1);
	settle();
	for (int bit = 16; bit < 32; bit++)
		need(dereg(me, (pid_t)((unsigned)target->pid ^ 1u << bit), FORK) == 0);
	say("%s", rest_of_ours(me));
}

static long act_spawn_idle(const long *arg)
{
	for (long i = 0; i < arg[0]; i++)
		if (!fork()) {
			device_forget();
			pause();
			_exit(0);
		}
	return 0;
}

/* The children of a puppet. */
static int children_of(struct puppet *parent, pid_t *child, int room)
{
	char path[64];
	int n = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", parent->pid, parent->pid);
	file = fopen(path, "r");
	need(file);
	while (n < room && fscanf(file, "%d", &child[n]) == 1)
		n++;
	fclose(file);
	return n;
}

CASE(stress_100_targets, "49 51", "a hundred targets that end at once are a hundred events", "100 of 100, nothing")
{
	struct puppet *parent = puppet("parent");
	pid_t child[100];

	on(parent, act_spawn_idle, 100);
	need(children_of(parent, child, 100) == 100);
	for (int i = 0; i < 100; i++)
		watch_pid(me, child[i], EXIT);
	for (int i = 0; i < 100; i++)
		kill(child[i], SIGKILL);
	say("%ld of 100", count_of(me, EXIT, 100));
	say_rest(me);
}
CASE(stress_1000_events, "37 49", "a thousand events wait in the queue", "1000, nothing")
{
	struct puppet *target = puppet("target");

	watch(me, target, FORK);
	forks(target, 1000);
	say("%ld", count_of(me, FORK, 1000));
	say_rest(me);
}
CASE(stress_20_monitors, "35 49", "twenty monitors, fifty events each", "1000 of 1000")
{
	struct puppet *target = puppet("target"), *watcher[20];
	long told = 0;

	for (int i = 0; i < 20; i++) {
		watcher[i] = monitor("watcher");
		watch(watcher[i], target, FORK);
	}
	forks(target, 50);
	for (int i = 0; i < 20; i++)
		told += count_of(watcher[i], FORK, 50);
	say("%ld of 1000", told);
}
