/* The device as a file: everything that is not an ioctl. */
#include "suite.h"

#include <dirent.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

static int must_open(int flags)
{
	int fd = open(device, flags);

	need(fd >= 0);
	return fd;
}

/* ---- Opening ---- */

/* Opens with the flags, and a registration through that descriptor does its work. */
static void works_with(int flags)
{
	struct puppet *target = puppet("target");
	long fd = open_device(me, flags);

	if (fd < 0) {
		say("open %s", result(fd));
		return;
	}
	say_result(register_on(me, fd, target->pid, FORK, SIG));
	forks(target, 1);
	say_events(me, 1);
	say_result(deregister_on(me, fd, target->pid, FORK));
}

CASE(open_rdonly, "3", "a read-only descriptor serves", "0, FORK:child, 0") { works_with(O_RDONLY); }
CASE(open_wronly, "3", "a write-only descriptor serves, as in the published example", "0, FORK:child, 0") { works_with(O_WRONLY); }
CASE(open_rdwr, "3", "a read-write descriptor serves", "0, FORK:child, 0") { works_with(O_RDWR); }
CASE(open_mode3, "3", "access mode 3 (neither read nor write) serves", "0, FORK:child, 0") { works_with(O_ACCMODE); }
CASE(open_nonblock, "3", "O_NONBLOCK changes nothing", "0, FORK:child, 0") { works_with(O_RDWR | O_NONBLOCK); }
CASE(open_cloexec, "3", "O_CLOEXEC changes nothing", "0, FORK:child, 0") { works_with(O_RDWR | O_CLOEXEC); }
CASE(open_append, "3", "O_APPEND changes nothing", "0, FORK:child, 0") { works_with(O_RDWR | O_APPEND); }
CASE(open_trunc, "3", "O_TRUNC changes nothing", "0, FORK:child, 0") { works_with(O_RDWR | O_TRUNC); }
CASE(open_creat, "3", "O_CREAT on the existing node changes nothing", "0, FORK:child, 0") { works_with(O_RDWR | O_CREAT); }
CASE(open_sync, "3", "O_SYNC changes nothing", "0, FORK:child, 0") { works_with(O_RDWR | O_SYNC); }
CASE(open_noctty_nofollow, "3", "O_NOCTTY and O_NOFOLLOW change nothing", "0, FORK:child, 0")
{
	works_with(O_RDWR | O_NOCTTY | O_NOFOLLOW);
}

CASE(open_excl, "3", "O_CREAT|O_EXCL: the node exists", "EEXIST") { say_result(open_device(me, O_RDWR | O_CREAT | O_EXCL)); }
CASE(open_directory, "3", "it is no directory", "ENOTDIR") { say_result(open_device(me, O_RDONLY | O_DIRECTORY)); }
CASE(open_direct, "3", "O_DIRECT is refused", "EINVAL") { say_result(open_device(me, O_RDWR | O_DIRECT)); }

CASE(open_path, "3", "an O_PATH descriptor opens but serves nothing", "EBADF, EBADF")
{
	int fd = must_open(O_PATH);

	say_result(register_on(me, fd, getpid(), FORK, SIG));
	say_result(deregister_on(me, fd, getpid(), FORK));
}

CASE(open_nobody, "1 2", "the mode of the node alone decides who may open", "0600: EACCES, 0666: 0, FORK:child")
{
	struct puppet *target = puppet("target"), *user = puppet("user");
	struct stat before;
	long fd;

	need(stat(device, &before) == 0 && chmod(device, 0600) == 0);
	become(user, NOBODY);
	say("0600: %s", result(open_device(user, O_RDWR)));
	need(chmod(device, 0666) == 0);
	fd = open_device(user, O_RDWR);
	need(chmod(device, before.st_mode & 07777) == 0);
	say("0666: %s", result(fd < 0 ? fd : reg(user, target->pid, FORK, SIG)));
	if (fd < 0)
		return;
	forks(target, 1);
	say_events(user, 1);
}

CASE(open_then_drop_privilege, "2", "an open descriptor serves whoever holds it", "0, FORK:child, 0")
{
	struct puppet *target = puppet("target"), *user = monitor("user");

	become(user, NOBODY);
	say_result(reg(user, target->pid, FORK, SIG));
	forks(target, 1);
	say_events(user, 1);
	say_result(dereg(user, target->pid, FORK));
}

CASE(open_many, "4", "opens are unlimited", "300")
{
	int n = 0;

	while (n < 300 && open(device, O_RDWR) >= 0)
		n++;
	say("%d", n);
}

