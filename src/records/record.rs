//! One record.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::process::{Ended, Process};
use super::time;

/// The version of the records, which changes only if a field is taken away or means something else.
pub const VERSION: u32 = 1;

/// One event, or something about the stream itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`]
    pub v: u32,
    /// Its number in the stream.
    pub seq: u64,
    /// When it happened, by the wall clock.
    #[serde(with = "time")]
    pub time: Timestamp,
    /// The same in nanoseconds of CLOCK_MONOTONIC.
    pub mono_ns: u64,
    /// What it is about.
    #[serde(flatten)]
    pub what: What,
}

/// What a record is about. `creator_tid` is the task that made the process, or the thread if it is about one;
/// `None`: it is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// A process that was there before; or, where threads are wanted, a thread.
    Seen {
        /// The process.
        process: Process,
        /// The thread. `None`: the record is about the whole process.
        tid: Option<i32>,
    },
    /// All that was there has been told. What happens from now on is in the stream.
    Ready {
        /// Where the events come from.
        source: SourceName,
        /// How many processes were there.
        seen: u64,
    },
    /// A process was made; `ppid` is the one that made it.
    Fork {
        /// The new process.
        process: Process,
        /// The task that made it.
        creator_tid: Option<i32>,
    },
    /// A process began another program.
    Exec {
        /// The process, with its new program.
        process: Process,
        /// The task that made it.
        creator_tid: Option<i32>,
    },
    /// A process ended.
    Exit {
        /// The process, and how it ended.
        process: Ended,
        /// The task that made it.
        creator_tid: Option<i32>,
    },
    /// A process has one more thread.
    ThreadCreate {
        /// The process.
        process: Process,
        /// The new thread.
        tid: i32,
        /// The task that made it.
        creator_tid: Option<i32>,
    },
    /// A thread other than the main one ended.
    ThreadExit {
        /// The process.
        process: Process,
        /// The thread.
        tid: i32,
        /// The task that made it.
        creator_tid: Option<i32>,
    },
    /// Events are missing here.
    Lost {
        /// How many. `None`: nobody knows.
        count: Option<u64>,
        /// What they were.
        kinds: Vec<Kind>,
        /// How many more were lost at first, and found out otherwise: those are in the stream.
        recovered: u64,
        /// The processes that live are all known again, though not all that they did.
        complete: bool,
    },
    /// The stream ends here.
    End {
        /// How many records there were of each kind.
        totals: Totals,
    },
}

/// What can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Records of processes that were there.
    Seen,
    /// Forks.
    Fork,
    /// Execs.
    Exec,
    /// Exits of processes.
    Exit,
    /// New threads.
    ThreadCreate,
    /// Ends of threads.
    ThreadExit,
    /// Nobody knows.
    Unknown,
}

/// Where events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceName {
    /// BPF programs in the kernel.
    Bpf,
    /// The proc connector.
    Connector,
}

/// How many records of each kind a stream has, and how many events it lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Processes that were there, and threads.
    pub seen: u64,
    /// Forks.
    pub fork: u64,
    /// Execs.
    pub exec: u64,
    /// Exits.
    pub exit: u64,
    /// New threads.
    pub thread_create: u64,
    /// Ends of threads.
    pub thread_exit: u64,
    /// Events that were lost: the sum of the counts of all [`What::Lost`], where one without a count is 1.
    pub lost: u64,
}

impl What {
    /// The process that it is about.
    pub fn process(&self) -> Option<&Process> {
        match self {
            What::Seen { process, .. }
            | What::Fork { process, .. }
            | What::Exec { process, .. }
            | What::ThreadCreate { process, .. }
            | What::ThreadExit { process, .. } => Some(process),
            What::Exit { process, .. } => Some(&process.process),
            What::Ready { .. } | What::Lost { .. } | What::End { .. } => None,
        }
    }
}

impl Totals {
    /// Counts one more record.
    pub fn add(&mut self, what: &What) {
        let (total, count) = match what {
            What::Seen { .. } => (&mut self.seen, 1),
            What::Fork { .. } => (&mut self.fork, 1),
            What::Exec { .. } => (&mut self.exec, 1),
            What::Exit { .. } => (&mut self.exit, 1),
            What::ThreadCreate { .. } => (&mut self.thread_create, 1),
            What::ThreadExit { .. } => (&mut self.thread_exit, 1),
            What::Lost { count, .. } => (&mut self.lost, count.unwrap_or(1)),
            What::Ready { .. } | What::End { .. } => return,
        };
        *total += count;
    }
}
