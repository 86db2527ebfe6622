//! What an event source tells.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::abi::EventMask;
use crate::ids::{Signal, Stamp, Tgid, Tid, Uid};

/// What a task did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It created a thread of its process.
    ThreadCreate,
    /// It ended, and is not a main thread.
    ThreadExit,
    /// It created a process.
    ProcessFork,
    /// It began another program.
    ProcessExec,
    /// It ended, and is a main thread.
    ProcessExit,
}

impl Kind {
    /// The bit that a registration asks for and that the signal carries.
    pub fn bit(self) -> EventMask {
        match self {
            Kind::ThreadCreate => EventMask::THREAD_CREATE,
            Kind::ThreadExit => EventMask::THREAD_EXIT,
            Kind::ProcessFork => EventMask::PROCESS_FORK,
            Kind::ProcessExec => EventMask::PROCESS_EXEC,
            Kind::ProcessExit => EventMask::PROCESS_EXIT,
        }
    }

    /// The bit that announces this end when a signal caused it (`--abort-events`).
    pub fn abort_bit(self) -> Option<EventMask> {
        match self {
            Kind::ThreadExit => Some(EventMask::THREAD_ABORT),
            Kind::ProcessExit => Some(EventMask::PROCESS_ABORT),
            _ => None,
        }
    }
}

/// One event of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// The task that did it; registrations for this id match (docs/behaviour.md, fact 23).
    pub target: Tid,
    /// The task that it is about: the new child or thread, else the target itself.
    pub subject: Tid,
    /// The process of the target.
    pub tgid: Tgid,
    /// The real uid of the subject when it happened; `None` if the source cannot find it out.
    pub uid: Option<Uid>,
    /// The wait status, as wait(2) has it, for an exit where it is known.
    pub status: Option<ExitStatus>,
    /// When it happened.
    pub at: Stamp,
}

impl Event {
    /// The signal that ended the task, for an exit that a signal caused.
    pub fn killed_by(&self) -> Option<Signal> {
        self.status.and_then(|status| Signal::new(status.signal()?))
    }
}

/// What comes out of an event source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A task did something.
    Event(Event),
    /// This many events were lost here and are not reported. What could be found out without them has been
    /// reported before, but for the ends of threads of [`Interest::End`](crate::source::Interest::End).
    Lost(u64),
}
