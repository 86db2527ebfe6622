//! Closes whose outcome is not known yet.
//!
//! FUSE tells of every close(), and answers to it come first; whether that descriptor was the last
//! shows only in the release that follows, which the closer does not wait for. Between the two a
//! signal could overtake the end of close(). So from the answer on, until the file is known to be
//! open still, its registrations' signals are held; a release drops them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::ids::{HandleId, Stamp, Tid};
use crate::sys::clock::monotonic_ns;
use crate::sys::procfs::{self, Scheduling};

/// How often a closer is looked at.
const STEP: Duration = Duration::from_micros(500);

/// How long the closer runs at most before it has queued the release: some microseconds, or a hundred
/// times as much where a processor is emulated. It may lose its processor in between, so the time that
/// has passed says nothing; and what a hypervisor takes away may count as run.
const RUN_TIME: u64 = 4_000_000;

/// How long a closer is waited for of which the kernel does not tell how long it ran.
const LONGEST: Duration = Duration::from_millis(50);

/// A close whose outcome is not known.
#[derive(Debug)]
struct Closing {
    handle: HandleId,
    by: Tid,
    since: Instant,
    /// The closer while it waited for our answer.
    waiting: Option<Scheduling>,
    next_look: Instant,
}

impl Closing {
    /// The closer is past its close: a release that it caused has been queued.
    fn is_past(&mut self, now: Instant) -> bool {
        if now < self.next_look {
            return false;
        }
        self.next_look = now + STEP;
        let Some(then) = self.waiting else { return now > self.since + LONGEST };
        procfs::scheduling(self.by.0).is_none_or(|today| {
            // It does not sleep between our answer and the release.
            let slept = today.asleep && (!then.asleep || today.turns != then.turns);
            slept || today.run_time > then.run_time + RUN_TIME
        })
    }
}

/// The closes of open files with registrations.
#[derive(Debug, Default)]
pub struct Closings {
    in_doubt: Vec<Closing>,
    /// When a descriptor of an open file was closed last.
    last: HashMap<HandleId, Stamp>,
}

impl Closings {
    /// A task closes a descriptor of the file; to be called before that is answered.
    pub fn begin(&mut self, handle: HandleId, by: Tid) {
        let since = Instant::now();
        self.in_doubt.retain(|closing| (closing.handle, closing.by) != (handle, by));
        self.in_doubt.push(Closing {
            handle,
            by,
            since,
            waiting: procfs::scheduling(by.0),
            next_look: since + STEP,
        });
        self.last.insert(handle, Stamp(monotonic_ns()));
    }

    /// The task has done something since: what it closed would have been released before.
    pub fn past(&mut self, task: Tid) {
        self.in_doubt.retain(|closing| closing.by != task);
    }

    /// The file is released.
    pub fn end(&mut self, handle: HandleId) {
        self.in_doubt.retain(|closing| closing.handle != handle);
        self.last.remove(&handle);
    }

    /// Looks how far the closers are; to be called before the device queue is drained.
    pub fn look(&mut self) {
        if !self.in_doubt.is_empty() {
            let now = Instant::now();
            self.in_doubt.retain_mut(|closing| !closing.is_past(now));
        }
    }

    /// True while one of those who close the file may be about to release it. When false, the device
    /// queue as it was last drained has held its release, if there is one.
    pub fn in_doubt(&self, handle: HandleId) -> bool {
        self.in_doubt.iter().any(|closing| closing.handle == handle)
    }

    /// When [`look`](Closings::look) will find something new. Looking in good time, and not only when
    /// there is something to signal, keeps it from delaying the signal.
    pub fn next_look(&self) -> Option<Instant> {
        self.in_doubt.iter().map(|closing| closing.next_look).min()
    }

    /// True if a descriptor of the file was closed since then.
    pub fn any_since(&self, handle: HandleId, then: Stamp) -> bool {
        self.last.get(&handle).is_some_and(|last| *last > then)
    }
}
