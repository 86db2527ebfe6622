//! What we know of the tasks that are watched: the real uid of each, and whether it lives.
//!
//! si_uid must be the uid at the time of the event, and the event is heard of afterwards, when /proc
//! may tell another one or nothing. So the uid is read when a task is first watched, kept up to date
//! by the source's uid events, and inherited by a child.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::descriptors;
use crate::event::{Event, Kind};
use crate::ids::{Stamp, Tgid, Tid, Uid};
use crate::observe::Observer;
use crate::source::bpf::Refusal;
use crate::sys::clock::monotonic_ns;
use crate::sys::pidfd::PidFd;
use crate::sys::procfs::{self, FileId};

use super::exit_warning::ExitWarning;

/// What [`Targets::exits`] says when it is the warning; no pid.
const WARNING: u64 = u64::MAX;

/// Descriptors that targets leave for everything else: /proc, new monitors, the source.
const SPARE: u64 = 64;

/// Whether an exit was told without having been heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    No,
    /// It was, and will be heard of in a moment, by when the number may have a new owner.
    Ahead,
    /// It was, since it was lost.
    Instead,
}

#[derive(Debug)]
pub struct Target {
    pub(super) registrations: usize,
    pub(super) uid: Option<Uid>,
    /// When `uid` was right; older news of it is history.
    pub(super) as_of: Stamp,
    /// Its process, if it has one.
    pub(super) tgid: Option<Tgid>,
    /// From its first registration, or birth, until its exit was heard of.
    pub(super) living: bool,
    /// Of a living main thread, if there were descriptors left.
    pub(super) pidfd: Option<PidFd>,
    /// What a living main thread executes.
    pub(super) program: Option<FileId>,
    /// Its exit was heard of.
    pub(super) ended: bool,
    /// The exit of this one, or of the number's last owner.
    pub(super) told: Told,
}

impl Target {
    pub(super) fn look(tid: Tid) -> Target {
        let as_of = Stamp(monotonic_ns());
        let status = procfs::task_status(tid.0).ok();
        let tgid = status.map(|status| Tgid(status.tgid));
        // A task that has ended will not be heard of again, also not when its process does.
        let ended = status.is_some_and(|status| status.ended);
        let mut target = Target {
            registrations: 0,
            uid: status.map(|status| Uid(status.real_uid)),
            as_of,
            tgid,
            living: status.is_some() && !ended,
            pidfd: None,
            program: None,
            ended,
            told: Told::No,
        };
        if target.living && target.is_main_thread(tid) {
            match open_pidfd(tid) {
                Ok(pidfd) if pidfd.has_exited() => target.living = false,
                Ok(pidfd) => target.pidfd = Some(pidfd),
                // It is a main thread, so that EINVAL is no other thing
                // (docs/kernel-facts.md#einval-of-a-process-that-is-going).
                Err(errno) => target.living = !matches!(errno, Errno::ESRCH | Errno::EINVAL),
            }
            target.program = procfs::program(tid.0);
        }
        target
    }

    pub(super) fn is_main_thread(&self, tid: Tid) -> bool {
        self.tgid.is_some_and(|tgid| tgid.leader() == tid)
    }

    pub fn end(&mut self) -> Option<PidFd> {
        self.living = false;
        self.pidfd.take()
    }
}

/// All tasks with registrations for them.
#[derive(Debug)]
pub struct Targets {
    pub(super) targets: HashMap<Tid, Target>,
    /// Becomes readable when a process among them ends, whatever the source hears.
    exits: Epoll,
    /// Rings when a process among them begins to end, where the kernel lets us know.
    warning: Option<ExitWarning>,
    observer: Observer,
    /// Of ended processes. To close one takes time, which the monitors need not wait for.
    useless: Vec<PidFd>,
}

impl Targets {
    /// Nobody.
    pub fn new(observer: Observer) -> io::Result<Targets> {
        let exits = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let warning = ExitWarning::new().and_then(|warning| {
            let added = exits.add(&warning, EpollEvent::new(EpollFlags::EPOLLIN, WARNING));
            added.map_err(Refusal::io("wait for a BPF program"))?;
            Ok(warning)
        });
        if let Err(refusal) = &warning {
            observer
                .say(format_args!("exits are told some microseconds later than they could be: {refusal}"));
        }
        Ok(Targets { targets: HashMap::new(), exits, warning: warning.ok(), observer, useless: Vec::new() })
    }

