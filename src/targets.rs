//! What we know of the tasks that are watched: the real uid of each, and whether it lives.
//!
//! si_uid must be the uid at the time of the event, and the event is heard of afterwards, when /proc
//! may tell another one or nothing. So the uid is read when a task is first watched, kept up to date
//! by the source's uid events, and inherited by a child.

use std::collections::HashMap;

use crate::event::{Event, Kind};
use crate::ids::{Stamp, Tgid, Tid, Uid};
use crate::sys::clock::monotonic_ns;
use crate::sys::pidfd::PidFd;
use crate::sys::procfs;

#[derive(Debug)]
struct Target {
    registrations: usize,
    uid: Option<Uid>,
    /// When `uid` was right; older news of it is history.
    as_of: Stamp,
    /// Its process, if it has one.
    tgid: Option<Tgid>,
    /// From its first registration, or birth, until its exit was heard of.
    living: bool,
    /// Of a living main thread.
    pidfd: Option<PidFd>,
}

impl Target {
    fn look(tid: Tid) -> Target {
        let as_of = Stamp(monotonic_ns());
        let status = procfs::task_status(tid.0).ok();
        let tgid = status.map(|status| Tgid(status.tgid));
        let pidfd = tgid.filter(|tgid| tgid.leader() == tid).and_then(|tgid| PidFd::open(tgid.0).ok());
        Target {
            registrations: 0,
            uid: status.map(|status| Uid(status.real_uid)),
            as_of,
            tgid,
            // One that is dead already will not be heard of again.
            living: status.is_some() && !pidfd.as_ref().is_some_and(PidFd::has_exited),
            pidfd,
        }
    }

    fn end(&mut self) {
        self.living = false;
        self.pidfd = None;
    }
}

/// All tasks with registrations for them.
#[derive(Debug, Default)]
pub struct Targets(HashMap<Tid, Target>);

impl Targets {
    /// Counts a registration for this task. The source must already hear of its uid changes.
    pub fn add(&mut self, tid: Tid) {
        self.0.entry(tid).or_insert_with(|| Target::look(tid)).registrations += 1;
    }

    /// Takes one registration back.
    pub fn remove(&mut self, tid: Tid) {
        if let Some(target) = self.0.get_mut(&tid) {
            target.registrations -= 1;
            if target.registrations == 0 {
                self.0.remove(&tid);
            }
        }
    }

    /// Takes note of a changed uid.
    pub fn set_uid(&mut self, tid: Tid, uid: Uid, at: Stamp) {
        if let Some(target) = self.0.get_mut(&tid)
            && at > target.as_of
        {
            (target.uid, target.as_of) = (Some(uid), at);
        }
    }

    /// Takes note of an event: births, ends and rebirths of watched tasks.
    pub fn note(&mut self, event: &Event) {
        match event.kind {
            Kind::ProcessFork | Kind::ThreadCreate => {
                let creators = self.0.get(&event.target).and_then(|creator| creator.uid);
                let Some(child) = self.0.get_mut(&event.subject) else { return };
                // A number that was watched before it was born, or has a new owner.
                *child = Target { registrations: child.registrations, ..Target::look(event.subject) };
                child.uid = creators.or_else(|| uid_now(event.target)).or(child.uid);
                child.as_of = event.at;
            }
            Kind::ProcessExec => {
                let Some(target) = self.0.get_mut(&event.target) else { return };
                if !target.living {
                    // Its main thread ended and another thread took its place: the uid is that one's.
                    *target = Target { registrations: target.registrations, ..Target::look(event.target) };
                }
            }
            Kind::ProcessExit | Kind::ThreadExit => {
                // The exit of a number's former owner may come after the birth of the new one.
                if let Some(target) = self.0.get_mut(&event.target)
                    && event.at >= target.as_of
                {
                    target.end();
                }
            }
        }
    }

    /// The real uid of the event's subject when it happened: of a child or thread, its creator's.
    /// `None` if nobody can tell any more.
    pub fn uid(&self, event: &Event) -> Option<Uid> {
        let known = self.0.get(&event.target).and_then(|target| target.uid);
        known.or_else(|| uid_now(event.subject))
    }

    /// True if the task has ended and its exit was not heard of yet, so that it must come at once:
    /// the kernel lets waiters go a moment before it reports the exit (event-sources fact (e)).
    pub fn exit_is_due(&self, tid: Tid) -> bool {
        let target = self.0.get(&tid).filter(|target| target.living);
        target.and_then(|target| target.pidfd.as_ref()).is_some_and(PidFd::has_exited)
    }

    /// The exit that was due did not come: it is not waited for again.
    pub fn give_up_exit(&mut self, tid: Tid) {
        if let Some(target) = self.0.get_mut(&tid) {
            target.end();
        }
    }

    /// The targets that are living threads of this process, other than its main thread.
    pub fn other_threads(&self, tgid: Tgid) -> Vec<Tid> {
        let others = |(tid, target): &(&Tid, &Target)| {
            target.living && target.tgid == Some(tgid) && **tid != tgid.leader()
        };
        self.0.iter().filter(others).map(|(tid, _)| *tid).collect()
    }
}

fn uid_now(tid: Tid) -> Option<Uid> {
    procfs::task_status(tid.0).ok().map(|status| Uid(status.real_uid))
}
