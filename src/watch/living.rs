//! One living process, as far as it is known.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::ids::Stamp;
use crate::records::{Ended, Process, Program};
use crate::source::bpf::{StartTime, Usage};

use super::proc::TICK;

/// One living process.
#[derive(Debug, Default)]
pub struct Living {
    /// What records tell of it.
    pub process: Process,
    /// The task that made it.
    pub creator: Option<i32>,
    /// When its fork was seen.
    pub born: Option<Stamp>,
    /// When it began.
    pub start: Option<StartTime>,
    /// Threads but the main one, with their creators.
    pub threads: HashMap<i32, Option<i32>>,
    /// How the main thread ended, if others go on.
    pub main_ended: Option<Option<ExitStatus>>,
}

impl Living {
    /// True if a process with the same number that began then is another one. A start that /proc tells is one of ticks.
    pub fn is_another(&self, start: Option<StartTime>) -> bool {
        self.start.zip(start).is_some_and(|(own, other)| own.0 / TICK != other.0 / TICK)
    }

    /// It has begun this program.
    pub fn execute(&mut self, program: &Program, cgroup: Option<String>) {
        let Process { pid, entity_id, ppid, uid, .. } = std::mem::take(&mut self.process);
        self.process = Process { pid, entity_id, ppid, uid, cgroup, ..Process::default() };
        self.process.set_program(program);
    }

    /// It has ended. `since_boot` is what is to be added to a stamp for nanoseconds since the boot.
    pub fn ended(
        self,
        status: Option<ExitStatus>,
        usage: Option<Usage>,
        at: Stamp,
        since_boot: i64,
    ) -> Ended {
        let began = || self.start?.0.checked_add_signed(-since_boot);
        let duration = self.born.map(|born| born.0).or_else(began).map(|began| at.0.saturating_sub(began));
        Ended {
            exit_code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            core_dumped: status.map(|status| status.core_dumped()),
            duration_ns: duration,
            cpu_ns: usage.and_then(|usage| usage.cpu.as_nanos().try_into().ok()),
            peak_memory: usage.map(|usage| usage.peak_memory),
            process: self.process,
        }
    }
}
