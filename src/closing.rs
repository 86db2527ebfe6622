//! Closes whose outcome is not known yet.
//!
//! FUSE reports every close() and waits for our answer; whether that descriptor was the last shows only in
//! the release that follows, which the closer queues by itself when it next runs, and does not wait for.
//! Between the two a signal could overtake the end of close() (docs/kernel-facts.md#a-close-does-not-wait).
//! So from our answer on the signals of the file's registrations are held, until it is known that the file
//! is still open; a release drops them.
//!
//! It is known at once where the file is in another table of descriptors than the closer's
//! ([`crate::holders`]), which is how things are when a monitor's helpers exit. Else the closer must be seen
//! to have gone on.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::holders::Holders;
use crate::ids::{HandleId, MonitorId, Stamp, Tgid, Tid};
use crate::sys::procfs::{FileId, Scheduling};
use crate::system::System;

/// How often a closer is looked at whose outcome holds signals.
const STEP: Duration = Duration::from_micros(500);

/// How often other closers are looked at, to forget those who have gone on.
const LONG_STEP: Duration = Duration::from_millis(100);

/// How long the closer runs at most before it has queued the release: some microseconds, or a hundred
/// times as much where a processor is emulated. It may lose its processor in between, so the time that
/// has passed says nothing; and what a hypervisor takes away may count as run.
const RUN_TIME: u64 = 4_000_000;

/// The same after an exec. Its new program alone waits for that, so that there may be more of it.
const RUN_TIME_OF_EXEC: u64 = 50_000_000;

/// How long a closer is waited for that cannot be seen to have gone on.
const LONGEST: Duration = Duration::from_millis(50);

/// How long the releases of others can keep a closer in doubt.
const LONGEST_BESIDE_RELEASES: Duration = Duration::from_secs(1);

/// A close whose outcome is not known.
#[derive(Debug)]
struct Closing {
    handle: HandleId,
    by: Tid,
    begun: Instant,
    /// From when on it has gone on: its last answer.
    since: Instant,
    /// The closer before it went on. `None`: nothing that it does later tells that it has.
    before: Option<Scheduling>,
    /// How long it runs at most before it has queued the release, in nanoseconds.
    run_time: u64,
    next_look: Instant,
    /// At the last look the closer had gone on, though it may be to the next of several closes.
    gone_on: bool,
}

impl Closing {
    fn is_recent(&self, now: Instant) -> bool {
        now < self.begun + LONGEST_BESIDE_RELEASES
    }

    /// The closer is past its close: a release that it caused has been queued.
    fn is_past(&self, system: &impl System, now: Instant) -> bool {
        let Some(then) = self.before else { return now > self.since + LONGEST };
        system.scheduling(self.by).is_none_or(|today| {
            // It does not sleep between our answer and the release.
            let slept = today.asleep && (!then.asleep || today.turns != then.turns);
            slept || today.run_time > then.run_time + self.run_time
        })
    }
}

/// An open file with registrations.
#[derive(Debug, Default)]
struct File {
    /// Who has it open for certain, whoever else closes it.
    holders: Holders,
    /// When a descriptor of it was closed last.
    last: Option<Stamp>,
    /// Who has called through it of late, or closed it while it had no registrations, and may not have returned from
    /// that. If others close the last descriptor meanwhile, that return releases the file.
    users: Vec<(Tid, Instant)>,
}

/// The closes of open files with registrations.
#[derive(Debug)]
pub struct Closings<Y> {
    system: Y,
    /// The node, where closes are reported. Else nothing can be known of who has a file open.
    node: Option<FileId>,
    closings: Vec<Closing>,
    files: HashMap<HandleId, File>,
    /// The tasks that wait for the answer to a close.
    asking: HashSet<Tid>,
    /// The releases that wait for an answer. By whom, the kernel does not say: any closer may wait with one of them.
    releasing: HashSet<HandleId>,
    /// Some doubt has ended, and nobody has asked since.
    cleared: bool,
}

impl<Y: System> Closings<Y> {
    /// No file is open. `node` is the file that clients open, if all their closes are reported.
    pub fn new(system: Y, node: Option<FileId>) -> Closings<Y> {
        Closings {
            system,
            node,
            closings: Vec::new(),
            files: HashMap::new(),
            asking: HashSet::new(),
            releasing: HashSet::new(),
            cleared: false,
        }
    }

