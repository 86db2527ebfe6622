/* What puppets can be told to do, and the short forms in which cases say it. */
#include "suite.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

/* ---- The device ---- */

/* The descriptor that a process uses when none is named. */
static int default_fd = -1;

/* All that a process has open, so that targets need not hold the monitor's files. */
static int device_fds[32];
static int device_count;

static void remember(int fd)
{
	default_fd = fd;
	if (device_count < (int)(sizeof device_fds / sizeof device_fds[0]))
		device_fds[device_count++] = fd;
}

void device_forget(void)
{
	for (int i = 0; i < device_count; i++)
		close(device_fds[i]);
	device_count = 0;
	default_fd = -1;
}

static int fd_of(long arg)
{
	return arg == DEFAULT_FD ? default_fd : (int)arg;
}

long act_open(const long *arg)
{
	int fd = open(device, (int)arg[0], 0600);

	if (fd < 0)
		return -errno;
	remember(fd);
	return fd;
}

long act_dup(const long *arg)
{
	int fd = dup(fd_of(arg[0]));

	if (fd >= 0)
		remember(fd);
	return sys(fd);
}

long act_close(const long *arg)
{
	int fd = fd_of(arg[0]);

	if (fd == default_fd)
		default_fd = -1;
	for (int i = 0; i < device_count; i++)
		if (device_fds[i] == fd)
			device_fds[i--] = device_fds[--device_count];
	return sys(close(fd));
}

static void remember_registrant(pid_t tid)
{
	for (int i = 0; i < shared->registered; i++)
		if (shared->registrants[i] == tid)
			return;
	if (shared->registered < (int)(sizeof shared->registrants / sizeof shared->registrants[0]))
		shared->registrants[shared->registered++] = tid;
}

static long act_register(const long *arg)
{
	struct kmonitor_cmd cmd = { (pid_t)arg[1], (int)arg[2], (int)arg[3] };

	remember_registrant(gettid());
	return sys(ioctl(fd_of(arg[0]), KMONITOR_IOW_REGISTER, &cmd));
}

static long act_deregister(const long *arg)
{
	struct kmonitor_cmd cmd = { (pid_t)arg[1], (int)arg[2], 0 };

	return sys(ioctl(fd_of(arg[0]), KMONITOR_IOW_DEREGISTER, &cmd));
}

static long act_watch(const long *arg)
{
	long fd = default_fd;

	if (fd < 0)
		fd = act_open((const long[4]){ O_RDWR });
	return fd < 0 ? fd : act_register((const long[4]){ fd, arg[0], arg[1], SIG });
}

long open_device(struct puppet *p, int flags)
{
	return on(p, act_open, flags);
}

long register_on(struct puppet *p, long fd, pid_t pid, int mask, int sig)
{
	return on(p, act_register, fd, pid, mask, sig);
}

long deregister_on(struct puppet *p, long fd, pid_t pid, int mask)
{
	return on(p, act_deregister, fd, pid, mask);
}

long close_fd(struct puppet *p, long fd)
{
	return on(p, act_close, fd);
}

void watch_pid(struct puppet *p, pid_t pid, int mask)
{
	long r = on(p, act_watch, pid, mask);

	if (!r)
		return;
	say("%s cannot watch: %s", name_of(p->pid), result(r));
	_exit(0);
}

void watch(struct puppet *p, struct puppet *target, int mask)
{
	watch_pid(p, target->pid, mask);
}

struct puppet *monitor(const char *name)
{
	struct puppet *p = puppet(name);

	need(open_device(p, O_RDWR) >= 0);
	return p;
}

/* ---- Processes ---- */

long act_fork_exit(const long *arg)
{
	pid_t pid = 0;

	for (long i = 0; i < arg[0]; i++) {
		pid = fork();
		if (!pid)
			_exit(0);
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			return -errno;
	}
	return pid;
}

pid_t forks(struct puppet *p, int n)
{
	long pid = on(p, act_fork_exit, n);

	if (pid < 0) {
		say("%s cannot fork: %s", name_of(p->pid), result(pid));
		_exit(0);
	}
	name_pid((pid_t)pid, "child");
	return (pid_t)pid;
}

long act_vfork_exit(const long *arg)
{
	pid_t pid = vfork();

	(void)arg;
	if (!pid)
		_exit(0);
	return pid > 0 && waitpid(pid, NULL, 0) == pid ? pid : -errno;
}

long act_wait(const long *arg)
{
	int status = 0;

	return waitpid((pid_t)arg[0], &status, 0) < 0 ? -errno : status;
}

long act_exit(const long *arg)
{
	_exit((int)arg[0]);
}

long act_exit_task(const long *arg)
{
	return syscall(SYS_exit, arg[0]);
}

