//! Events from the proc connector, made clean.
//!
//! The proc connector reports afterwards, and not everything: an exit some microseconds after others can
//! see the process dead, the ends of an exec's other threads after the exec, no uid, and nothing at all
//! when its queue has overflowed or somebody has upset the kernel's count of listeners. [`Targets`] keeps
//! what is needed to make up for that.

mod census;
mod decode;
mod execs;
mod exit_warning;
mod exits;
mod filter;
mod listeners;
mod notice;
mod proc_connector;
mod recovery;
mod sieve;
mod targets;

use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::event::{Event, Input, Kind};
use crate::ids::{Stamp, Tid};
use crate::observe::Observer;
use crate::sys::clock::monotonic_ns;

use super::{Interest, Mark, Source, SourceError};
use execs::Exec;
use exits::Unheard;
use recovery::Recovery;
use targets::Targets;

pub use decode::{Malformed, Message, decode};
pub use notice::Notice;
pub use proc_connector::{ProcConnector, RECEIVE_BUFFER};

/// Notices that are handled before the pidfds are looked at.
const BATCH: usize = 64;

/// What [`Source::next`] comes to next.
#[derive(Debug)]
enum Out {
    Input(Input),
    Passed(Mark),
}

/// The proc connector as a source of clean events.
#[derive(Debug)]
pub struct Connector {
    socket: ProcConnector,
    targets: Targets,
    out: VecDeque<Out>,
    /// Marks that are not passed, with the time at which they were made.
    marks: VecDeque<(Mark, Stamp)>,
    made: Mark,
    passed: Mark,
    /// The latest stamp among the notices that were handled.
    latest: Stamp,
    /// Watched since the last `commit`.
    added: Vec<Tid>,
    /// An exec that waits for the ends of its process's other threads.
    exec: Option<Exec>,
    unheard: Unheard,
    recovery: Recovery,
    /// Tasks that wait for the reader.
    blocked: HashSet<Tid>,
    /// Exits are reported with the signal that caused them, for which only the socket's notice will do.
    with_cause: bool,
    observer: Observer,
}

impl Connector {
    /// A source on this socket. With `with_cause`, exits are reported with the signal that caused them, and
    /// later than without.
    pub fn new(socket: ProcConnector, with_cause: bool, observer: Observer) -> io::Result<Connector> {
        Ok(Connector {
            socket,
            targets: Targets::new(observer.clone())?,
            out: VecDeque::new(),
            marks: VecDeque::new(),
            made: Mark(0),
            passed: Mark(0),
            latest: Stamp(0),
            added: Vec::new(),
            exec: None,
            unheard: Unheard::default(),
            recovery: Recovery::new(),
            blocked: HashSet::new(),
            with_cause,
            observer,
        })
    }

    /// Handles what there is. False: there is no more.
    fn fill(&mut self) -> Result<bool, SourceError> {
        let stop = self.marks.front().map(|(_, stamp)| *stamp);
        let is_empty = self.read(BATCH, stop)?;
        self.end_exec_in_time();
        self.report_the_dead()?;
        self.give_up_unheard();
        if is_empty && self.exec.is_none() {
            self.recover();
        }
        self.pass_marks(is_empty);
        if !self.out.is_empty() || !is_empty {
            return Ok(true);
        }
        self.spin()
    }

    /// Handles notices, at most so many, and none after the first that is younger than `stop`. True if the
    /// socket's queue is empty.
    fn read(&mut self, most: usize, stop: Option<Stamp>) -> Result<bool, SourceError> {
        for _ in 0..most {
            let Some(notice) = self.socket.next_notice()? else { return Ok(true) };
            self.take(notice);
            if let Some(at) = notice.at() {
                self.latest = self.latest.max(at);
                if stop.is_some_and(|stop| at > stop) {
                    break;
                }
            }
        }
        Ok(false)
    }

    fn take(&mut self, notice: Notice) {
        if let Some(notice) = self.hold_behind_exec(notice) {
            self.handle(notice);
        }
    }