    /// A monitor has registered through the file, so that it is in the monitor's table of descriptors.
    pub fn used(&mut self, handle: HandleId, monitor: MonitorId) {
        let Some(node) = self.node else { return };
        // One of the monitor's threads may be closing the descriptor while another calls through it.
        let of_file = self.closings.iter().filter(|closing| closing.handle == handle);
        let others = of_file.map(|closing| closing.by).filter(|by| *by != monitor.tid);
        let holders = &mut self.files.entry(handle).or_default().holders;
        let was_empty = holders.is_empty();
        holders.add(&self.system, monitor, node, others);
        self.cleared |= was_empty && !holders.is_empty();
    }

    /// A task makes a call through the file.
    pub fn called(&mut self, handle: HandleId, by: Tid) {
        if self.node.is_none() {
            return;
        }
        let now = self.system.now();
        let users = &mut self.files.entry(handle).or_default().users;
        users.retain(|(user, at)| *user != by && now < *at + LONGEST);
        users.push((by, now));
    }

    /// A close is in the device queue. Who exits or execs closes several files, and releases them all after the
    /// last: while it waits here, it is not past its earlier closes.
    pub fn asks(&mut self, by: Tid) {
        self.asking.insert(by);
    }

    /// A release that waits for an answer is in the device queue.
    pub fn releases(&mut self, handle: HandleId) {
        self.releasing.insert(handle);
    }

    /// A task closes a descriptor of the file; to be called before that is answered. `lives` tells whether a
    /// monitor is still there.
    pub fn begin(&mut self, handle: HandleId, by: Tid, lives: impl Fn(MonitorId) -> bool) {
        let before = self.system.scheduling(by);
        self.is_answered(by, before);
        self.begin_from(handle, by, before, RUN_TIME, lives);
    }

    /// The task goes on from here, with all that it has closed.
    fn is_answered(&mut self, by: Tid, before: Option<Scheduling>) {
        self.asking.remove(&by);
        for closing in self.closings.iter_mut().filter(|closing| closing.by == by) {
            (closing.before, closing.since) = (before, self.system.now());
        }
    }

    /// A task may have closed a descriptor of the file by an exec, which does not wait for an answer: if the
    /// task sleeps, that may be the sleep of its new program, and long.
    pub fn begin_by_exec(&mut self, handle: HandleId, by: Tid, lives: impl Fn(MonitorId) -> bool) {
        let awake = self.system.scheduling(by).filter(|now| !now.asleep);
        self.begin_from(handle, by, awake, RUN_TIME_OF_EXEC, lives);
    }

    fn begin_from(
        &mut self,
        handle: HandleId,
        by: Tid,
        before: Option<Scheduling>,
        run_time: u64,
        lives: impl Fn(MonitorId) -> bool,
    ) {
        let since = self.system.now();
        let file = self.files.entry(handle).or_default();
        file.last = Some(self.system.stamp());
        if let Some(node) = self.node {
            file.holders.closed_by(&self.system, by, node, lives);
        }
        self.closings.retain(|closing| (closing.handle, closing.by) != (handle, by));
        let new = |by, before| {
            let begun = since;
            Closing { handle, by, begun, since, before, run_time, next_look: since, gone_on: false }
        };
        let others = std::mem::take(&mut file.users).into_iter();
        let others = others.filter(|(user, at)| *user != by && since < *at + LONGEST);
        self.closings.extend(others.map(|(user, _)| new(user, None)));
        self.closings.push(new(by, before));
        for closing in self.closings.iter_mut().filter(|closing| closing.handle == handle) {
            closing.next_look = since + if file.holders.is_empty() { STEP } else { LONG_STEP };
        }
    }

    /// A task closes a descriptor of a file without registrations.
    pub fn begin_unregistered(&mut self, handle: HandleId, by: Tid) {
        // Who has it open is known of files with registrations only.
        if let Some(file) = self.files.get_mut(&handle) {
            *file = File { users: std::mem::take(&mut file.users), ..File::default() };
        }
        self.called(handle, by);
        let closes_others = self.closings.iter().any(|closing| closing.by == by);
        let before = closes_others.then(|| self.system.scheduling(by)).flatten();
        self.is_answered(by, before);
    }