long act_die_by(const long *arg)
{
	sigset_t none;

	signal((int)arg[0], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	return sys(kill(getpid(), (int)arg[0]));
}

static void *end_at_once(void *arg)
{
	*(pid_t *)arg = gettid();
	return NULL;
}

long act_thread_exit(const long *arg)
{
	pid_t tid = 0;

	for (long i = 0; i < arg[0]; i++) {
		pthread_t thread;
		int error = pthread_create(&thread, NULL, end_at_once, &tid);

		if (error)
			return -error;
		pthread_join(thread, NULL);
	}
	return tid;
}

/* ---- Exec ---- */

/* The new program goes on with the caller's slot, and says hello in place of an answer. */
static char **puppet_args(long slot)
{
	static char number[16];
	static char *argv[] = { "conformance", "--puppet", number, NULL };

	snprintf(number, sizeof number, "%ld", slot);
	return argv;
}

long act_exec(const long *arg)
{
	/* not /proc/self: that has no program once the main thread has ended */
	return sys(execve("/proc/thread-self/exe", puppet_args(arg[0]), environ));
}

long act_exec_fd(const long *arg)
{
	char **argv = puppet_args(arg[0]), path[64];
	long result = sys(execveat((int)arg[1], "", argv, environ, AT_EMPTY_PATH));

	if (result != -ENOENT)
		return result;
	/* Debian's 5.10.223 says that of every descriptor (docs/kernels.md) */
	snprintf(path, sizeof path, "/proc/thread-self/fd/%d", (int)arg[1]);
	return sys(execve(path, argv, environ));
}

long act_exec_script(const long *arg)
{
	char program[200], text[256];
	ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
	int fd = memfd_create("script", 0);

	if (n < 0 || fd < 0)
		return -errno;
	program[n] = 0;
	n = snprintf(text, sizeof text, "#!%s --puppet\n", program);
	if (write(fd, text, (size_t)n) != n)
		return -errno;
	return act_exec_fd((const long[4]){ arg[0], fd });
}

long act_exec_fail(const long *arg)
{
	(void)arg;
	return sys(execve("/dev/null/none", puppet_args(0), environ));
}

void exec_self(struct puppet *p)
{
	need(on(p, act_exec, p->slot) > 0);
}

int setuid_program(void)
{
	static const char *const places[] = { "/tmp", "/var/tmp", "/root", "." };
	char path[64];
	struct stat program;
	int from = open("/proc/self/exe", O_RDONLY), to = -1;
	struct statvfs place;
	off_t done = 0;

	for (size_t i = 0; to < 0 && i < sizeof places / sizeof places[0]; i++) {
		if (statvfs(places[i], &place) || place.f_flag & (ST_NOSUID | ST_NOEXEC | ST_RDONLY))
			continue;
		snprintf(path, sizeof path, "%s/conformance.XXXXXX", places[i]);
		to = mkstemp(path);
	}
	need(from >= 0 && to >= 0 && fstat(from, &program) == 0);
	while (done < program.st_size) {
		char block[65536];
		ssize_t n = read(from, block, sizeof block);

		need(n > 0 && write(to, block, (size_t)n) == n);
		done += n;
	}
	need(fchown(to, 0, 0) == 0 && fchmod(to, 04755) == 0);
	close(to);
	to = open(path, O_PATH);	/* a program open for writing cannot be executed */
	unlink(path);
	close(from);
	return to;
}

/* ---- Credentials and signals ---- */

long act_setresuid(const long *arg)
{
	return sys(setresuid((uid_t)arg[0], (uid_t)arg[1], (uid_t)arg[2]));
}

void become(struct puppet *p, uid_t uid)
{
	need(on(p, act_setresuid, uid, uid, uid) == 0);
}

long act_setsid(const long *arg)
{
	(void)arg;
	return setsid() < 0 ? -errno : 0;
}

long act_unblock(const long *arg)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, (int)arg[0]);
	return sys(sigprocmask(SIG_UNBLOCK, &set, NULL));
}

long act_ignore(const long *arg)
{
	return signal((int)arg[0], SIG_IGN) == SIG_ERR ? -errno : 0;
}

/* ---- Passing the descriptor ---- */

/* PASS_FD and the next are a socket pair that all processes of the case have. */
static long act_send_fd(const long *arg)
{
	int fd = fd_of(arg[0]);
	char byte = 0;
	union { struct cmsghdr header; char space[CMSG_SPACE(sizeof fd)]; } control = { 0 };
	struct iovec data = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control,
	};

	control.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	return sendmsg(PASS_FD, &message, 0) == 1 ? 0 : -errno;
}

static long act_receive_fd(const long *arg)
{
	int fd;
	char byte;
	union { struct cmsghdr header; char space[CMSG_SPACE(sizeof fd)]; } control;
	struct iovec data = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control,
	};

	(void)arg;
	if (recvmsg(PASS_FD + 1, &message, 0) != 1 || message.msg_controllen < CMSG_LEN(sizeof fd))
		return -errno;
	memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
	remember(fd);
	return fd;
}

void send_fd(struct puppet *sender, long fd)
{
	need(on(sender, act_send_fd, fd) == 0);
}

long receive_fd(struct puppet *receiver)
{
	long fd = on(receiver, act_receive_fd);

	need(fd >= 0);
	return fd;
}
