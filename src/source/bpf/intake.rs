//! From records to events: what is delivered at once, and what waits.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::event::Kind;
use crate::ids::{Stamp, Tgid, Tid, Uid};
use crate::sys::clock::monotonic_ns;
use crate::sys::procfs;

use super::event::{Input, Member, StartTime, TaskEvent, Usage};
use super::record::{Record, flag, kind};
use super::words::bit;
use super::{BpfSource, Out, exits};

impl BpfSource {
    pub(super) fn handle(&mut self, record: Option<Record>) {
        let Some(record) = record else { return };
        self.counters.records += 1;
        match record.kind {
            kind::BORN => {
                self.end_wait(Tid(record.other));
                self.exits.disarm(&self.loaded.words, Tid(record.other));
                if record.word & bit::LOST_OF_LAST_OWNER != 0 {
                    let of_last_owner = record.word & (bit::LOST_OF_LAST_OWNER | bit::FOLLOW);
                    self.recover_one(Tid(record.other), of_last_owner, None);
                }
                if record.word & bit::PROCESS_ENDS != 0 {
                    self.arm_later(Tid(record.other));
                }
                let was_found = self.found.takes_birth(Tid(record.other), StartTime(record.start));
                let of_tree = record.has(flag::IS_FOLLOWED) && !was_found;
                // Else it was of interest for the number's last owner alone.
                if of_tree || record.has(flag::IS_WANTED) || record.word & bit::EVENTS != 0 {
                    self.deliver(born(&record));
                }
            }
            kind::EXEC => {
                self.end_wait(Tid(record.tid));
                if record.other != record.tid && record.word & bit::PROCESS_ENDS != 0 {
                    // Its main thread's end has given the pidfd up.
                    self.arm_later(Tid(record.tid));
                }
                if record.has(flag::HAS_ARGUMENTS)
                    && let Some(arguments) = &mut self.arguments
                {
                    arguments.read();
                }
                self.deliver(TaskEvent { former: Tid(record.other), ..own(Kind::ProcessExec, &record) });
            }
            kind::EXIT => self.handle_exit(&record),
            kind::MEMBER => {
                let member = member(&record);
                if self.found.is_new(&member) {
                    self.out.push_back(Out::Input(Input::Member(member)));
                }
            }
            // A sign of life, so that we look for what was lost.
            _ => {}
        }
    }

    fn handle_exit(&mut self, record: &Record) {
        let is_thread = record.has(flag::IS_THREAD);
        self.found.takes_end(Tid(record.tid));
        let kind = if is_thread { Kind::ThreadExit } else { Kind::ProcessExit };
        let usage = (record.has(flag::IS_LAST) && record.has(flag::IS_FOLLOWED)).then(|| self.usage(record));
        let event =
            TaskEvent { status: Some(ExitStatus::from_raw(record.status)), usage, ..own(kind, record) };
        if is_thread {
            if let (Some(usage), Some(process)) = (usage, self.exits.held(Tid(record.tgid))) {
                process.usage = Some(usage);
            }
            self.deliver(event);
        } else if record.has(flag::IS_HELD) {
            match self.exits.held(event.subject) {
                // It was watched after its exit had begun.
                Some(held) if held.start.is_none() => *held = event,
                _ => {
                    self.end_wait(event.subject);
                    self.hold(event, record.word & bit::PIDFD != 0);
                }
            }
        } else {
            // The process goes on without its main thread.
            self.exits.disarm(&self.loaded.words, event.subject);
            self.deliver(event);
        }
    }

    /// The last owner of the number is dead.
    pub(super) fn end_wait(&mut self, tid: Tid) {
        if let Some(exit) = self.exits.release(&self.loaded.words, tid) {
            self.deliver(exit);
        }
    }

    pub(super) fn hold(&mut self, exit: TaskEvent, armed: bool) {
        self.counters.exits_held += 1;
        self.exits.hold(&self.loaded.words, exit, armed);
    }

    /// Somebody wants to know of the end of a process that may be exiting.
    pub(super) fn hold_late(&mut self, tid: Tid) {
        self.read_until(self.loaded.ring.written(), usize::MAX);
        if self.exits.held(tid).is_none() && exits::is_exiting(tid) {
            self.counters.exits_late += 1;
            let followed = self.loaded.words.set(tid, bit::HELD) & bit::FOLLOW != 0;
            let uid = procfs::real_uid(tid.0).map(Uid);
            self.hold(TaskEvent { uid, ..unrecorded(Kind::ProcessExit, tid, followed) }, false);
        }
    }

    pub(super) fn report_the_dead(&mut self) {
        loop {
            let mut ended = self.exits.ended();
            if self.exits.next_look().is_some_and(|at| at <= Instant::now()) {
                let quietly = self.exits.ended_quietly(&self.loaded.words, Instant::now());
                self.counters.exits_by_look += quietly.len() as u64;
                ended.extend(quietly);
            }
            if ended.is_empty() {
                return;
            }
            // All that they did is in the ring by now.
            self.read_until(self.loaded.ring.written(), usize::MAX);
            for tid in ended {
                if let Some((uid, status)) = self.exits.unrecorded(&self.loaded.words, tid) {
                    // The program has not run, or the word was changed.
                    self.counters.exits_recovered += 1;
                    self.losses.ask_at_once();
                    let exit = unrecorded(Kind::ProcessExit, tid, false);
                    self.deliver(TaskEvent { uid, status, ..exit });
                }
                if let Some(exit) = self.exits.release_dead(&self.loaded.words, tid) {
                    self.deliver(exit);
                }
            }
        }
    }

    fn usage(&self, record: &Record) -> Usage {
        Usage {
            cpu: Duration::from_nanos(record.runtime),
            peak_memory: record.peak_pages.saturating_mul(self.page),
        }
    }

    pub(super) fn deliver(&mut self, event: TaskEvent) {
        self.out.push_back(Out::Input(Input::Event(event)));
    }
}

fn own(kind: Kind, record: &Record) -> TaskEvent {
    let tid = Tid(record.tid);
    TaskEvent {
        kind,
        actor: tid,
        tgid: Some(Tgid(record.tgid)),
        subject: tid,
        former: tid,
        uid: Some(Uid(record.uid)),
        start: Some(StartTime(record.start)),
        status: None,
        usage: None,
        at: Stamp(record.stamp),
        followed: record.has(flag::IS_FOLLOWED),
    }
}

/// An event of a process that is known to have happened, and whose uid and status are not known.
pub(super) fn unrecorded(kind: Kind, tid: Tid, followed: bool) -> TaskEvent {
    TaskEvent {
        kind,
        actor: tid,
        tgid: Some(Tgid(tid.0)),
        subject: tid,
        former: tid,
        uid: None,
        start: None,
        status: None,
        usage: None,
        at: Stamp(monotonic_ns()),
        followed,
    }
}

fn born(record: &Record) -> TaskEvent {
    let kind = if record.has(flag::IS_THREAD) { Kind::ThreadCreate } else { Kind::ProcessFork };
    let child = Tid(record.other);
    TaskEvent { subject: child, former: child, ..own(kind, record) }
}

fn member(record: &Record) -> Member {
    Member {
        tid: Tid(record.tid),
        tgid: Tgid(record.tgid),
        parent: Tgid(record.other),
        uid: Uid(record.uid),
        start: StartTime(record.start),
        at: Stamp(record.stamp),
    }
}