    /// Readable while [`dead`](Targets::dead) has something to tell, or [`take_warning`](Targets::take_warning).
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.exits.0.as_fd()
    }

    /// Counts a registration for this task. The source must already hear of its uid changes.
    pub fn add(&mut self, tid: Tid) {
        if let Some(target) = self.targets.get_mut(&tid) {
            target.registrations += 1;
        } else {
            if let Some(warning) = &self.warning {
                warning.watch(tid);
            }
            self.set(tid, Target { registrations: 1, ..Target::look(tid) });
        }
    }

    pub(super) fn set(&mut self, tid: Tid, mut target: Target) {
        let armed = target
            .pidfd
            .as_ref()
            .map(|pidfd| self.exits.add(pidfd, EpollEvent::new(EpollFlags::EPOLLIN, tid.0 as u32 as u64)));
        if target.living && target.is_main_thread(tid) && !matches!(armed, Some(Ok(()))) {
            target.pidfd = None;
            self.observer.counters.unarmed.add();
            self.observer.say(
                "too few descriptors for all targets: the exits of some can be told only as long as the kernel \
                 drops no events (raise the limit: LimitNOFILE= of the unit, or ulimit -n)",
            );
        }
        self.targets.insert(tid, target);
    }

    /// Processes that have ended and whose exit was not heard of yet.
    pub fn dead(&mut self) -> Vec<Tid> {
        self.useless.clear();
        let mut events = [EpollEvent::empty(); 1024];
        let count = self.exits.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        let ended = events[..count].iter().filter(|event| event.data() != WARNING);
        ended.map(|event| Tid(event.data() as i32)).collect()
    }

    /// The caller is about to sleep, and wants to be woken when a process begins to end, if that will be
    /// of use.
    pub fn arm_warning(&self) {
        if let Some(warning) = &self.warning
            && !self.targets.is_empty()
        {
            warning.arm();
        }
    }

    /// The caller has slept. A process that has begun to end meanwhile, and may be through with it soon.
    pub fn take_warning(&self) -> Option<Tid> {
        self.warning.as_ref().and_then(ExitWarning::disarm)
    }

    /// Readable once the process has ended.
    pub fn exit_fd(&self, tid: Tid) -> Option<BorrowedFd<'_>> {
        self.targets.get(&tid)?.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// The end of this process is known: it is no news of [`dead`](Targets::dead) any more.
    pub fn disarm(&self, tid: Tid) {
        if let Some(pidfd) = self.targets.get(&tid).and_then(|target| target.pidfd.as_ref()) {
            // It is in the set, since it was found there.
            let _ = self.exits.delete(pidfd);
        }
    }

    /// True if anybody wants its events.
    pub fn contains(&self, tid: Tid) -> bool {
        self.targets.contains_key(&tid)
    }

    /// Takes one registration back.
    pub fn remove(&mut self, tid: Tid) {
        if let Some(target) = self.targets.get_mut(&tid) {
            target.registrations -= 1;
            if target.registrations == 0 {
                self.targets.remove(&tid);
                if let Some(warning) = &self.warning {
                    warning.unwatch(tid);
                }
            }
        }
    }

    /// Takes note of a changed uid.
    pub fn set_uid(&mut self, tid: Tid, uid: Uid, at: Stamp) {
        if let Some(target) = self.targets.get_mut(&tid)
            && at > target.as_of
        {
            (target.uid, target.as_of) = (Some(uid), at);
        }
    }

    /// Takes note of an event: births, ends and rebirths of watched tasks. False if the event was
    /// told already.
    pub fn note(&mut self, event: &Event) -> bool {
        match event.kind {
            Kind::ProcessFork | Kind::ThreadCreate => {
                let Some(child) = self.targets.get(&event.subject) else { return true };
                // A number that was watched before it was born, or has a new owner.
                let mut born = Target { registrations: child.registrations, ..Target::look(event.subject) };
                let creators = self.targets.get(&event.target).and_then(|creator| creator.uid);
                born.uid = creators.or_else(|| procfs::real_uid(event.target.0).map(Uid)).or(born.uid);
                born.as_of = event.at;
                born.ended = false;
                born.told = if child.told == Told::Ahead { Told::Ahead } else { Told::No };
                self.set(event.subject, born);
                // It may have ended since; it lives until that is heard of.
                if let Some(born) = self.targets.get_mut(&event.subject) {
                    let is_thread = event.kind == Kind::ThreadCreate;
                    born.tgid =
                        born.tgid.or(Some(if is_thread { event.tgid } else { Tgid(event.subject.0) }));
                    born.living = true;
                }
            }
            Kind::ProcessExec => {
                // Its main thread ended and another thread took its place: the uid is that one's.
                if let Some(old) = self.targets.get(&event.target).filter(|target| target.ended) {
                    let (registrations, uid) = (old.registrations, old.uid);
                    let new = Target::look(event.target);
                    self.set(event.target, Target { registrations, uid: new.uid.or(uid), ..new });
                } else if let Some(target) = self.targets.get_mut(&event.target) {
                    target.program = procfs::program(event.target.0).or(target.program);
                }
            }
            Kind::ProcessExit | Kind::ThreadExit => {
                let Some(target) = self.targets.get_mut(&event.target) else { return true };
                if std::mem::replace(&mut target.told, Told::No) != Told::No {
                    return false;
                }
                // The exit of a number's former owner may come after the birth of the new one.
                if event.at >= target.as_of {
                    self.useless.extend(target.end());
                    target.ended = true;
                }
            }
        }
        true
    }

    /// The real uid of the event's subject when it happened: of a child or thread, its creator's.
    /// `None` if nobody can tell any more.
    pub fn uid(&self, event: &Event) -> Option<Uid> {
        let known = self.targets.get(&event.target).and_then(|target| target.uid);
        known.or_else(|| procfs::real_uid(event.subject.0).map(Uid))
    }

    /// True if the task has ended and its exit was not heard of yet, so that it must come at once:
    /// the kernel lets waiters go a moment before it reports the exit (docs/kernel-facts.md#late-exits).
    pub fn exit_is_due(&self, tid: Tid) -> bool {
        // Before the exit of the number's last owner has been heard of, it is not this one's turn.
        let target = self.targets.get(&tid).filter(|target| target.living && target.told != Told::Ahead);
        target.and_then(|target| target.pidfd.as_ref()).is_some_and(PidFd::has_exited)
    }

    /// True while an exit that has happened was not heard of, told or not.
    pub fn exit_is_unheard(&self, tid: Tid) -> bool {
        self.exit_is_due(tid) || self.targets.get(&tid).is_some_and(|target| target.told == Told::Ahead)
    }

    /// The exit was told, and will be heard of in a moment: that will be no news.
    pub fn told_ahead(&mut self, tid: Tid) {
        self.told(tid, Told::Ahead);
    }

    /// The exit was told, and is not to be heard of any more. If it is, that is no news.
    pub fn told_instead(&mut self, tid: Tid) {
        self.told(tid, Told::Instead);
    }

    fn told(&mut self, tid: Tid, told: Told) {
        if let Some(target) = self.targets.get_mut(&tid) {
            // Of a new owner there is nothing that was told.
            target.told = if target.ended { told } else { Told::No };
        }
    }

    /// This task's end will not be heard of.
    pub fn ended_unheard(&mut self, tid: Tid) {
        if let Some(target) = self.targets.get_mut(&tid) {
            self.useless.extend(target.end());
        }
    }

    /// The targets that are living threads of this process, other than its main thread.
    pub fn other_threads(&self, tgid: Tgid) -> Vec<Tid> {
        let others = |(tid, target): &(&Tid, &Target)| {
            target.living && target.tgid == Some(tgid) && **tid != tgid.leader()
        };
        self.targets.iter().filter(others).map(|(tid, _)| *tid).collect()
    }
}