CASE(open_proc_self_fd, "4", "reopening through /proc/self/fd is a further open", "0, FORK:child, 0, 0")
{
	struct puppet *target = puppet("target");
	char path[40];
	int first = must_open(O_RDONLY), second;

	snprintf(path, sizeof path, "/proc/self/fd/%d", first);
	second = open(path, O_RDWR);
	need(second >= 0);
	say_result(register_on(me, first, target->pid, FORK, SIG));
	forks(target, 1);
	say_events(me, 1);
	say_result(deregister_on(me, second, target->pid, FORK));
	say_result(close_fd(me, first));
}

CASE(open_during_event_storm, "4 32", "opens and closes by others do not disturb a monitor", "50 of 50")
{
	struct puppet *target = puppet("target"), *other = puppet("other");

	watch(me, target, FORK);
	tell(target, act_fork_exit, 50);
	for (int i = 0; i < 50; i++)
		need(open_device(other, O_RDWR) >= 0 && close_device(other) == 0);
	answer(target);
	say("%ld of 50", count_of(me, FORK, 50));
}

/* ---- The node ---- */

CASE(fstat_type, "1", "it is a character device", "path: character device, descriptor: character device")
{
	struct stat path, file;

	need(stat(device, &path) == 0 && fstat(must_open(O_RDWR), &file) == 0);
	say("path: %s", S_ISCHR(path.st_mode) ? "character device" : S_ISREG(path.st_mode) ? "regular file" : "other");
	say("descriptor: %s", S_ISCHR(file.st_mode) ? "character device" : S_ISREG(file.st_mode) ? "regular file" : "other");
}

CASE(fstat_rdev, "1", "its number is 10:221", "10:221")
{
	struct stat file;

	need(fstat(must_open(O_RDWR), &file) == 0);
	if (S_ISCHR(file.st_mode) && (major(file.st_rdev) != 10 || minor(file.st_rdev) != 221))
		say("another number");
	else
		say("%u:%u", major(file.st_rdev), minor(file.st_rdev));
}

CASE(node_chmod, "1", "the administrator sets mode and owner of the node", "0, 0640, 0, 65534, 0")
{
	struct stat before, after;

	need(stat(device, &before) == 0);
	say_result(sys(chmod(device, 0640)));
	need(stat(device, &after) == 0);
	say("%04o", after.st_mode & 07777);
	say_result(sys(chown(device, NOBODY, before.st_gid)));
	need(stat(device, &after) == 0);
	say("%u", after.st_uid);
	say_result(sys(chown(device, before.st_uid, before.st_gid)));
	need(chmod(device, before.st_mode & 07777) == 0);
}

/* ---- No data path ---- */

static char buffer[64];

CASE(read_rdonly, "5", "read on a readable descriptor", "EINVAL") { say_result(sys(read(must_open(O_RDONLY), buffer, 12))); }
CASE(read_wronly, "5", "read on a write-only descriptor", "EBADF") { say_result(sys(read(must_open(O_WRONLY), buffer, 12))); }
CASE(read_zero, "5", "read of nothing", "EINVAL") { say_result(sys(read(must_open(O_RDWR), buffer, 0))); }
CASE(write_wronly, "5", "write on a writable descriptor", "EINVAL") { say_result(sys(write(must_open(O_WRONLY), buffer, 12))); }
CASE(write_rdonly, "5", "write on a read-only descriptor", "EBADF") { say_result(sys(write(must_open(O_RDONLY), buffer, 12))); }
CASE(write_zero, "5", "write of nothing", "EINVAL") { say_result(sys(write(must_open(O_RDWR), buffer, 0))); }
CASE(read_nonblock, "5", "O_NONBLOCK does not make read a matter of trying again", "EINVAL")
{
	say_result(sys(read(must_open(O_RDONLY | O_NONBLOCK), buffer, 12)));
}
CASE(read_bad_pointer, "5", "read and write look at no pointer", "EINVAL, EINVAL")
{
	int fd = must_open(O_RDWR);

	say_result(sys(syscall(SYS_read, fd, 1, 12)));
	say_result(sys(syscall(SYS_write, fd, 1, 12)));
}
CASE(readv_writev, "5", "vectors are no other way in", "EINVAL, EINVAL")
{
	struct iovec part = { buffer, 12 };
	int fd = must_open(O_RDWR);

	say_result(sys(readv(fd, &part, 1)));
	say_result(sys(writev(fd, &part, 1)));
}
CASE(pread_pwrite, "5", "positioned access neither", "EINVAL, EINVAL")
{
	int fd = must_open(O_RDWR);

	say_result(sys(pread(fd, buffer, 12, 0)));
	say_result(sys(pwrite(fd, buffer, 12, 0)));
}
CASE(lseek_ops, "5", "there is no position", "ESPIPE, ESPIPE, ESPIPE")
{
	int fd = must_open(O_RDWR);

	say_result(sys(lseek(fd, 0, SEEK_SET)));
	say_result(sys(lseek(fd, 0, SEEK_CUR)));
	say_result(sys(lseek(fd, 0, SEEK_END)));
}
CASE(lseek_bad_whence, "5", "an unknown whence is noticed first", "EINVAL") { say_result(sys(lseek(must_open(O_RDWR), 0, 99))); }

