//! What the kernel says of the watched tasks now, against what we believe: for when events were lost.

use std::io::ErrorKind;

use nix::errno::Errno;

use crate::event::Kind;
use crate::ids::{Stamp, Tgid, Tid, Uid};
use crate::sys::clock::monotonic_ns;
use crate::sys::pidfd::PidFd;
use crate::sys::procfs;

use super::{Target, Targets};

/// What a task did and nobody told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// A kind of exit, or an exec.
    pub kind: Kind,
    /// The task.
    pub target: Tid,
    /// Its process.
    pub tgid: Tgid,
}

impl Target {
    fn missed(&self, tid: Tid) -> Option<Missed> {
        let tgid = self.tgid.filter(|_| self.living)?;
        let missed = |kind| Some(Missed { kind, target: tid, tgid });
        let exit = if self.is_main_thread(tid) { Kind::ProcessExit } else { Kind::ThreadExit };
        // Somebody else may have the number by now.
        if self.pidfd.as_ref().is_some_and(PidFd::has_exited) {
            return missed(exit);
        }
        match procfs::task_status(tid.0) {
            Ok(now) if now.ended || now.tgid != tgid.0 => missed(exit),
            // Between finding the file and reading it the task may go.
            Err(error) if is_gone(&error) => missed(exit),
            Ok(_) => {
                // Known of main threads alone.
                let (then, now) = (self.program?, procfs::program(tid.0)?);
                if then == now { None } else { missed(Kind::ProcessExec) }
            }
            Err(_) => None,
        }
    }
}

fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

impl Targets {
    /// What the targets did that was not heard of, threads' ends first. An exec is found out when the new
    /// program is another file than the old one. What was done may still be about to be heard of.
    pub fn missed(&self) -> Vec<Missed> {
        let mut missed: Vec<Missed> =
            self.targets.iter().filter_map(|(tid, target)| target.missed(*tid)).collect();
        missed.sort_by_key(|missed| missed.kind != Kind::ThreadExit);
        missed
    }

    /// True if this is still not heard of.
    pub fn is_missed(&self, missed: &Missed) -> bool {
        let target = self.targets.get(&missed.target);
        target.and_then(|target| target.missed(missed.target)) == Some(*missed)
    }

    /// Takes what the kernel says for the truth: uids, and tasks whose birth was lost. To be called once
    /// everything that was missed has been told.
    pub fn refresh(&mut self) {
        let tids: Vec<Tid> = self.targets.keys().copied().collect();
        for tid in tids {
            let Some(target) = self.targets.get_mut(&tid) else { continue };
            let as_of = Stamp(monotonic_ns());
            if !target.living {
                let registrations = target.registrations;
                let now = Target::look(tid);
                if now.living {
                    self.set(tid, Target { registrations, ..now });
                }
            } else if let Ok(status) = procfs::task_status(tid.0)
                && !status.ended
            {
                (target.uid, target.as_of) = (Some(Uid(status.real_uid)), as_of);
            }
        }
    }
}
