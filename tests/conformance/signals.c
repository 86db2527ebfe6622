/* What is sent, and what becomes of it: any signal number, any disposition. */
#include "suite.h"

#include <limits.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

/* What a fork of the target looks like with this signal number. */
static void fork_with(int sig)
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	say_result(reg(me, target->pid, FORK, sig));
	forks(target, 1);
	say_rest(me);
}

CASE(sig_rtmin, "36 37", "the first real-time signal", "0, FORK:child") { fork_with(SIGRTMIN); }
CASE(sig_rtmax, "36 37", "the last real-time signal", "0, FORK:child sig=RTMIN+30") { fork_with(SIGRTMAX); }
CASE(sig_usr1, "36 37", "a classic signal carries the same information", "0, FORK:child sig=USR1") { fork_with(SIGUSR1); }
CASE(sig_io, "36 37", "SIGIO is nothing special", "0, FORK:child sig=POLL") { fork_with(SIGIO); }
CASE(sig_segv, "36 37", "nor is SIGSEGV", "0, FORK:child sig=SEGV") { fork_with(SIGSEGV); }
CASE(sig_1, "36 37", "signal 1", "0, FORK:child sig=HUP") { fork_with(1); }
CASE(sig_zero, "38", "signal 0 is silently nothing", "0, nothing") { fork_with(0); }
CASE(sig_negative, "38", "a negative signal is silently nothing", "0, nothing") { fork_with(-1); }
CASE(sig_int_min, "38", "INT_MIN is silently nothing", "0, nothing") { fork_with(INT_MIN); }
CASE(sig_65, "38", "signal 65 is silently nothing", "0, nothing") { fork_with(65); }
CASE(sig_huge, "38", "INT_MAX is silently nothing", "0, nothing") { fork_with(INT_MAX); }
CASE(sig_wraps, "38", "a number whose low byte is a signal is silently nothing", "0, nothing") { fork_with(0x100 + SIGUSR1); }

/* The C library keeps 32 and 33 for itself and out of every set; the kernel does not. */
static long act_await_raw(const long *arg)
{
	uint64_t set = 1ULL << (arg[0] - 1);
	siginfo_t info;

	if (syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, sizeof set))
		return -errno;
	tell((struct puppet *)arg[1], act_fork_exit, 1);
	return sys(syscall(SYS_rt_sigtimedwait, &set, &info, &(struct { long s, ns; }){ 5, 0 }, sizeof set));
}

CASE(sig_32, "37", "signal 32, which the C library hides, is sent like any other", "0, 32")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	say_result(reg(me, target->pid, FORK, 32));
	say_result(on(me, act_await_raw, 32, (long)target));
}

/* ---- siginfo ---- */

CASE(info_complete, "36", "every field of siginfo", "signo=RTMIN+0, code=-1, errno=0, pid=child, uid=0, int=8, upper half=0")
{
	struct puppet *target = puppet("target");
	sigset_t set;
	siginfo_t info;

	memset(&info, 0xff, sizeof info);
	sigemptyset(&set);
	sigaddset(&set, SIG);
	watch(me, target, FORK);
	forks(target, 1);
	need(sigtimedwait(&set, &info, &(struct timespec){ 5, 0 }) == SIG);
	say("signo=%s", signal_name(info.si_signo));
	say("code=%d", info.si_code);
	say("errno=%d", info.si_errno);
	say("pid=%s", name_of(info.si_pid));
	say("uid=%u", info.si_uid);
	say("int=%d", info.si_int);
	say("upper half=%lx", (unsigned long)((uint64_t)(uintptr_t)info.si_ptr >> 32));
}

static volatile sig_atomic_t handled;
static siginfo_t handled_info;

static void handler(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	handled_info = *info;
	handled++;
}

static long act_handle(const long *arg)
{
	struct sigaction how = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART };

	return sys(sigaction((int)arg[0], &how, NULL)) ?: act_unblock(arg);
}

static long act_await_handled(const long *arg)
{
	for (int ms = 0; handled < arg[0] && ms < 5000; ms++)
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	return handled;
}

