/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "rounds.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>

static const char help[] =
	"usage: confined DEVICE\n"
	"A monitor that has given up all system calls but ioctl, close, the wait for\n"
	"signals, and to write and exit, watches a target.\n"
	"Exit status 0: every event was signalled, once and in order.\n";

#define ALLOW(number)                                                                   \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),                              \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void confine(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(SYS_ioctl),
		ALLOW(SYS_close),
		ALLOW(SYS_rt_sigtimedwait),
		ALLOW(SYS_write),
		ALLOW(SYS_exit_group),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog filter = { sizeof code / sizeof *code, code };

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

int main(int argc, char *argv[])
{
	struct target target;
	siginfo_t info;
	int device, i;

	check_usage(argc, argv, 2, help);
	round_of = "confined";
	prepare_signals();
	setvbuf(stdout, NULL, _IONBF, 0);
	target = start_target();
	device = open_or_fail(argv[1]);
	confine();
	register_events(device, target.pid, KMONITOR_PROCESS_FORK | KMONITOR_PROCESS_EXIT);
	must(write(target.go, "", 1) == 1);
	for (i = 0; i < FORKS; i++)
		if (!next_signal(&info, 10000) || info.si_int != KMONITOR_PROCESS_FORK)
			fail("no fork after %d", i);
	if (!next_signal(&info, 10000) || info.si_int != KMONITOR_PROCESS_EXIT)
		fail("no exit");
	if (command(device, KMONITOR_IOW_DEREGISTER, target.pid, 0x7f, 0))
		fail("DEREGISTER failed");
	must(close(device) == 0);
	must(write(STDOUT_FILENO, "all came\n", 9) == 9);
	_exit(0);
}