static long map(int flags)
{
	return mmap(NULL, 4096, PROT_READ, flags, must_open(O_RDWR), 0) == MAP_FAILED ? -errno : 0;
}

CASE(mmap_ops, "5", "it cannot be mapped", "shared: ENODEV, private: ENODEV")
{
	say("shared: %s", result(map(MAP_SHARED)));
	say("private: %s", result(map(MAP_PRIVATE)));
}
CASE(fsync_truncate, "5", "there is nothing to sync or cut", "fsync: EINVAL, fdatasync: EINVAL, ftruncate: EINVAL")
{
	int fd = must_open(O_RDWR);

	say("fsync: %s", result(sys(fsync(fd))));
	say("fdatasync: %s", result(sys(fdatasync(fd))));
	say("ftruncate: %s", result(sys(ftruncate(fd, 0))));
}
CASE(fallocate_ops, "5", "nor to allocate", "ENODEV") { say_result(sys(fallocate(must_open(O_RDWR), 0, 0, 10))); }
CASE(getdents_ops, "5", "it is not a directory to read", "ENOTDIR")
{
	say_result(sys(syscall(SYS_getdents64, must_open(O_RDONLY), buffer, sizeof buffer)));
}

/* ---- Readiness ---- */

enum { EVERYTHING = POLLIN | POLLOUT | POLLPRI | POLLRDNORM | POLLWRNORM };

static void say_poll(int fd, short wanted)
{
	struct pollfd p = { .fd = fd, .events = wanted };
	int ready = poll(&p, 1, 0);

	say("%d 0x%x", ready, (unsigned)p.revents);
}

CASE(poll_idle, "6", "poll reports readable and writable at once", "1 0x145") { say_poll(must_open(O_RDWR), EVERYTHING); }
CASE(poll_nothing_asked, "6", "poll for no events reports none", "0 0x0") { say_poll(must_open(O_RDWR), 0); }
CASE(poll_after_event, "6", "an event does not change what poll says", "1 0x145, FORK:child, 1 0x145")
{
	struct puppet *target = puppet("target");
	int fd = (int)open_device(me, O_RDWR);

	watch(me, target, FORK);
	forks(target, 1);
	say_poll(fd, EVERYTHING);
	say_events(me, 1);
	say_poll(fd, EVERYTHING);
}
CASE(select_idle, "6", "select too", "2, readable, writable")
{
	int fd = must_open(O_RDWR);
	struct timeval now = { 0, 0 };
	fd_set in, out;

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(fd, &in);
	FD_SET(fd, &out);
	say("%d", select(fd + 1, &in, &out, NULL, &now));
	say("%s", FD_ISSET(fd, &in) ? "readable" : "not readable");
	say("%s", FD_ISSET(fd, &out) ? "writable" : "not writable");
}
CASE(epoll_ops, "6", "epoll refuses it, having no poll operation to wait on", "EPERM")
{
	struct epoll_event e = { .events = EPOLLIN };

	say_result(sys(epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, must_open(O_RDWR), &e)));
}

/* ---- fcntl and locks ---- */

CASE(fcntl_async, "7", "O_ASYNC is accepted and does not stick", "0, off, 0")
{
	int fd = must_open(O_RDWR);

	say_result(sys(fcntl(fd, F_SETFL, O_ASYNC)));
	say("%s", fcntl(fd, F_GETFL) & O_ASYNC ? "on" : "off");
	say_result(sys(fcntl(fd, F_SETOWN, getpid())));
}
CASE(fcntl_nonblock, "3", "O_NONBLOCK can be set later", "0, on")
{
	int fd = must_open(O_RDWR);

	say_result(sys(fcntl(fd, F_SETFL, O_NONBLOCK)));
	say("%s", fcntl(fd, F_GETFL) & O_NONBLOCK ? "on" : "off");
}
CASE(fcntl_direct, "3", "O_DIRECT cannot be set later either", "EINVAL")
{
	say_result(sys(fcntl(must_open(O_RDWR), F_SETFL, O_DIRECT)));
}
CASE(flock_ops, "7", "flock works between two opens", "0, EAGAIN, 0, 0")
{
	int first = must_open(O_RDWR), second = must_open(O_RDWR);

	say_result(sys(flock(first, LOCK_EX)));
	say_result(sys(flock(second, LOCK_EX | LOCK_NB)));
	say_result(sys(flock(first, LOCK_UN)));
	say_result(sys(flock(second, LOCK_EX | LOCK_NB)));
}
