/* Where the twelve bytes of a command may lie. */
#include "suite.h"

#include <sys/mman.h>

enum { PAGE = 4096, SIZE = sizeof(struct kmonitor_cmd) };

static int device_fd;

static long try_register(const void *argument)
{
	if (!device_fd)
		device_fd = open(device, O_RDWR);
	need(device_fd > 0);
	return sys(syscall(SYS_ioctl, device_fd, KMONITOR_IOW_REGISTER, argument));
}

/* `pages` readable pages with nothing behind them. */
static char *pages(int n)
{
	char *start = mmap(NULL, (size_t)(n + 1) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	need(start != MAP_FAILED && munmap(start + n * PAGE, PAGE) == 0);
	return start;
}

static void *command_at(void *place, pid_t pid)
{
	struct kmonitor_cmd cmd = { pid, FORK, SIG };

	return memcpy(place, &cmd, sizeof cmd);
}

/* That the driver saw the whole command shows in the event. */
static void works_at(char *place)
{
	struct puppet *target = puppet("target");

	say_result(try_register(command_at(place, target->pid)));
	forks(target, 1);
	say_events(me, 1);
}

CASE(ptr_null, "9", "a null pointer", "EFAULT") { say_result(try_register(NULL)); }
CASE(ptr_low, "9", "an address in the unmapped first page", "EFAULT") { say_result(try_register((void *)8)); }
CASE(ptr_minus_one, "9", "the highest address", "EFAULT") { say_result(try_register((void *)-1L)); }
CASE(ptr_wraps, "9", "twelve bytes that wrap around the end of the address space", "EFAULT") { say_result(try_register((void *)-8L)); }
CASE(ptr_kernel, "9", "an address that belongs to the kernel", "EFAULT")
{
	say_result(try_register(sizeof(long) == 8 ? (void *)(uintptr_t)0xffffffff81000000ULL : (void *)0xfffff000UL));
}
CASE(ptr_unmapped, "9", "an unmapped page", "EFAULT") { say_result(try_register(pages(1) + PAGE)); }
CASE(ptr_prot_none, "9", "a page without access", "EFAULT")
{
	char *page = pages(1);

	need(mprotect(page, PAGE, PROT_NONE) == 0);
	say_result(try_register(page));
}
CASE(ptr_beyond_file, "9", "a mapping beyond the end of its file", "EFAULT")
{
	say_result(try_register(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, memfd_create("empty", 0), 0)));
}

CASE(ptr_misaligned, "10", "alignment does not matter", "0, FORK:child") { works_at(pages(1) + 3); }
CASE(ptr_across_pages, "10", "the command may cross a page boundary", "0, FORK:child") { works_at(pages(2) + PAGE - 5); }
CASE(ptr_12_before_end, "10", "twelve readable bytes before an unmapped page are enough", "0, FORK:child")
{
	works_at(pages(1) + PAGE - SIZE);
}
CASE(ptr_11_before_end, "10", "eleven are not", "EFAULT") { say_result(try_register(pages(1) + PAGE - SIZE + 1)); }
CASE(ptr_1_before_end, "10", "nor is one", "EFAULT") { say_result(try_register(pages(1) + PAGE - 1)); }
CASE(ptr_11_before_end_unknown, "9 10", "an unknown command fetches twelve bytes too", "EFAULT, EINVAL")
{
	char *end = pages(1) + PAGE;
	int fd = open(device, O_RDWR);

	say_result(sys(syscall(SYS_ioctl, fd, TCGETS, end - SIZE + 1)));
	say_result(sys(syscall(SYS_ioctl, fd, TCGETS, end - SIZE)));
}
CASE(ptr_size_4_before_end, "9", "a command of encoded size 4 fetches twelve bytes", "EFAULT, EFAULT, EINVAL")
{
	unsigned long command = _IOC(_IOC_WRITE, 0xDE, 1, 4);
	char *end = pages(1) + PAGE;
	int fd = open(device, O_RDWR);

	say_result(sys(syscall(SYS_ioctl, fd, command, end - 4)));
	say_result(sys(syscall(SYS_ioctl, fd, command, end - 8)));
	say_result(sys(syscall(SYS_ioctl, fd, command, end - 12)));
}
CASE(ptr_size_64_before_end, "9", "a command of encoded size 64 fetches twelve bytes", "EINVAL")
{
	say_result(sys(syscall(SYS_ioctl, open(device, O_RDWR), _IOC(_IOC_WRITE, 0xDE, 1, 64), pages(1) + PAGE - SIZE)));
}
CASE(ptr_all_ones_before_end, "9", "command 0xffffffff fetches twelve bytes", "EINVAL, EFAULT")
{
	char *end = pages(1) + PAGE;
	int fd = open(device, O_RDWR);

	say_result(sys(syscall(SYS_ioctl, fd, 0xffffffffUL, end - SIZE)));
	say_result(sys(syscall(SYS_ioctl, fd, 0xffffffffUL, end - SIZE + 1)));
}
CASE(ptr_read_direction_before_end, "9", "a read-direction command fetches twelve bytes", "EINVAL, EFAULT")
{
	unsigned long command = _IOR(0xDE, 1, struct kmonitor_cmd);
	char *end = pages(1) + PAGE;
	int fd = open(device, O_RDWR);

	say_result(sys(syscall(SYS_ioctl, fd, command, end - SIZE)));
	say_result(sys(syscall(SYS_ioctl, fd, command, end - SIZE + 1)));
}
CASE(ptr_second_page_unreadable, "10", "a command that crosses into an unreadable page", "EFAULT")
{
	char *start = pages(2);

	need(mprotect(start + PAGE, PAGE, PROT_NONE) == 0);
	say_result(try_register(start + PAGE - 5));
}
CASE(ptr_read_only, "10", "read-only memory will do", "0, FORK:child")
{
	struct puppet *target = puppet("target");
	char *page = pages(1);

	command_at(page, target->pid);
	need(mprotect(page, PAGE, PROT_READ) == 0);
	say_result(try_register(page));
	forks(target, 1);
	say_events(me, 1);
}
CASE(ptr_untouched_page, "10", "memory never touched reads as zeros: pid 0, no event", "0") { say_result(try_register(pages(1))); }
CASE(ptr_shared_file, "10", "a shared mapping of a file", "0, FORK:child")
{
	int file = memfd_create("command", 0);

	need(ftruncate(file, PAGE) == 0);
	works_at(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
}
CASE(ptr_never_written, "11", "the command is not written to, whatever comes of it", "unchanged")
{
	struct { char before[8]; struct kmonitor_cmd cmd; char after[8]; } space, copy;
	int fd = open(device, O_RDWR);

	memset(&space, 0xa5, sizeof space);
	copy = space;
	ioctl(fd, KMONITOR_IOW_REGISTER, &space.cmd);
	ioctl(fd, KMONITOR_IOW_DEREGISTER, &space.cmd);
	ioctl(fd, _IOR(0xDE, 1, struct kmonitor_cmd), &space.cmd);
	ioctl(fd, TCGETS, &space.cmd);
	say("%s", memcmp(&space, &copy, sizeof space) ? "changed" : "unchanged");
}
CASE(ptr_layout, "11", "pid, mask and signal lie at 0, 4 and 8 of 12 bytes", "0, FORK:child sig=RTMIN+3, 12")
{
	struct puppet *target = puppet("target");
	int32_t words[3] = { target->pid, FORK, SIGRTMIN + 3 };

	say_result(try_register(words));
	forks(target, 1);
	say_events(me, 1);
	say("%d", SIZE);
}