CASE(info_handler, "36 37", "a handler gets the same information, as the published example expects", "1, EXIT bit, target, code=-1")
{
	struct puppet *target = puppet("target");

	on(me, act_handle, SIG);
	watch(me, target, EXIT);
	tell(target, act_exit, 0);
	say_result(on(me, act_await_handled, 1));
	say("%s", handled_info.si_int == EXIT ? "EXIT bit" : "another value");
	say("%s", name_of(handled_info.si_pid));
	say("code=%d", handled_info.si_code);
}
CASE(info_signalfd, "36 37", "and so does a signalfd", "FORK bit, child, uid=0, code=-1, upper half=0")
{
	struct puppet *target = puppet("target");
	struct signalfd_siginfo info;
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIG);
	fd = signalfd(-1, &set, 0);
	watch(me, target, FORK);
	forks(target, 1);
	need(read(fd, &info, sizeof info) == sizeof info);
	say("%s", info.ssi_int == FORK ? "FORK bit" : "another value");
	say("%s", name_of((pid_t)info.ssi_pid));
	say("uid=%u", info.ssi_uid);
	say("code=%d", info.ssi_code);
	say("upper half=%lx", (unsigned long)(info.ssi_ptr >> 32));
}
CASE(info_kinds, "23 36", "each kind shows its one bit", "8 child, 1 thread, 32 target, 64 target")
{
	struct puppet *target = puppet("target");
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIG);
	watch(me, target, ALL);
	forks(target, 1);
	name_pid((pid_t)on(target, act_thread_exit, 1), "thread");
	exec_self(target);
	end(target);
	for (int i = 0; i < 4; i++) {
		siginfo_t info;

		need(sigtimedwait(&set, &info, &(struct timespec){ 5, 0 }) == SIG);
		say("%d %s", info.si_int, name_of(info.si_pid));
	}
}

/* ---- Dispositions ---- */

/* What becomes of a monitor process when the target forks. */
static void fate_of_monitor(struct puppet *watcher, struct puppet *target, int sig, char state)
{
	need(reg(watcher, target->pid, FORK, sig) == 0);
	forks(target, 1);
	settle();
	await_state(watcher->pid, state);
}

static void say_death(struct puppet *p)
{
	int status;

	need(waitpid(p->pid, &status, 0) == p->pid);
	say("killed by %s", WIFSIGNALED(status) ? signal_name(WTERMSIG(status)) : "nothing");
}

CASE(act_default_realtime, "37", "unblocked and unhandled, a real-time signal kills the monitor", "killed by RTMIN+0")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher");

	on(watcher, act_unblock, SIG);
	fate_of_monitor(watcher, target, SIG, 'Z');
	say_death(watcher);
}
CASE(act_sigkill, "37", "SIGKILL can be asked for", "killed by KILL")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher");

	fate_of_monitor(watcher, target, SIGKILL, 'Z');
	say_death(watcher);
}
CASE(act_sigstop, "37", "so can SIGSTOP", "stopped, 0")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher");

	fate_of_monitor(watcher, target, SIGSTOP, 'T');
	say("stopped");
	kill(watcher->pid, SIGCONT);
	say_result(dereg(watcher, target->pid, FORK));
}
CASE(act_sigcont, "37", "and SIGCONT wakes a stopped monitor", "awake")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher");

	need(reg(watcher, target->pid, FORK, SIGCONT) == 0);
	kill(watcher->pid, SIGSTOP);
	await_state(watcher->pid, 'T');
	forks(target, 1);
	await_state(watcher->pid, 'S');
	say("awake");
}
CASE(act_ignored, "37", "an ignored signal is lost", "nothing, FORK:child sig=RTMIN+1")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher");

	watch(watcher, target, FORK);
	on(watcher, act_unblock, SIG);
	on(watcher, act_ignore, SIG);
	forks(target, 1);
	say("%s", rest(watcher));
	need(reg(watcher, target->pid, 0, SIG + 1) == 0);
	forks(target, 1);
	say("%s", rest(watcher));
}
CASE(act_default_ignored, "37", "a signal ignored by default is lost when unblocked", "nothing")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher");

	need(reg(watcher, target->pid, FORK, SIGURG) == 0);
	on(watcher, act_unblock, SIGURG);
	forks(target, 1);
	say("%s", rest(watcher));
}
CASE(act_stopped_monitor, "37", "a stopped monitor finds its signals later", "FORK:child, FORK:child, EXIT:target")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher");

	on(watcher, act_unblock, SIGCONT);
	watch(watcher, target, ALL);
	kill(watcher->pid, SIGSTOP);
	await_state(watcher->pid, 'T');
	forks(target, 1);
	forks(target, 1);
	end(target);
	settle();
	kill(watcher->pid, SIGCONT);
	say("%s", rest(watcher));
}
CASE(act_handler_many, "37", "a handler runs once for each event", "20")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher");

	on(watcher, act_handle, SIG);
	watch(watcher, target, FORK);
	forks(target, 20);
	say_result(on(watcher, act_await_handled, 20));
}

static struct kmonitor_cmd handler_command;
static int handler_fd;

static void deregistering_handler(int sig)
{
	(void)sig;
	handled += ioctl(handler_fd, KMONITOR_IOW_DEREGISTER, &handler_command) == 0;
}

