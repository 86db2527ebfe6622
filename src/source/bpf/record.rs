//! The records of the ring: `struct record` of `../programs/shared.h`.

use zerocopy::{FromBytes, Immutable, KnownLayout};

/// What a record is about: `enum kind`.
pub(super) mod kind {
    pub const BORN: u32 = 0;
    pub const EXEC: u32 = 1;
    pub const EXIT: u32 = 2;
    pub const MEMBER: u32 = 3;
}

/// Flags of a record.
pub(super) mod flag {
    /// BORN: a thread of its creator's process. EXIT: of a task that is no main thread.
    pub const IS_THREAD: u32 = 0x1;
    /// The task is followed.
    pub const IS_FOLLOWED: u32 = 0x2;
    /// EXIT: to be reported when the process is dead.
    pub const IS_HELD: u32 = 0x4;
    /// EXIT: of the last running thread of its process; usage is that of the process.
    pub const IS_LAST: u32 = 0x8;
    /// The word of who did it asks for it.
    pub const IS_WANTED: u32 = 0x10;
    /// EXEC: there are arguments of the same task and stamp in the other ring.
    pub const HAS_ARGUMENTS: u32 = 0x20;
}

/// One record.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Record {
    /// CLOCK_MONOTONIC
    pub stamp: u64,
    /// When the subject began, in nanoseconds since boot.
    pub start: u64,
    /// EXIT of a followed task: nanoseconds on a processor.
    pub runtime: u64,
    /// And the most memory that its process had, in pages.
    pub peak_pages: u64,
    pub kind: u32,
    pub flags: u32,
    /// Who did it.
    pub tid: i32,
    pub tgid: i32,
    /// BORN: the new task. EXEC: the id that the task had before. MEMBER: its parent.
    pub other: i32,
    /// The subject's real uid.
    pub uid: u32,
    /// EXIT: as `waitpid(2)` tells it.
    pub status: i32,
    /// The subject's word, as it was when the event happened.
    pub word: u32,
}

impl Record {
    /// `None`: this is no record of ours.
    pub fn read(bytes: &[u8]) -> Option<Record> {
        Record::read_from_bytes(bytes).ok()
    }

    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }
}