    /// The task has done something since: what it closed would have been released before.
    pub fn past(&mut self, task: Tid) {
        self.keep(|closing| closing.by != task);
    }

    /// The file is released; to be called before that is answered.
    pub fn end(&mut self, handle: HandleId) {
        self.closings.retain(|closing| closing.handle != handle);
        self.files.remove(&handle);
        if !self.releasing.remove(&handle) {
            return;
        }
        let now = self.system.now();
        for closing in self.closings.iter_mut().filter(|it| it.before.is_some() && it.is_recent(now)) {
            // Who sleeps after the answer did not wait for it.
            let awake = |now| Scheduling { asleep: false, ..now };
            (closing.before, closing.since) = (self.system.scheduling(closing.by).map(awake), now);
        }
    }

    /// Looks how far the closers are; to be called before the device queue is drained.
    pub fn look(&mut self) {
        if self.closings.is_empty() {
            return;
        }
        let (system, now, files) = (&self.system, self.system.now(), &self.files);
        for closing in self.closings.iter_mut().filter(|closing| now >= closing.next_look) {
            let held = files.get(&closing.handle).is_none_or(|file| file.holders.is_empty());
            closing.next_look = now + if held { STEP } else { LONG_STEP };
            closing.gone_on = closing.is_past(system, now);
        }
    }

    /// Forgets the closers that had gone on at the look; to be called when the device queue has been drained.
    pub fn forget_past(&mut self) {
        let now = self.system.now();
        for closing in &mut self.closings {
            let may_release = !self.releasing.is_empty() && closing.is_recent(now);
            closing.gone_on &= !may_release && !self.asking.contains(&closing.by);
        }
        self.keep(|closing| !closing.gone_on);
    }

    /// True while one of those who close the file may be about to release it, so that a monitor in this process
    /// must not be signalled. When false, the device queue as it was last drained has held its release, if there is
    /// one.
    ///
    /// Where closes are not reported a release waits for its answer, and what comes before that is in time; only a
    /// new program must not be signalled that an exec has begun.
    pub fn in_doubt(&self, handle: HandleId, process: Option<Tgid>) -> bool {
        let concerns = |by| self.node.is_some() || process.is_some_and(|process| process.leader() == by);
        self.closings.iter().any(|closing| closing.handle == handle && concerns(closing.by))
            && self.files.get(&handle).is_none_or(|file| file.holders.is_empty())
    }

    /// True if some doubt has ended since the last call.
    pub fn have_cleared(&mut self) -> bool {
        std::mem::take(&mut self.cleared)
    }

    fn keep(&mut self, stays: impl Fn(&Closing) -> bool) {
        let before = self.closings.len();
        self.closings.retain(stays);
        self.cleared |= self.closings.len() < before;
    }

    /// When [`look`](Closings::look) will find something new. Looking in good time, and not only when
    /// there is something to signal, keeps it from delaying the signal.
    pub fn next_look(&self) -> Option<Instant> {
        self.closings.iter().map(|closing| closing.next_look).min()
    }

    /// True if no file is known.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.closings.is_empty()
    }

    /// True if a descriptor of the file was closed since then.
    pub fn any_since(&self, handle: HandleId, then: Stamp) -> bool {
        self.files.get(&handle).and_then(|file| file.last).is_some_and(|last| last > then)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::procfs;
    use crate::system::Linux;
    use std::process::{Command, Stdio};

    #[test]
    fn who_sleeps_after_an_exec_is_not_waited_for_until_it_wakes() {
        let mut sleeper = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat is everywhere");
        let tid = Tid(sleeper.id() as i32);
        while procfs::scheduling(tid.0).is_some_and(|now| !now.asleep) {
            std::thread::yield_now();
        }
        let mut closings = Closings::new(Linux::new().expect("epoll"), None);
        closings.begin_by_exec(HandleId(1), tid, |_| true);
        assert!(closings.in_doubt(HandleId(1), Some(Tgid(tid.0))), "it may be in the middle of the exec");
        let hangs = Instant::now() + Duration::from_secs(60);
        while closings.in_doubt(HandleId(1), Some(Tgid(tid.0))) {
            assert!(Instant::now() < hangs, "it is waited for until it wakes");
            closings.look();
            closings.forget_past();
        }
        drop(sleeper.stdin.take());
        sleeper.wait().expect("it is our child");
    }
}
