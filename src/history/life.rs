//! One life of one process.

use std::sync::Arc;

use crate::records::{Ended, Program};

/// From when on a process executed a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Nanoseconds of CLOCK_MONOTONIC: its exec, or the first that is known of it.
    pub at: u64,
    /// The program.
    pub program: Arc<Program>,
    /// The process did not execute it: it has it from the one that made it.
    pub is_inherited: bool,
}

/// How a process began. Times are nanoseconds of CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// It was made at this time.
    Fork(u64),
    /// It was there at this time, when the stream began.
    Earlier(u64),
    /// The stream does not tell. It is first heard of at this time.
    Unknown(u64),
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It had not, when the stream ended.
    Runs,
    /// It did, at this time in nanoseconds of CLOCK_MONOTONIC.
    Exit(u64, Exit),
    /// The stream does not tell when: another process had its pid later.
    Unknown,
}

/// What an exit tells. `None`: the source does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, or the signal that killed it.
    pub code: Option<Code>,
    /// How long it lived, in nanoseconds.
    pub duration: Option<u64>,
    /// Its time on processors, in nanoseconds.
    pub cpu: Option<u64>,
    /// The most memory that it had at a time, in bytes.
    pub peak_memory: Option<u64>,
}

/// How an exit came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// It ended with this exit code.
    Status(i32),
    /// A signal killed it.
    Signal {
        /// The signal's number.
        number: i32,
        /// It left a core dump.
        core_dumped: bool,
    },
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its id.
    pub pid: i32,
    /// `BOOT:PID:START`
    pub entity: Option<String>,
    /// The id of the process that made it, or whose child it was.
    pub ppid: Option<i32>,
    /// The number of that one, if the stream tells of it.
    pub parent: Option<usize>,
    /// Its real uid.
    pub uid: Option<u32>,
    /// Its control group.
    pub cgroup: Option<String>,
    /// How it began.
    pub birth: Birth,
    /// What it executed, in order; empty if that is not known at all.
    pub runs: Vec<Run>,
    /// The last that is known of it, in nanoseconds of CLOCK_MONOTONIC.
    pub last: u64,
    /// How it ended.
    pub end: End,
}

impl Exit {
    pub(super) fn of(ended: &Ended) -> Exit {
        let signal = ended
            .signal
            .map(|number| Code::Signal { number, core_dumped: ended.core_dumped.unwrap_or(false) });
        Exit {
            code: signal.or(ended.exit_code.map(Code::Status)),
            duration: ended.duration_ns,
            cpu: ended.cpu_ns,
            peak_memory: ended.peak_memory,
        }
    }
}

impl Life {
    /// What it executed last.
    pub fn program(&self) -> Option<&Program> {
        self.runs.last().map(|run| &*run.program)
    }

    /// The first that is known of it, in nanoseconds of CLOCK_MONOTONIC.
    pub fn first(&self) -> u64 {
        match self.birth {
            Birth::Fork(at) | Birth::Earlier(at) | Birth::Unknown(at) => at,
        }
    }

    /// Its exit, if there was one.
    pub fn exit(&self) -> Option<&Exit> {
        match &self.end {
            End::Exit(_, exit) => Some(exit),
            End::Runs | End::Unknown => None,
        }
    }

    /// True if it is known to have ended with another status than 0.
    pub fn has_failed(&self) -> bool {
        let code = self.exit().and_then(|exit| exit.code);
        !matches!(code, None | Some(Code::Status(0)))
    }

    /// How long it lived, in nanoseconds, if that is known.
    pub fn duration(&self) -> Option<u64> {
        let End::Exit(at, exit) = &self.end else { return None };
        exit.duration.or(match self.birth {
            Birth::Fork(born) => Some(at.saturating_sub(born)),
            Birth::Earlier(_) | Birth::Unknown(_) => None,
        })
    }

    /// For how long it is known to have lived, in nanoseconds.
    pub fn least_duration(&self) -> u64 {
        self.duration().unwrap_or(self.last.saturating_sub(self.first()))
    }
}
