//! The words that the programs and we share: one of each task id. `../programs/shared.h` is the same in C.

use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;

use crate::abi::EventMask;
use crate::ids::Tid;
use crate::sys::bpf_memory::MappedWords;

/// Bits of a word.
pub(super) mod bit {
    /// Events that somebody wants of the task: the bits of [`crate::abi::EventMask`].
    pub const EVENTS: u32 = 0x7f;
    /// The end of a process.
    pub const PROCESS_ENDS: u32 = 0x50;
    /// All events of the task and of its descendants are wanted.
    pub const FOLLOW: u32 = 0x80;
    /// The task has passed the exit tracepoint; cleared when a new task gets the number.
    pub const EXITING: u32 = 0x100;
    /// With EXITING: the process ends with this task.
    pub const HOLD: u32 = 0x200;
    /// A birth on this number is of interest: it ends the wait for the last owner's death.
    pub const HELD: u32 = 0x400;
    /// We poll a pidfd of this process.
    pub const PIDFD: u32 = 0x800;
    /// With FOLLOW: there was a record of the task, its birth or that it is there.
    pub const KNOWN: u32 = 0x1000;
    /// Records that the ring had no room for.
    pub const LOST_EXEC: u32 = 0x2000;
    pub const LOST_EXIT: u32 = 0x4000;
    pub const LOST_THREAD_EXIT: u32 = 0x8000;
    pub const LOST_BIRTH: u32 = 0x10000;
    pub const LOST_CHILDREN: u32 = 0x20000;
    pub const LOST: u32 = LOST_OF_LAST_OWNER | LOST_BIRTH | LOST_CHILDREN;
    /// What the record of a birth on the number takes over.
    pub const LOST_OF_LAST_OWNER: u32 = LOST_EXEC | LOST_EXIT | LOST_THREAD_EXIT;
}

/// `PID_MAX_LIMIT` of a 64-bit kernel: no pid is this large.
pub(in crate::source) const MOST_PIDS: NonZeroUsize = NonZeroUsize::new(4 << 20).expect("more than 0");

/// The words of all numbers that a task can have.
#[derive(Debug)]
pub(super) struct Words(MappedWords);

impl Words {
    pub fn new(map: impl AsFd) -> Result<Words, Errno> {
        MappedWords::new(map, MOST_PIDS).map(Words)
    }

    /// The word of this number. `None`: no task can have it.
    pub fn get(&self, tid: Tid) -> Option<&AtomicU32> {
        let at = usize::try_from(tid.0).ok().filter(|at| *at > 0)?;
        self.0.get(at)
    }

    /// What the word is now; 0 if no task can have the number.
    pub fn load(&self, tid: Tid) -> u32 {
        self.get(tid).map_or(0, |word| word.load(Ordering::SeqCst))
    }

    /// Sets bits, and tells what was there before.
    pub fn set(&self, tid: Tid, bits: u32) -> u32 {
        self.get(tid).map_or(0, |word| word.fetch_or(bits, Ordering::SeqCst))
    }

    /// Clears bits, and tells what was there before.
    pub fn clear(&self, tid: Tid, bits: u32) -> u32 {
        self.get(tid).map_or(0, |word| word.fetch_and(!bits, Ordering::SeqCst))
    }
}

/// The bits of these events.
pub(super) fn events(mask: EventMask) -> u32 {
    mask.0 as u32 & bit::EVENTS
}
