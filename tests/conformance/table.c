/* The table of registrations: what REGISTER and DEREGISTER change in it. */
#include "suite.h"

#include <limits.h>

/* REGISTER and DEREGISTER of any pid succeed; the second DEREGISTER finds nothing. */
static void accepts_pid(pid_t pid)
{
	open_device(me, O_RDWR);
	say_result(reg(me, pid, EXIT, SIG));
	say_result(dereg(me, pid, EXIT));
	say_result(dereg(me, pid, EXIT));
}

CASE(reg_pid_nonexistent, "17", "a pid that nobody has is accepted", "0, 0, EINVAL") { accepts_pid(unused_pid()); }
CASE(reg_pid0, "17", "pid 0 is accepted", "0, 0, EINVAL") { accepts_pid(0); }
CASE(reg_pid_negative, "17", "a negative pid is accepted", "0, 0, EINVAL") { accepts_pid(-1); }
CASE(reg_pid_int_min, "17", "INT_MIN is accepted", "0, 0, EINVAL") { accepts_pid(INT_MIN); }
CASE(reg_pid_int_max, "17", "INT_MAX is accepted", "0, 0, EINVAL") { accepts_pid(INT_MAX); }
CASE(reg_pid_init, "17", "process 1 is accepted", "0, 0, EINVAL") { accepts_pid(1); }
CASE(reg_pid_self, "17 43", "the caller's own pid is accepted", "0, 0, EINVAL") { accepts_pid(getpid()); }

CASE(reg_pid_negative_group, "17", "a negative pid does not mean a group", "0, nothing")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	say_result(reg(me, -getpgrp(), ALL, SIG));
	forks(target, 1);
	say_rest(me);
}
CASE(reg_pid0_not_self, "17", "pid 0 does not mean the caller", "0, nothing")
{
	open_device(me, O_RDWR);
	say_result(reg(me, 0, ALL, SIG));
	forks(me, 1);
	say_rest(me);
}

/* ---- Masks ---- */

CASE(reg_type0, "18", "a registration for no event is kept, and silent", "0, nothing, 0, EINVAL")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	say_result(reg(me, target->pid, 0, SIG));
	forks(target, 1);
	say_rest(me);
	say_result(dereg(me, target->pid, 0));
	say_result(dereg(me, target->pid, 0));
}
CASE(reg_unknown_bits, "17 20", "unknown bits are accepted and never reported", "0, nothing, 0")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	say_result(reg(me, target->pid, 0x7fffff80, SIG));
	forks(target, 1);
	end(target);
	say_rest(me);
	say_result(dereg(me, target->pid, 0x7fffff80));
}
CASE(reg_all_bits, "17", "all 32 bits report what there is", "0, FORK:child, EXIT:target, 0, EINVAL")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	say_result(reg(me, target->pid, -1, SIG));
	forks(target, 1);
	end(target);
	say_events(me, 2);
	say_result(dereg(me, target->pid, -1));
	say_result(dereg(me, target->pid, -1));
}
CASE(reg_again_adds_bits, "16", "a second REGISTER adds its bits", "0, 0, FORK:child, EXIT:target")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	say_result(reg(me, target->pid, FORK, SIG));
	say_result(reg(me, target->pid, EXIT, SIG));
	forks(target, 1);
	end(target);
	say_events(me, 2);
}
CASE(reg_again_same, "14 16", "the same REGISTER twice is one registration", "0, 0, FORK:child, 0, EINVAL")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	say_result(reg(me, target->pid, FORK, SIG));
	say_result(reg(me, target->pid, FORK, SIG));
	forks(target, 1);
	say_rest(me);
	say_result(dereg(me, target->pid, FORK));
	say_result(dereg(me, target->pid, FORK));
}
CASE(reg_again_new_signal, "16", "a second REGISTER replaces the signal for all events",
     "FORK:child sig=RTMIN+1, EXIT:target sig=RTMIN+1")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	reg(me, target->pid, FORK, SIG);
	reg(me, target->pid, EXIT, SIG + 1);
	forks(target, 1);
	end(target);
	say_events(me, 2);
}
CASE(reg_mask0_new_signal, "18", "REGISTER for no event changes only the signal", "FORK:child sig=RTMIN+2")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	reg(me, target->pid, FORK, SIG);
	reg(me, target->pid, 0, SIG + 2);
	forks(target, 1);
	end(target);
	say_rest(me);
}
CASE(reg_type0_then_bits, "18", "a silent registration wakes up with its first bit", "FORK:child")
{
	struct puppet *target = puppet("target");

	open_device(me, O_RDWR);
	reg(me, target->pid, 0, SIG);
	reg(me, target->pid, FORK, SIG);
	forks(target, 1);
	say_rest(me);
}
CASE(reg_to_bad_signal_and_back, "16 38", "a registration set to an impossible signal is silent until set back", "nothing, FORK:child")
{
	struct puppet *target = puppet("target");

	watch(me, target, FORK);
	reg(me, target->pid, 0, 99);
	forks(target, 1);
	say_rest(me);
	reg(me, target->pid, 0, SIG);
	forks(target, 1);
	say_rest(me);
}

