//! What the source delivers.

use std::process::ExitStatus;
use std::time::Duration;

use crate::event::Kind;
use crate::ids::{Stamp, Tgid, Tid, Uid};

/// When a task began, in nanoseconds since boot: with its id it names one life of one task
/// (`task_struct.start_boottime`; field 22 of /proc/PID/stat is the same, coarser).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StartTime(pub u64);

/// What a process has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Its time on processors; of each thread, up to a scheduler tick may be missing.
    pub cpu: Duration,
    /// The most memory that it had at a time, in bytes (`ru_maxrss` of `getrusage(2)`).
    pub peak_memory: u64,
}

/// One event of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskEvent {
    /// What happened.
    pub kind: Kind,
    /// The task that did it: for a birth, the one that made the call.
    pub actor: Tid,
    /// The process of the actor. `None`: it is not known any more.
    pub tgid: Option<Tgid>,
    /// The task that it is about: for a birth the new one, else the actor.
    pub subject: Tid,
    /// Of an exec by a thread, the id that it had before: now it has that of its process. Else the subject.
    pub former: Tid,
    /// The subject's real uid at the event, in the initial user namespace. `None`: it is not known any more.
    pub uid: Option<Uid>,
    /// The subject's life. `None`: the event was found out without its record.
    pub start: Option<StartTime>,
    /// How the subject ended, of an exit. `None`: it is not known.
    pub status: Option<ExitStatus>,
    /// What the process has used, of the exit of a followed one.
    pub usage: Option<Usage>,
    /// When it happened; of an exit, when it began.
    pub at: Stamp,
    /// The subject is followed.
    pub followed: bool,
}

impl TaskEvent {
    /// True if the event is that the subject came to be.
    pub fn is_birth(&self) -> bool {
        matches!(self.kind, Kind::ProcessFork | Kind::ThreadCreate)
    }
}

/// A task that was there when somebody began to follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The task.
    pub tid: Tid,
    /// Its process.
    pub tgid: Tgid,
    /// The process that its process is a child of.
    pub parent: Tgid,
    /// Its real uid, in the initial user namespace.
    pub uid: Uid,
    /// Its life.
    pub start: StartTime,
    /// When it was found.
    pub at: Stamp,
}

/// What was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LostKind {
    /// Forks of watched or followed tasks.
    Forks,
    /// New threads of such tasks.
    ThreadCreates,
    /// Execs.
    Execs,
    /// Exits of processes.
    Exits,
    /// Exits of threads.
    ThreadExits,
    /// It cannot be known: programs did not run.
    Unknown,
}

/// What comes out of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A task did something.
    Event(TaskEvent),
    /// A task is there that belongs to a tree which is followed, and whose birth was not seen. All that it
    /// does from now on follows.
    Member(Member),
    /// So many events of this kind have happened before this place, and nothing else is known of them.
    Lost {
        /// What they were.
        kind: LostKind,
        /// How many.
        count: u64,
    },
}
