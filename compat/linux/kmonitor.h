/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The ioctl interface of /dev/kmonitor: be told by a signal what another
 * process does.
 *
 * A registration belongs to the calling thread and names one target by its
 * thread id (a process id is the id of its main thread). The signal arrives
 * with si_code SI_QUEUE, the event's bit in si_int, the subject's id in si_pid
 * and the subject's real user id in si_uid.
 */
#ifndef KMONITOR_LINUX_KMONITOR_H
#define KMONITOR_LINUX_KMONITOR_H

#include <sys/ioctl.h>
#include <sys/types.h>

/*
 * Event bits. The first column says whose id is matched against the target,
 * the second what si_pid names.
 *
 *                                         matched           si_pid    */
#define KMONITOR_THREAD_CREATE 0x01     /* creating thread   new thread */
#define KMONITOR_THREAD_ABORT  0x02     /* accepted; the 2004 driver never sent it */
#define KMONITOR_THREAD_EXIT   0x04     /* ending thread     the same; never a main thread */
#define KMONITOR_PROCESS_FORK  0x08     /* forking thread    new process */
#define KMONITOR_PROCESS_ABORT 0x10     /* accepted; the 2004 driver never sent it */
#define KMONITOR_PROCESS_EXEC  0x20     /* main thread       the same; sent after success */
#define KMONITOR_PROCESS_EXIT  0x40     /* main thread       the same; other threads may live on */

struct kmonitor_cmd {
	pid_t pid;      /* the target */
	int type;       /* event bits, any number of them */
	int signal;     /* the signal to be sent; DEREGISTER does not look at it */
};

/* Adds the bits to the caller's registration of the target and sets its signal. */
#define KMONITOR_IOW_REGISTER   _IOW(0xDE, 1, struct kmonitor_cmd)

/* Takes the bits away; a registration without bits is gone. EINVAL: there is none. */
#define KMONITOR_IOW_DEREGISTER _IOW(0xDE, 2, struct kmonitor_cmd)

#endif