    fn handle(&mut self, notice: Notice) {
        match notice {
            Notice::Event(event) => {
                self.observer.counters.events.add();
                self.handle_event(event);
            }
            Notice::Uid { tid, real, at } => self.targets.set_uid(tid, real, at),
            Notice::Overflow => {
                self.observer.counters.overflows.add();
                self.recovery.request();
            }
            Notice::Deaf { mended } => {
                self.observer.counters.deafnesses.add();
                self.observer.say(if mended {
                    "the kernel had stopped sending process events, since some program upset its count of \
                     listeners, which is mended; what targets did meanwhile is looked for"
                } else {
                    "the kernel has stopped sending process events, since some program upsets its count of \
                     listeners again and again: only exits are told until that program ends"
                });
                self.recovery.request();
            }
        }
    }

    fn handle_event(&mut self, event: Event) {
        if matches!(event.kind, Kind::ProcessFork | Kind::ThreadCreate) {
            self.report_lost_end(&event);
        }
        if !self.targets.note(&event) {
            return;
        }
        if event.kind == Kind::ProcessExec && self.targets.contains(event.target) {
            self.begin_exec(event);
        } else {
            self.deliver(event);
        }
    }

    fn deliver(&mut self, event: Event) {
        let watched = self.targets.contains(event.target);
        if watched || matches!(event.kind, Kind::ThreadExit | Kind::ProcessExec) {
            let uid = if watched { self.targets.uid(&event) } else { None };
            self.out.push_back(Out::Input(Input::Event(Event { uid, ..event })));
        }
    }

    fn pass_marks(&mut self, is_empty: bool) {
        if self.exec.is_some() || self.recovery.is_due(Instant::now()) || self.unheard.is_awaited() {
            return;
        }
        while let Some((mark, stamp)) = self.marks.front()
            && (is_empty || self.latest > *stamp)
        {
            self.out.push_back(Out::Passed(*mark));
            self.marks.pop_front();
        }
    }
}

impl Source for Connector {
    fn poll_fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        // The ends of processes are not looked at before the exec is reported.
        let ends = self.exec.is_none().then(|| self.targets.poll_fd());
        [self.socket.poll_fd(), ends]
    }

    fn deadline(&mut self) -> Option<Instant> {
        let exec = self.exec.as_ref().map(Exec::deadline);
        [exec, self.unheard.deadline(), self.recovery.next_step()].into_iter().flatten().min()
    }

    fn next(&mut self) -> Result<Option<Input>, SourceError> {
        loop {
            match self.out.pop_front() {
                Some(Out::Input(input)) => return Ok(Some(input)),
                Some(Out::Passed(mark)) => self.passed = mark,
                None if !self.fill()? => return Ok(None),
                None => {}
            }
        }
    }

    fn mark(&mut self) -> Mark {
        self.made.0 += 1;
        self.marks.push_back((self.made, Stamp(monotonic_ns())));
        self.made
    }

    fn has_passed(&self, mark: Mark) -> bool {
        self.passed >= mark
    }

    fn watch(&mut self, tid: Tid, interest: Interest) {
        self.socket.watch(tid);
        if interest == Interest::Events {
            self.added.push(tid);
        }
    }

    fn unwatch(&mut self, tid: Tid, interest: Interest) {
        self.socket.unwatch(tid);
        if interest == Interest::Events {
            match self.added.iter().position(|added| *added == tid) {
                Some(at) => drop(self.added.remove(at)),
                None => self.targets.remove(tid),
            }
        }
    }

    fn commit(&mut self) -> Result<(), SourceError> {
        self.socket.commit()?;
        for tid in self.added.drain(..) {
            self.targets.add(tid);
        }
        Ok(())
    }

    fn deaf_since(&self) -> Option<Instant> {
        self.socket.deaf_since()
    }

    fn reports_exit_when_deaf(&self, tid: Tid) -> bool {
        self.targets.exit_fd(tid).is_some()
    }

    fn blocked(&mut self, task: Tid, is_blocked: bool) {
        if is_blocked {
            self.blocked.insert(task);
        } else {
            self.blocked.remove(&task);
        }
    }

    fn idle(&mut self) -> Option<Duration> {
        let idle = self.socket.idle();
        let deadline = self.deadline().map(|at| at.saturating_duration_since(Instant::now()));
        [idle, deadline].into_iter().flatten().min()
    }

    fn before_sleep(&mut self) {
        self.targets.arm_warning();
    }

    fn after_sleep(&mut self, other: BorrowedFd<'_>) {
        if let Some(target) = self.targets.take_warning() {
            self.await_exit(target, other);
        }
    }
}
