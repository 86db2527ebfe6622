//! Numbers that must not be confused with one another.

use std::fmt;

/// The id of one kernel task (`gettid(2)`), in the daemon's pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(pub i32);

/// The id of a thread group, that is of a process (`getpid(2)`). It equals the [`Tid`] of the
/// main thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tgid(pub i32);

impl Tgid {
    /// The task id of the main thread.
    pub fn leader(self) -> Tid {
        Tid(self.0)
    }
}

/// A user id as the initial user namespace counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Uid(pub u32);

impl Uid {
    /// The superuser.
    pub const ROOT: Uid = Uid(0);
    /// The kernel's overflow uid, which stands for "cannot be told" (`/proc/sys/kernel/overflowuid`).
    pub const OVERFLOW: Uid = Uid(65534);
}

/// One open file on the device, as the node numbers them: one `open(2)`, however many descriptors
/// refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandleId(pub u64);

/// One life of one process. Two processes never share an instance, also when they share a pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(pub u64);

/// Who registered: a task of one process instance. The 2004 driver keyed its table by the task id
/// alone (docs/behaviour.md, fact 14); the instance keeps a later owner of the number apart (rule R3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonitorId {
    /// The process life that the task belongs to.
    pub instance: Instance,
    /// The registering task.
    pub tid: Tid,
}

/// A signal number that can be sent: 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(i32);

impl Signal {
    /// The signal with this number, if it can be sent at all. 0, negative numbers and numbers
    /// above 64 can be registered but send nothing (docs/behaviour.md, fact 38).
    pub fn new(number: i32) -> Option<Signal> {
        (1..=64).contains(&number).then_some(Signal(number))
    }

    /// The number, for a system call.
    pub fn number(self) -> i32 {
        self.0
    }
}

/// A point in time: nanoseconds of CLOCK_MONOTONIC, the clock of the proc connector's stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub u64);

macro_rules! display_as_number {
    ($($name:ident)*) => {
        $(impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        })*
    };
}
display_as_number!(Tid Tgid Uid HandleId Signal);

#[cfg(test)]
mod tests {
    use super::Signal;

    #[test]
    fn only_numbers_the_kernel_can_send_are_signals() {
        assert_eq!(Signal::new(64).map(Signal::number), Some(64));
        for number in [0, -1, 65, i32::MAX, i32::MIN] {
            assert_eq!(Signal::new(number), None);
        }
    }
}