/// EMFILE when what is left is needed elsewhere.
fn open_pidfd(tid: Tid) -> Result<PidFd, Errno> {
    let pidfd = PidFd::open(tid.0)?;
    if descriptors::leaves(SPARE, &pidfd) { Ok(pidfd) } else { Err(Errno::EMFILE) }
}

#[cfg(test)]
pub(super) mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A child that lives, and is watched.
    pub fn watched() -> (Child, Tid, Targets) {
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cannot run cat");
        let tid = Tid(child.id() as i32);
        let mut targets = Targets::new(Observer::silent()).expect("epoll");
        targets.add(tid);
        (child, tid, targets)
    }

    pub fn end(mut child: Child) {
        child.kill().and_then(|()| child.wait()).expect("it ends");
    }

    pub fn event(kind: Kind, target: Tid, subject: Tid) -> Event {
        Event {
            kind,
            target,
            subject,
            tgid: Tgid(target.0),
            uid: None,
            status: None,
            at: Stamp(monotonic_ns()),
        }
    }

    pub fn exit_of(tid: Tid) -> Event {
        event(Kind::ProcessExit, tid, tid)
    }

    /// As if it had only now got its number.
    pub fn fork_of(tid: Tid) -> Event {
        event(Kind::ProcessFork, Tid(std::process::id() as i32), tid)
    }

    #[test]
    fn an_exit_that_was_told_ahead_is_no_news_and_not_the_next_owners() {
        let (child, tid, mut targets) = watched();
        assert!(targets.note(&exit_of(tid)));
        targets.told_ahead(tid);
        assert!(targets.note(&fork_of(tid)));
        end(child);
        assert!(targets.exit_is_unheard(tid) && !targets.exit_is_due(tid));
        assert!(!targets.note(&exit_of(tid)));
        assert!(targets.exit_is_due(tid));
        assert!(targets.note(&exit_of(tid)));
        assert!(!targets.exit_is_unheard(tid));
    }

    #[test]
    fn an_exit_that_was_told_instead_says_nothing_of_the_next_owner() {
        let (child, tid, mut targets) = watched();
        assert!(targets.note(&exit_of(tid)));
        targets.told_instead(tid);
        assert!(!targets.exit_is_unheard(tid));
        assert!(targets.note(&fork_of(tid)));
        assert!(targets.note(&exit_of(tid)));
        // Given up only after the birth.
        targets.told_ahead(tid);
        assert!(targets.note(&fork_of(tid)));
        targets.told_instead(tid);
        assert!(!targets.exit_is_unheard(tid));
        assert!(targets.note(&exit_of(tid)));
        end(child);
    }
}
