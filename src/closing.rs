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
use crate::sys::procfs;

/// How long the kernel takes at most, once the closer runs again, to queue the release: a few
/// microseconds of its time, so this allows for an interruption.
const STEP: Duration = Duration::from_micros(500);

/// How long a closer that does not run is waited for, if it cannot be told that it did.
const LONGEST: Duration = Duration::from_millis(50);

/// How long a close is remembered that was not the last.
const KEPT: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Stage {
    /// The closer may still wait for our answer, or for a processor.
    Answered,
    /// It has run since.
    Ran,
    /// It was not the last close.
    Open,
}

#[derive(Debug)]
struct Closing {
    by: Tid,
    stamp: Stamp,
    since: Instant,
    /// How often the closer had been given a processor.
    turns: Option<u64>,
    next_look: Instant,
    stage: Stage,
}

/// The last close of each open file with registrations.
#[derive(Debug, Default)]
pub struct Closings(HashMap<HandleId, Closing>);

impl Closings {
    /// A task closes a descriptor of the file; to be called before that is answered.
    pub fn begin(&mut self, handle: HandleId, by: Tid) {
        let since = Instant::now();
        let closing = Closing {
            by,
            stamp: Stamp(monotonic_ns()),
            since,
            turns: procfs::times_scheduled(by.0),
            next_look: since + STEP,
            stage: Stage::Answered,
        };
        self.0.insert(handle, closing);
    }

    /// A request shows that the file is open, and that its caller is past whatever it closed.
    pub fn request(&mut self, caller: Tid, handle: HandleId) {
        self.past(caller);
        if let Some(closing) = self.0.get_mut(&handle) {
            closing.stage = Stage::Open;
        }
        self.0.retain(|_, closing| !matches!(closing.stage, Stage::Open) || closing.since.elapsed() < KEPT);
    }

    /// The task has done something since: what it closed would have been released before.
    pub fn past(&mut self, task: Tid) {
        for closing in self.0.values_mut().filter(|closing| closing.by == task) {
            closing.stage = Stage::Open;
        }
    }

    /// The file is released.
    pub fn end(&mut self, handle: HandleId) {
        self.0.remove(&handle);
    }

    /// True while the file may be closed. Once false, the requests that were read before the call
    /// hold its release, if there is one.
    pub fn in_doubt(&mut self, handle: HandleId) -> bool {
        let Some(closing) = self.0.get_mut(&handle) else { return false };
        let now = Instant::now();
        if matches!(closing.stage, Stage::Open) {
            return false;
        }
        if now < closing.next_look {
            return true;
        }
        closing.next_look = now + STEP;
        match closing.stage {
            Stage::Answered => {
                let turns = procfs::times_scheduled(closing.by.0);
                if turns.is_none() || turns != closing.turns || now > closing.since + LONGEST {
                    closing.stage = Stage::Ran;
                }
                true
            }
            Stage::Ran | Stage::Open => {
                closing.stage = Stage::Open;
                false
            }
        }
    }

    /// True if a descriptor of the file was closed since then.
    pub fn any_since(&self, handle: HandleId, then: Stamp) -> bool {
        self.0.get(&handle).is_some_and(|closing| closing.stamp > then)
    }
}
