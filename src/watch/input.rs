//! What a feed says: the events of either source in the same words.

use std::process::ExitStatus;

use crate::ids::Stamp;
use crate::records::{Kind, Program};
use crate::source::bpf::{StartTime, Usage};

/// One piece of news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The process that it is about. `None`: the one that has the thread.
    pub pid: Option<i32>,
    /// When it happened.
    pub at: Stamp,
    pub what: News,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The process was there, perhaps without its main thread.
    Seen {
        ppid: Option<i32>,
        uid: Option<u32>,
        start: Option<StartTime>,
        program: Program,
        cgroup: Option<String>,
        is_main_over: bool,
    },
    /// The thread, not the main one, was there.
    ThreadSeen { tid: i32 },
    /// The process was made.
    Fork { ppid: Option<i32>, creator: Option<i32>, uid: Option<u32>, start: Option<StartTime> },
    /// The process executes this now.
    Exec { uid: Option<u32>, program: Program, cgroup: Option<String> },
    /// The process, or its main thread alone, has ended. With usage, all threads have.
    Exit { uid: Option<u32>, status: Option<ExitStatus>, usage: Option<Usage> },
    /// The process has one more thread.
    ThreadCreate { tid: i32, creator: Option<i32> },
    /// A thread that is not the main one has ended. With usage, it was the last.
    ThreadExit { tid: i32, status: Option<ExitStatus>, usage: Option<Usage> },
    /// The process has this real uid from now on.
    Uid { uid: u32 },
    /// The process is not there any more.
    Gone,
    /// Events are missing.
    Lost { count: Option<u64>, kinds: Vec<Kind>, recovered: u64, complete: bool },
}

impl News {
    /// What is missing if it is not told. `None`: it is no event, or a birth.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            News::Exec { .. } => Some(Kind::Exec),
            News::Exit { .. } => Some(Kind::Exit),
            News::ThreadCreate { .. } => Some(Kind::ThreadCreate),
            News::ThreadExit { .. } => Some(Kind::ThreadExit),
            _ => None,
        }
    }
}
