//! What the kernel says of the watched tasks now, against what we believe: for when events were lost.

use std::io::ErrorKind;

use nix::errno::Errno;

use crate::event::Kind;
use crate::ids::{Stamp, Tgid, Tid, Uid};
use crate::sys::clock::monotonic_ns;
use crate::sys::pidfd::PidFd;
use crate::sys::procfs;

use super::targets::{Target, Targets};

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
    /// All of them.
    pub fn all(&self) -> Vec<Tid> {
        self.targets.keys().copied().collect()
    }

    /// What this target did that was not reported. An exec is found out when the new program is another file
    /// than the old one. The notice may still be about to come.
    pub fn missed(&self, tid: Tid) -> Option<Missed> {
        self.targets.get(&tid)?.missed(tid)
    }

    /// The end of the one that had this number when another was born with it at this time, if that was not
    /// reported.
    pub fn replaced(&self, tid: Tid, at: Stamp) -> Option<Missed> {
        let target = self.targets.get(&tid).filter(|target| target.living && target.as_of < at)?;
        let kind = if target.is_main_thread(tid) { Kind::ProcessExit } else { Kind::ThreadExit };
        Some(Missed { kind, target: tid, tgid: target.tgid? })
    }

    /// Takes what the kernel says for the truth: the uid, and a birth that was lost. To be called once
    /// everything that the target did has been reported.
    pub fn refresh(&mut self, tid: Tid) {
        let Some(target) = self.targets.get_mut(&tid) else { return };
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
