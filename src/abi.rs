//! `linux/kmonitor.h` in Rust: the ioctl commands, the 12-byte argument and the event bits.
//!
//! `compat/linux/kmonitor.h` is the same for C; `tests/abi` has a C compiler check that one.

use std::ops::{BitOr, BitOrAssign, Not};

/// The ioctl magic of the device.
pub const MAGIC: u8 = 0xDE;

/// Size of [`Command`] in bytes, on 32 and 64 bits alike.
pub const COMMAND_SIZE: usize = 12;

/// `KMONITOR_IOW_REGISTER`: write direction, magic 0xDE, number 1, size 12 (docs/behaviour.md, fact 12).
pub const REGISTER: u32 = nix::request_code_write!(MAGIC, 1, COMMAND_SIZE) as u32;

/// `KMONITOR_IOW_DEREGISTER`: as [`REGISTER`], with number 2.
pub const DEREGISTER: u32 = nix::request_code_write!(MAGIC, 2, COMMAND_SIZE) as u32;

/// A set of event bits. Unknown bits are kept, as the original keeps them (docs/behaviour.md, fact 20).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventMask(pub i32);

impl EventMask {
    /// A thread was created (`si_pid`: the new thread).
    pub const THREAD_CREATE: EventMask = EventMask(0x01);
    /// A thread dies of a signal. The original declares it and never sends it.
    pub const THREAD_ABORT: EventMask = EventMask(0x02);
    /// A thread other than the main thread ended.
    pub const THREAD_EXIT: EventMask = EventMask(0x04);
    /// A process was created (`si_pid`: the new process).
    pub const PROCESS_FORK: EventMask = EventMask(0x08);
    /// A process dies of a signal. The original declares it and never sends it.
    pub const PROCESS_ABORT: EventMask = EventMask(0x10);
    /// A process began another program.
    pub const PROCESS_EXEC: EventMask = EventMask(0x20);
    /// A main thread ended.
    pub const PROCESS_EXIT: EventMask = EventMask(0x40);

    /// The bits with their names in `linux/kmonitor.h`, in lower case and without `KMONITOR_`.
    const NAMES: [(EventMask, &str); 7] = [
        (EventMask::THREAD_CREATE, "thread_create"),
        (EventMask::THREAD_ABORT, "thread_abort"),
        (EventMask::THREAD_EXIT, "thread_exit"),
        (EventMask::PROCESS_FORK, "process_fork"),
        (EventMask::PROCESS_ABORT, "process_abort"),
        (EventMask::PROCESS_EXEC, "process_exec"),
        (EventMask::PROCESS_EXIT, "process_exit"),
    ];

    /// The names of the bits; of unknown ones together, a hexadecimal number.
    pub fn names(self) -> Vec<String> {
        let known = Self::NAMES.iter().filter(|(bit, _)| self.intersects(*bit));
        let unknown = Self::NAMES.iter().fold(self, |rest, (bit, _)| rest.without(*bit));
        let unknown = (!unknown.is_empty()).then(|| format!("{:#x}", unknown.0));
        known.map(|(_, name)| (*name).to_owned()).chain(unknown).collect()
    }

    /// True if no bit is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True if the two sets share a bit.
    pub fn intersects(self, other: EventMask) -> bool {
        self.0 & other.0 != 0
    }

    /// This set without the bits of `other`.
    pub fn without(self, other: EventMask) -> EventMask {
        EventMask(self.0 & !other.0)
    }
}

impl BitOr for EventMask {
    type Output = EventMask;
    fn bitor(self, other: EventMask) -> EventMask {
        EventMask(self.0 | other.0)
    }
}

impl BitOrAssign for EventMask {
    fn bitor_assign(&mut self, other: EventMask) {
        self.0 |= other.0;
    }
}

impl Not for EventMask {
    type Output = EventMask;
    fn not(self) -> EventMask {
        EventMask(!self.0)
    }
}

/// `struct kmonitor_cmd`: the argument of both ioctls. No value of it is invalid (docs/behaviour.md, fact 17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// The target: any number, whether a task has it or not.
    pub pid: i32,
    /// The events to add or to take away.
    pub events: EventMask,
    /// The signal to send; only REGISTER looks at it.
    pub signal: i32,
}

impl Command {
    /// Decodes the argument: three native 32-bit integers (docs/behaviour.md, fact 11).
    pub fn from_bytes(bytes: [u8; COMMAND_SIZE]) -> Command {
        let [p0, p1, p2, p3, e0, e1, e2, e3, s0, s1, s2, s3] = bytes;
        Command {
            pid: i32::from_ne_bytes([p0, p1, p2, p3]),
            events: EventMask(i32::from_ne_bytes([e0, e1, e2, e3])),
            signal: i32::from_ne_bytes([s0, s1, s2, s3]),
        }
    }

    /// The argument, as a client hands it over.
    pub fn to_bytes(self) -> [u8; COMMAND_SIZE] {
        let mut bytes = [0; COMMAND_SIZE];
        for (part, value) in bytes.chunks_exact_mut(4).zip([self.pid, self.events.0, self.signal]) {
            part.copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(any(target_arch = "x86", target_arch = "x86_64", target_arch = "arm", target_arch = "aarch64"))]
    fn command_numbers_are_those_of_2004() {
        assert_eq!((REGISTER, DEREGISTER), (0x400C_DE01, 0x400C_DE02));
    }

    #[test]
    fn bits_have_names() {
        assert_eq!(EventMask(0x7f).names().len(), 7);
        assert_eq!(EventMask(0x68).names(), ["process_fork", "process_exec", "process_exit"]);
        assert_eq!(EventMask(i32::MIN | 0x201).names(), ["thread_create", "0x80000200"]);
        assert!(EventMask(0).names().is_empty());
    }

    #[test]
    fn the_argument_is_pid_events_signal_in_native_order() {
        let mut bytes = [0; COMMAND_SIZE];
        bytes[..4].copy_from_slice(&(-7i32).to_ne_bytes());
        bytes[4..8].copy_from_slice(&0x48i32.to_ne_bytes());
        bytes[8..].copy_from_slice(&34i32.to_ne_bytes());
        let command = Command::from_bytes(bytes);
        assert_eq!(command.pid, -7);
        assert_eq!(command.events, EventMask::PROCESS_FORK | EventMask::PROCESS_EXIT);
        assert_eq!(command.signal, 34);
        assert_eq!(command.to_bytes(), bytes);
    }
}