CASE(act_handler_deregisters, "19 37", "a handler may deregister", "1, nothing")
{
	struct puppet *target = puppet("target");

	handler_fd = (int)open_device(me, O_RDWR);
	handler_command = (struct kmonitor_cmd){ target->pid, FORK, SIG };
	signal(SIG, deregistering_handler);
	watch(me, target, FORK);
	on(me, act_unblock, SIG);
	forks(target, 1);
	say_result(on(me, act_await_handled, 1));
	forks(target, 1);
	settle();
	say("%s", handled == 1 ? "nothing" : "again");
}

/* ---- Queueing ---- */

CASE(sig_rt_queue, "37", "a real-time signal queues one entry an event, in order", "FORK:first, FORK:second, EXEC:target, EXIT:target")
{
	struct puppet *target = puppet("target");

	watch(me, target, ALL);
	name_pid(forks(target, 1), "first");
	name_pid(forks(target, 1), "second");
	exec_self(target);
	end(target);
	say_rest(me);
}
CASE(sig_nonrt_coalesce, "37", "a classic signal coalesces while pending; the first event stays", "FORK:first sig=USR2")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	need(reg(me, target->pid, ALL, SIGUSR2) == 0);
	name_pid(forks(target, 1), "first");
	name_pid(forks(target, 1), "second");
	end(target);
	say_rest(me);
}
CASE(sig_nonrt_again_after_taken, "37", "once taken, the next event is signalled again", "FORK:first sig=USR2, EXIT:target sig=USR2")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	need(reg(me, target->pid, ALL, SIGUSR2) == 0);
	name_pid(forks(target, 1), "first");
	say_events(me, 1);
	end(target);
	say_events(me, 1);
}
CASE(sig_two_numbers, "16 37", "two targets with two numbers: the lower number is taken first", "EXIT:b, FORK:child sig=RTMIN+4")
{
	struct puppet *a = puppet("a"), *b = puppet("b");

	open_device(me, O_RDWR);
	need(reg(me, a->pid, FORK, SIG + 4) == 0 && reg(me, b->pid, EXIT, SIG) == 0);
	forks(a, 1);
	end(b);
	say_rest(me);
}
CASE(sig_queue_survives_exec, "37", "queued signals survive the monitor's exec", "FORK:first, FORK:second")
{
	struct puppet *target = puppet("target"), *watcher = monitor("watcher");

	watch(watcher, target, FORK);
	name_pid(forks(target, 1), "first");
	name_pid(forks(target, 1), "second");
	settle();
	exec_self(watcher);
	say("%s", rest(watcher));
}
CASE(sig_kept_after_dereg, "34", "DEREGISTER does not withdraw what is queued", "0, FORK:child")
{
	struct puppet *target = puppet("target");

	watch(me, target, FORK);
	forks(target, 1);
	settle();
	say_result(dereg(me, target->pid, FORK));
	say_rest(me);
}
CASE(sig_kept_after_close, "34", "nor does close", "0, FORK:child")
{
	struct puppet *target = puppet("target");

	watch(me, target, FORK);
	forks(target, 1);
	settle();
	say_result(close_device(me));
	say_rest(me);
}

/* ---- The limit of the queue ---- */

static long act_limit_queue(const long *arg)
{
	struct rlimit limit = { (rlim_t)arg[0], (rlim_t)arg[0] };

	return sys(setrlimit(RLIMIT_SIGPENDING, &limit));
}

/* A user of its own has only its own signals in its queue. */
static struct puppet *watcher_with_room_for(int n)
{
	struct puppet *watcher = monitor("watcher");

	need(on(watcher, act_limit_queue, n) == 0);
	become(watcher, 54321);
	return watcher;
}

CASE(sigpending_limit, "42", "signals beyond the limit are lost; once there is room, later ones come", "5, then 0 before the exit")
{
	struct puppet *target = puppet("target"), *watcher = watcher_with_room_for(5);
	long queued;

	watch(watcher, target, FORK | EXIT);
	forks(target, 20);
	settle();
	queued = count_of(watcher, FORK, 5);
	end(target);
	say("%ld, then %ld before the exit", queued, count_until(watcher, FORK, EXIT));
}
CASE(sigpending_limit_classic, "37 42", "a classic signal that finds the queue full is sent without its information", "signal USR1 code=0 from 0")
{
	struct puppet *target = puppet("target"), *watcher = watcher_with_room_for(0);

	need(reg(watcher, target->pid, FORK, SIGUSR1) == 0);
	forks(target, 1);
	say("%s", rest(watcher));
}
