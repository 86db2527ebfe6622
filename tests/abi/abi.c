/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The binary interface, asserted by the compiler. Reads as C89, as later C and
 * as C++, and includes the header first, twice: it needs nothing before it.
 */
#ifdef SIGNAL_FIRST
#include <signal.h>
#endif
#include <linux/kmonitor.h>
#include <linux/kmonitor.h>

#include <stddef.h>

#define GLUE(a, b) a##b
#define NAME(line) GLUE(claim_on_line_, line)
#define CLAIM(condition) typedef char NAME(__LINE__)[(condition) ? 1 : -1]

CLAIM(sizeof(struct kmonitor_cmd) == 12);
CLAIM(offsetof(struct kmonitor_cmd, pid) == 0);
CLAIM(offsetof(struct kmonitor_cmd, type) == 4);
CLAIM(offsetof(struct kmonitor_cmd, signal) == 8);
CLAIM(sizeof(((struct kmonitor_cmd *)0)->pid) == 4);
CLAIM(sizeof(((struct kmonitor_cmd *)0)->type) == 4);
CLAIM(sizeof(((struct kmonitor_cmd *)0)->signal) == 4);
CLAIM((pid_t)-1 < 0);

CLAIM(KMONITOR_THREAD_CREATE == 0x01);
CLAIM(KMONITOR_THREAD_ABORT == 0x02);
CLAIM(KMONITOR_THREAD_EXIT == 0x04);
CLAIM(KMONITOR_PROCESS_FORK == 0x08);
CLAIM(KMONITOR_PROCESS_ABORT == 0x10);
CLAIM(KMONITOR_PROCESS_EXEC == 0x20);
CLAIM(KMONITOR_PROCESS_EXIT == 0x40);

CLAIM(KMONITOR_IOW_REGISTER == _IOW(0xDE, 1, struct kmonitor_cmd));
CLAIM(KMONITOR_IOW_DEREGISTER == _IOW(0xDE, 2, struct kmonitor_cmd));
/* Alpha, MIPS, PowerPC and SPARC encode the direction otherwise. */
#if defined(__i386__) || defined(__x86_64__) || defined(__arm__) || defined(__aarch64__)
CLAIM(KMONITOR_IOW_REGISTER == 0x400CDE01UL);
CLAIM(KMONITOR_IOW_DEREGISTER == 0x400CDE02UL);
#endif

/* The numbers are usable where the preprocessor and a switch want constants. */
#if (KMONITOR_THREAD_CREATE | KMONITOR_THREAD_ABORT | KMONITOR_THREAD_EXIT | KMONITOR_PROCESS_FORK | \
     KMONITOR_PROCESS_ABORT | KMONITOR_PROCESS_EXEC | KMONITOR_PROCESS_EXIT) != 0x7f
#error "the event bits are not the seven lowest ones"
#endif

int command_number(unsigned int command);

int command_number(unsigned int command)
{
	switch (command) {
	case KMONITOR_IOW_REGISTER:
		return 1;
	case KMONITOR_IOW_DEREGISTER:
		return 2;
	default:
		return 0;
	}
}
