/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "common.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <termios.h>

static const char help[] =
	"usage: unserved DEVICE\n"
	"Makes ioctls whose pointer leads into memory that nobody serves: a page that a\n"
	"userfaultfd watches, and that is never filled. The kernel fetches no argument\n"
	"for these commands, so the device must answer at once, and go on to answer\n"
	"everybody else's. Who would read that page would wait for ever.\n"
	"\n"
	"Exit status 0: each was answered with EINVAL.\n";

enum { PAGE = 4096, CALLS = 200 };

static void *unserved_page(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register watch = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	/* Of all accesses, also the kernel's, which takes root or vm.unprivileged_userfaultfd. */
	int faults = syscall(SYS_userfaultfd, O_CLOEXEC);
	void *page;

	must(faults != -1);
	must(ioctl(faults, UFFDIO_API, &api) == 0);
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(page != MAP_FAILED);
	watch.range.start = (unsigned long)page;
	watch.range.len = PAGE;
	must(ioctl(faults, UFFDIO_REGISTER, &watch) == 0);
	return page;
}

int main(int argc, char *argv[])
{
	int device, i;
	void *page;

	check_usage(argc, argv, 2, help);
	device = open(argv[1], O_RDWR | O_CLOEXEC);
	must(device != -1);
	page = unserved_page();
	for (i = 0; i < CALLS; i++)
		if (ioctl(device, TCGETS, page) != -1 || errno != EINVAL)
			err(1, "ioctl %d", i);
	printf("%d ioctls answered\n", i);
	return 0;
}
