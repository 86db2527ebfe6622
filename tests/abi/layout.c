/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Prints where siginfo_t keeps what. `check` builds it with and without our
 * headers; both must say the same.
 */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>

struct align_probe {
	char first;
	siginfo_t info;
};

#define SHOW(member)                                                                  \
	printf("%s offset=%u size=%u\n", #member, (unsigned)offsetof(siginfo_t, member), \
	       (unsigned)sizeof(((siginfo_t *)0)->member))

int main(void)
{
	printf("siginfo_t size=%u align=%u\n", (unsigned)sizeof(siginfo_t),
	       (unsigned)offsetof(struct align_probe, info));
	SHOW(si_signo);
	SHOW(si_errno);
	SHOW(si_code);
	SHOW(si_pid);
	SHOW(si_uid);
	SHOW(si_value);
	SHOW(si_int);
	SHOW(si_ptr);
	SHOW(si_timerid);
	SHOW(si_overrun);
	SHOW(si_status);
	SHOW(si_utime);
	SHOW(si_stime);
	SHOW(si_addr);
	SHOW(si_addr_lsb);
	SHOW(si_lower);
	SHOW(si_upper);
	SHOW(si_pkey);
	SHOW(si_band);
	SHOW(si_fd);
	SHOW(si_call_addr);
	SHOW(si_syscall);
	SHOW(si_arch);
	return 0;
}
