//! The kernel's count of the proc connector's listeners, and how it is mended.
//!
//! Any user can make the kernel miscount; at 0 and below nobody is sent anything, not even answers
//! (docs/kernel-facts.md#listeners). The count cannot be read. So it is raised until we hear of ourselves, in
//! growing steps and however long that takes, a million in about a second; and then lowered to what it should
//! be: a count that is too high makes the kernel work for nobody.

use std::time::{Duration, Instant};

use super::super::SourceError;
use super::notice::Notice;
use super::proc_connector::{BEAT, ProcConnector};

pub(super) const LISTEN: u32 = 1;
pub(super) const IGNORE: u32 = 2;
/// No operation of the connector. After it a LISTEN counts again, on a socket that already listens.
const INVALID: u32 = 7;

/// How long the count is raised before all else has its turn.
const SLICE: Duration = Duration::from_millis(1);

/// For so long nothing but that turn is left between two slices; then as much time again, for who needs the
/// processor. Long enough for millions.
const HURRY: Duration = Duration::from_secs(3);

/// Operations between two looks whether they were enough.
const MOST_PUSHES: usize = 256;

/// A count that is being raised.
#[derive(Debug)]
pub(super) struct Mending {
    since: Instant,
    step: usize,
    next: Instant,
    /// When it is to be told again that nothing comes.
    tell_at: Instant,
}

impl Mending {
    pub(super) fn begin(now: Instant) -> Mending {
        Mending { since: now, step: 1, next: now, tell_at: now + BEAT }
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }
}

impl ProcConnector {
    /// Finds out whether events come.
    pub(super) fn beat(&mut self) {
        let now = Instant::now();
        self.next_beat = now + BEAT;
        if !self.hears_now().unwrap_or(false) {
            self.mending = Some(Mending::begin(now));
        }
    }

    /// True if events come. One that is looked for may have been dropped when the queue ran over; then it is empty
    /// now, and the next one is not.
    pub(super) fn hears_now(&mut self) -> Result<bool, SourceError> {
        self.overrun = false;
        Ok(self.heard_of_ourselves(Duration::ZERO)?
            || (self.overrun && self.heard_of_ourselves(Duration::ZERO)?))
    }

    /// Raises the count for at most a slice, if nothing comes. Tells after how long that wants to go on.
    pub(super) fn mend(&mut self, now: Instant) -> Option<Duration> {
        let mut mending = self.mending.take()?;
        if now < mending.next {
            let left = mending.next - now;
            self.mending = Some(mending);
            return Some(left);
        }
        // What fails is tried again.
        if self.raise_count(&mut mending.step, now + SLICE).unwrap_or(false) {
            self.next_beat = Instant::now() + BEAT;
            self.notices.push_back(Notice::Deaf { mended: true });
            return None;
        }
        let end = Instant::now();
        if end >= mending.tell_at {
            mending.tell_at = end + BEAT;
            self.notices.push_back(Notice::Deaf { mended: false });
        }
        let pause = if end < mending.since + HURRY { Duration::ZERO } else { end - now };
        mending.next = end + pause;
        self.mending = Some(mending);
        Some(pause)
    }

    /// Waits until events come, but not longer than this; true if they do.
    pub(super) fn mend_for(&mut self, limit: Duration) -> Result<bool, SourceError> {
        let deadline = Instant::now() + limit;
        let mut step = 1;
        let hears = self.hears_now()? || self.raise_count(&mut step, deadline)?;
        if hears {
            self.mending = None;
        }
        Ok(hears)
    }

    /// Raises the count until events come; false if that takes longer.
    fn raise_count(&mut self, step: &mut usize, deadline: Instant) -> Result<bool, SourceError> {
        while Instant::now() < deadline {
            self.count(LISTEN, *step)?;
            if self.hears_now()? {
                self.lower_count(*step)?;
                return Ok(true);
            }
            *step = (*step * 2).min(MOST_PUSHES);
        }
        Ok(false)
    }

    /// The last so many operations have brought the count above 0. Brings it down to 1.
    fn lower_count(&mut self, mut surplus: usize) -> Result<(), SourceError> {
        while surplus > 1 {
            let half = surplus / 2;
            // A socket whose last operation is IGNORE hears nothing.
            self.count(IGNORE, half + 1)?;
            self.count(LISTEN, 1)?;
            if self.hears_now()? {
                surplus -= half;
            } else {
                self.count(LISTEN, half)?;
                surplus = half;
            }
        }
        Ok(())
    }

    /// Has the kernel count this socket's operation so many times.
    fn count(&mut self, operation: u32, times: usize) -> Result<(), SourceError> {
        for _ in 0..times {
            self.send(INVALID)?;
            self.send(operation)?;
        }
        Ok(())
    }
}