/* ---- DEREGISTER ---- */

CASE(dereg_none, "19", "DEREGISTER of what is not registered", "EINVAL")
{
	open_device(me, O_RDWR);
	say_result(dereg(me, getpid(), ALL));
}
CASE(dereg_ends_events, "19 47", "after DEREGISTER nothing comes", "FORK:child, 0, nothing")
{
	struct puppet *target = puppet("target");

	watch(me, target, FORK | EXIT);
	forks(target, 1);
	say_events(me, 1);
	say_result(dereg(me, target->pid, FORK | EXIT));
	forks(target, 1);
	end(target);
	say_rest(me);
}
CASE(dereg_some_bits, "19", "the other bits stay", "0, EXIT:target, 0, EINVAL")
{
	struct puppet *target = puppet("target");

	watch(me, target, FORK | EXIT);
	say_result(dereg(me, target->pid, FORK));
	forks(target, 1);
	end(target);
	say_rest(me);
	say_result(dereg(me, target->pid, EXIT));
	say_result(dereg(me, target->pid, EXIT));
}
CASE(dereg_more_bits, "19", "more bits than registered end it too", "0, EINVAL")
{
	struct puppet *target = puppet("target");

	watch(me, target, FORK);
	say_result(dereg(me, target->pid, ALL));
	say_result(dereg(me, target->pid, ALL));
}
CASE(dereg_other_bits, "19", "bits not registered: 0, and nothing changes", "0, FORK:child, 0, EINVAL")
{
	struct puppet *target = puppet("target");

	watch(me, target, FORK);
	say_result(dereg(me, target->pid, EXIT));
	forks(target, 1);
	say_events(me, 1);
	say_result(dereg(me, target->pid, FORK));
	say_result(dereg(me, target->pid, FORK));
}
CASE(dereg_mask0, "19", "no bits: 0, and nothing changes", "0, FORK:child, 0")
{
	struct puppet *target = puppet("target");

	watch(me, target, FORK);
	say_result(dereg(me, target->pid, 0));
	forks(target, 1);
	say_events(me, 1);
	say_result(dereg(me, target->pid, FORK));
}
CASE(dereg_mask0_inert, "19", "a registration for no event goes with any DEREGISTER", "0, EINVAL")
{
	open_device(me, O_RDWR);
	reg(me, getpid(), 0, SIG);
	say_result(dereg(me, getpid(), EXIT));
	say_result(dereg(me, getpid(), EXIT));
}
CASE(dereg_unknown_bit_left, "20", "an unknown bit keeps the registration", "0, 0, 0, EINVAL")
{
	struct puppet *target = puppet("target");

	watch(me, target, FORK | 0x100);
	say_result(dereg(me, target->pid, FORK));
	say_result(dereg(me, target->pid, FORK));
	say_result(dereg(me, target->pid, 0x100));
	say_result(dereg(me, target->pid, 0x100));
}
CASE(dereg_bit31_left, "20", "so does the sign bit", "0, 0, 0, EINVAL")
{
	open_device(me, O_RDWR);
	reg(me, getpid(), INT_MIN | EXIT, SIG);
	say_result(dereg(me, getpid(), EXIT));
	say_result(dereg(me, getpid(), 0));
	say_result(dereg(me, getpid(), INT_MIN));
	say_result(dereg(me, getpid(), INT_MIN));
}
CASE(dereg_abort_bits_left, "19 23", "the abort bits count like any other", "0, 0, EINVAL")
{
	open_device(me, O_RDWR);
	reg(me, getpid(), EXIT | ABORT | TABORT, SIG);
	say_result(dereg(me, getpid(), EXIT));
	say_result(dereg(me, getpid(), ABORT | TABORT));
	say_result(dereg(me, getpid(), ABORT | TABORT));
}
CASE(dereg_signal_ignored, "19", "DEREGISTER does not look at the signal", "0, EINVAL")
{
	struct kmonitor_cmd cmd = { getpid(), FORK, SIG };
	int fd = (int)open_device(me, O_RDWR);

	ioctl(fd, KMONITOR_IOW_REGISTER, &cmd);
	cmd.signal = -77;
	say_result(sys(ioctl(fd, KMONITOR_IOW_DEREGISTER, &cmd)));
	say_result(sys(ioctl(fd, KMONITOR_IOW_DEREGISTER, &cmd)));
}
CASE(dereg_signal_not_replaced, "19", "a partial DEREGISTER leaves the signal", "0, EXIT:target")
{
	struct puppet *target = puppet("target");
	struct kmonitor_cmd cmd = { target->pid, FORK, SIG + 5 };
	int fd = (int)open_device(me, O_RDWR);

	watch(me, target, FORK | EXIT);
	say_result(sys(ioctl(fd, KMONITOR_IOW_DEREGISTER, &cmd)));
	end(target);
	say_events(me, 1);
}
CASE(dereg_other_target, "19", "a registration of one target is not that of another", "EINVAL, FORK:child")
{
	struct puppet *target = puppet("target"), *other = puppet("other");

	watch(me, target, FORK);
	say_result(dereg(me, other->pid, FORK));
	forks(target, 1);
	say_events(me, 1);
}
CASE(dereg_after_exit, "21", "the registration of an ended target is still there", "EXIT:target, 0, EINVAL")
{
	struct puppet *target = puppet("target");

	watch(me, target, EXIT);
	end(target);
	reap(target);
	say_events(me, 1);
	say_result(dereg(me, target->pid, EXIT));
	say_result(dereg(me, target->pid, EXIT));
}
CASE(dereg_after_everything, "21 22", "neither exec nor end nor reuse of a target's number ends a registration", "0, EINVAL")
{
	struct puppet *target = puppet("target"), *successor;

	watch(me, target, EXEC | EXIT);
	exec_self(target);
	end(target);
	reap(target);
	successor = fork_as(me, target->pid, "successor");
	end(successor);
	reap(successor);
	need(!strcmp(events(me, 3), "EXEC:successor, EXIT:successor, EXIT:successor"));
	say_result(dereg(me, target->pid, EXEC | EXIT));
	say_result(dereg(me, target->pid, EXEC | EXIT));
}
CASE(dereg_then_register, "16 19", "a new registration does not remember the old bits", "EXIT:target")
{
	struct puppet *target = puppet("target");

	watch(me, target, FORK);
	dereg(me, target->pid, FORK);
	watch(me, target, EXIT);
	forks(target, 1);
	end(target);
	say_rest(me);
}
