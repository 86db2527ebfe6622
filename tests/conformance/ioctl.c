/* How the device decodes a command. */
#include "suite.h"

#include <linux/fs.h>
#include <termios.h>

/*
 * The result of any command with a harmless argument (a registration of no process for no event) that is readable
 * as far as any command number can encode.
 */
static const char *with_good_pointer(unsigned long command)
{
	static char space[1 << _IOC_SIZEBITS];

	return result(sys(syscall(SYS_ioctl, open(device, O_RDWR), command, space)));
}

static const char *with_bad_pointer(unsigned long command)
{
	return result(sys(syscall(SYS_ioctl, open(device, O_RDWR), command, 8)));
}

static void say_both(unsigned long command)
{
	say("%s", with_good_pointer(command));
	say("%s", with_bad_pointer(command));
}

#define MAGIC 0xDE

CASE(cmd_numbers, "12", "the numbers that clients have compiled in", "0x400cde01, 0x400cde02")
{
	say("0x%lx", (unsigned long)KMONITOR_IOW_REGISTER);
	say("0x%lx", (unsigned long)KMONITOR_IOW_DEREGISTER);
}
CASE(cmd_register, "9 12 16", "REGISTER: 0, or EFAULT", "0, EFAULT") { say_both(KMONITOR_IOW_REGISTER); }
CASE(cmd_deregister, "9 12 19", "DEREGISTER: its own result, or EFAULT", "EINVAL, EFAULT") { say_both(KMONITOR_IOW_DEREGISTER); }
CASE(cmd_number_0, "12", "number 0 is no command", "EINVAL, EFAULT") { say_both(_IOW(MAGIC, 0, struct kmonitor_cmd)); }
CASE(cmd_number_3, "12", "number 3 is no command", "EINVAL, EFAULT") { say_both(_IOW(MAGIC, 3, struct kmonitor_cmd)); }
CASE(cmd_number_255, "12", "number 255 is no command", "EINVAL, EFAULT") { say_both(_IOW(MAGIC, 255, struct kmonitor_cmd)); }
CASE(cmd_other_magic, "12", "another magic is another command", "EINVAL, EFAULT") { say_both(_IOW(0xDF, 1, struct kmonitor_cmd)); }
CASE(cmd_direction_none, "9 12", "the direction counts: _IO", "EINVAL, EFAULT") { say_both(_IO(MAGIC, 1)); }
CASE(cmd_direction_read, "9 12", "the direction counts: _IOR", "EINVAL, EFAULT") { say_both(_IOR(MAGIC, 1, struct kmonitor_cmd)); }
CASE(cmd_direction_both, "9 12", "the direction counts: _IOWR", "EINVAL, EFAULT") { say_both(_IOWR(MAGIC, 1, struct kmonitor_cmd)); }
CASE(cmd_size_0, "9 12", "the size counts: 0", "EINVAL, EFAULT") { say_both(_IOC(_IOC_WRITE, MAGIC, 1, 0)); }
CASE(cmd_size_4, "9 12", "the size counts: 4", "EINVAL, EFAULT") { say_both(_IOC(_IOC_WRITE, MAGIC, 1, 4)); }
CASE(cmd_size_8, "9 12", "the size counts: 8", "EINVAL, EFAULT") { say_both(_IOC(_IOC_WRITE, MAGIC, 1, 8)); }
CASE(cmd_size_16, "9 12", "the size counts: 16", "EINVAL, EFAULT") { say_both(_IOC(_IOC_WRITE, MAGIC, 1, 16)); }
CASE(cmd_size_64, "9 12", "the size counts: 64", "EINVAL, EFAULT") { say_both(_IOC(_IOC_WRITE, MAGIC, 2, 64)); }
CASE(cmd_zero, "9 12", "command 0", "EINVAL, EFAULT") { say_both(0); }
CASE(cmd_all_ones, "9 12", "command 0xffffffff", "EINVAL, EFAULT") { say_both(0xffffffffUL); }
CASE(cmd_tcgets, "9 12", "a terminal's command is not ENOTTY", "EINVAL, EFAULT") { say_both(TCGETS); }
CASE(cmd_tiocgwinsz, "9 12", "another terminal's command", "EINVAL, EFAULT") { say_both(TIOCGWINSZ); }
CASE(cmd_fionread, "9 12", "FIONREAD reaches the driver", "EINVAL, EFAULT") { say_both(FIONREAD); }
CASE(cmd_fibmap, "9 12", "FIBMAP reaches the driver", "EINVAL, EFAULT") { say_both(FIBMAP); }

CASE(ioctl_tty, "12", "isatty() is told EINVAL", "0 EINVAL")
{
	int fd = open(device, O_RDWR), yes = isatty(fd);

	say("%d %s", yes, strerrorname_np(errno));
}

CASE_IF(ONLY64, cmd_upper_bits, "13", "bits 32 and up of the command are ignored", "0, 0, EINVAL")
{
	struct kmonitor_cmd cmd = { .type = FORK };
	int fd = open(device, O_RDWR);

	say_result(sys(syscall(SYS_ioctl, fd, KMONITOR_IOW_REGISTER | (unsigned long)(1ULL << 32), &cmd)));
	say_result(sys(syscall(SYS_ioctl, fd, KMONITOR_IOW_DEREGISTER | (unsigned long)(0xffffffffULL << 32), &cmd)));
	say_result(sys(ioctl(fd, KMONITOR_IOW_DEREGISTER, &cmd)));
}

CASE(cmd_deregister_bad_size, "12", "a wrong DEREGISTER leaves the registration alone", "EINVAL, FORK:child")
{
	struct puppet *target = puppet("target");
	struct kmonitor_cmd cmd = { target->pid, FORK, SIG };

	watch(me, target, FORK);
	say_result(sys(ioctl((int)open_device(me, O_RDWR), _IOC(_IOC_WRITE, MAGIC, 2, 16), &cmd)));
	forks(target, 1);
	say_events(me, 1);
}

/* ---- Commands that the kernel keeps for itself ---- */

CASE(generic_fioclex, "8", "FIOCLEX and FIONCLEX set and clear close-on-exec", "0, 1, 0, 0")
{
	int fd = open(device, O_RDWR);

	say_result(sys(ioctl(fd, FIOCLEX, 8)));
	say("%d", fcntl(fd, F_GETFD));
	say_result(sys(ioctl(fd, FIONCLEX, 8)));
	say("%d", fcntl(fd, F_GETFD));
}
CASE(generic_fionbio, "8", "FIONBIO sets O_NONBLOCK", "0, on, EFAULT")
{
	int fd = open(device, O_RDWR), yes = 1;

	say_result(sys(ioctl(fd, FIONBIO, &yes)));
	say("%s", fcntl(fd, F_GETFL) & O_NONBLOCK ? "on" : "off");
	say_result(sys(ioctl(fd, FIONBIO, 8)));
}
CASE(generic_fioasync, "7 8", "FIOASYNC: the file cannot", "ENOTTY, 0")
{
	int fd = open(device, O_RDWR), yes = 1, no = 0;

	say_result(sys(ioctl(fd, FIOASYNC, &yes)));
	say_result(sys(ioctl(fd, FIOASYNC, &no)));
}

CASE(ioctl_closed_fd, "9", "a closed descriptor is noticed before the pointer", "EBADF, EBADF")
{
	int fd = open(device, O_RDWR);

	close(fd);
	say_result(sys(ioctl(fd, KMONITOR_IOW_REGISTER, 8)));
	say_result(sys(ioctl(-1, KMONITOR_IOW_DEREGISTER, 8)));
}
