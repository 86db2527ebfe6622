/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "rounds.h"

#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static const char help[] =
	"usage: asynchronous DEVICE ROUNDS\n"
	"Reads, writes, polls and closes the device through io_uring, in the caller and in\n"
	"the kernel's worker threads, and reads through the AIO system calls, while a target\n"
	"is watched. The registration ends with the asynchronous close.\n"
	"Exit status 0: nothing is read or written, poll says ready, and every event was\n"
	"signalled.\n";

static struct {
	int fd;
	unsigned *sq_tail, *sq_array, *cq_head, *cq_tail;
	unsigned sq_mask, cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
} ring;

static void set_up_ring(void)
{
	struct io_uring_params params = { 0 };
	char *sq, *cq;

	ring.fd = syscall(SYS_io_uring_setup, 8, &params);
	if (ring.fd == -1)
		err(2, "this kernel has no io_uring, or it is switched off (kernel.io_uring_disabled)");
	must(fcntl(ring.fd, F_SETFD, FD_CLOEXEC) == 0);
	sq = mmap(NULL, params.sq_off.array + params.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd,
		  IORING_OFF_SQ_RING);
	cq = mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof *ring.cqes, PROT_READ | PROT_WRITE,
		  MAP_SHARED, ring.fd, IORING_OFF_CQ_RING);
	ring.sqes = mmap(NULL, params.sq_entries * sizeof *ring.sqes, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd,
			 IORING_OFF_SQES);
	must(sq != MAP_FAILED && cq != MAP_FAILED && ring.sqes != MAP_FAILED);
	ring.sq_tail = (unsigned *)(sq + params.sq_off.tail);
	ring.sq_array = (unsigned *)(sq + params.sq_off.array);
	ring.sq_mask = *(unsigned *)(sq + params.sq_off.ring_mask);
	ring.cq_head = (unsigned *)(cq + params.cq_off.head);
	ring.cq_tail = (unsigned *)(cq + params.cq_off.tail);
	ring.cq_mask = *(unsigned *)(cq + params.cq_off.ring_mask);
	ring.cqes = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
}

/* The result of one operation. */
static int through_ring(int opcode, int flags, int device, void *buffer, unsigned length, unsigned events)
{
	unsigned tail = *ring.sq_tail, head;
	struct io_uring_sqe *sqe = &ring.sqes[tail & ring.sq_mask];

	memset(sqe, 0, sizeof *sqe);
	sqe->opcode = opcode;
	sqe->flags = flags;
	sqe->fd = device;
	sqe->addr = (unsigned long)buffer;
	sqe->len = length;
	sqe->poll32_events = events;
	ring.sq_array[tail & ring.sq_mask] = tail & ring.sq_mask;
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
	must(syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
	head = *ring.cq_head;
	must(__atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE) != head);
	__atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
	return ring.cqes[head & ring.cq_mask].res;
}

static int through_aio(int opcode, int device, void *buffer, unsigned length)
{
	struct iocb request = { .aio_lio_opcode = opcode, .aio_fildes = device,
				.aio_buf = (unsigned long)buffer, .aio_nbytes = length }, *requests = &request;
	aio_context_t context = 0;
	struct io_event event;
	int result = 1;

	must(syscall(SYS_io_setup, 1, &context) == 0);
	if (syscall(SYS_io_submit, context, 1, &requests) == -1)
		result = -errno;
	else if (syscall(SYS_io_getevents, context, 1, 1, &event, NULL) == 1)
		result = event.res;
	must(syscall(SYS_io_destroy, context) == 0);
	return result;
}

static void fails(const char *what, int result)
{
	if (result >= 0)
		fail("%s gave %d", what, result);
}

/* At the end of a regular file, as FUSE has one, the kernel answers itself. */
static void reads_nothing(const char *what, int result)
{
	if (result > 0)
		fail("%s gave %d", what, result);
}

static void one_round(const char *path, int flags)
{
	struct target target = start_target();
	int device = open_or_fail(path), result;
	char buffer[12] = { 0 };

	register_events(device, target.pid, KMONITOR_PROCESS_FORK | KMONITOR_PROCESS_EXIT);
	must(write(target.go, "", 1) == 1);
	reads_nothing("IORING_OP_READ", through_ring(IORING_OP_READ, flags, device, buffer, sizeof buffer, 0));
	fails("IORING_OP_WRITE", through_ring(IORING_OP_WRITE, flags, device, buffer, sizeof buffer, 0));
	fails("IORING_OP_FSYNC", through_ring(IORING_OP_FSYNC, flags, device, NULL, 0, 0));
	result = through_ring(IORING_OP_POLL_ADD, flags, device, NULL, 0, POLLIN);
	if (result <= 0 || !(result & POLLIN))
		fail("IORING_OP_POLL_ADD gave %d", result);
	reads_nothing("IOCB_CMD_PREAD", through_aio(IOCB_CMD_PREAD, device, buffer, sizeof buffer));
	fails("IOCB_CMD_PWRITE", through_aio(IOCB_CMD_PWRITE, device, buffer, sizeof buffer));
	must(wait_for(target.pid, NULL) == target.pid);
	close(target.go);
	result = through_ring(IORING_OP_CLOSE, flags, device, NULL, 0, 0);
	if (result)
		fail("IORING_OP_CLOSE: %s", strerror(-result));
	/* A worker thread may close a character device after it has said so. */
	expect_all(&target, 10000);
}

int main(int argc, char *argv[])
{
	int round;

	check_usage(argc, argv, 3, help);
	round_of = "asynchronous";
	prepare_signals();
	set_up_ring();
	for (round = 0; round < atoi(argv[2]); round++) {
		one_round(argv[1], 0);
		one_round(argv[1], IOSQE_ASYNC);
	}
	printf("%d rounds\n", 2 * round);
	return 0;
}
