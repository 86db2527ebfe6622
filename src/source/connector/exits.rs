//! The ends of processes, which the kernel lets others see a moment before it reports them.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::event::{Event, Kind};
use crate::ids::{Stamp, Tgid, Tid};
use crate::sys::clock::monotonic_ns;

use super::census::Missed;
use super::{Connector, SourceError};

/// How long the notice of an exit may come after the process is dead; it took at most 15 µs.
pub(super) const LATE_EXIT: Duration = Duration::from_millis(20);

/// How long it is waited for without sleeping: to sleep and to wake costs more.
const SPIN: Duration = Duration::from_micros(20);

/// How long an exit that has begun is waited for without sleeping. One that takes longer has much memory to
/// give back, in comparison with which the time to wake is small.
const LONGEST: Duration = Duration::from_micros(400);

/// Processes that are dead and whose notice has not come.
#[derive(Debug, Default)]
pub struct Unheard {
    /// Reported; with the time when they were found dead.
    reported: VecDeque<(Tid, Instant)>,
    /// Not reported, since the notice will tell the cause.
    awaited: VecDeque<(Tid, Instant)>,
}

impl Unheard {
    /// When the next of them is given up.
    pub fn deadline(&self) -> Option<Instant> {
        let oldest = [self.reported.front(), self.awaited.front()];
        oldest.into_iter().flatten().map(|(_, since)| *since + LATE_EXIT).min()
    }

    /// True if there is an exit to be reported when its notice comes.
    pub fn is_awaited(&self) -> bool {
        !self.awaited.is_empty()
    }
}

impl Connector {
    /// A target has begun to exit, on another processor: waits without sleeping until it has ended, or there
    /// is something else to do, which it may be waiting for.
    pub(super) fn await_exit(&mut self, target: Tid, other: BorrowedFd<'_>) {
        let Some(exit) = self.targets.exit_fd(target) else { return };
        let fds = [Some(exit), self.socket.poll_fd(), Some(other)];
        let mut fds: Vec<_> =
            fds.into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let (begin, mut awaited) = (Instant::now(), false);
        while poll(&mut fds, PollTimeout::ZERO) == Ok(0) && begin.elapsed() < LONGEST {
            awaited = true;
        }
        if awaited && fds[0].any() == Some(true) {
            self.observer.counters.exits_awaited.add();
        }
    }

    /// Reports the exits of targets that are dead, behind everything that they did.
    pub(super) fn report_the_dead(&mut self) -> Result<(), SourceError> {
        if self.exec.is_some() {
            return Ok(());
        }
        let dead = self.targets.dead();
        if dead.is_empty() {
            return Ok(());
        }
        self.read(usize::MAX, Some(Stamp(monotonic_ns())))?;
        if self.exec.is_some() {
            // What the dead did may be kept behind it: they are found again.
            return Ok(());
        }
        let now = Instant::now();
        for target in dead {
            if self.targets.exit_is_due(target) {
                if self.with_cause {
                    self.targets.disarm(target);
                    self.unheard.awaited.push_back((target, now));
                } else {
                    self.report_exit(target);
                    self.targets.told_ahead(target);
                    self.unheard.reported.push_back((target, now));
                }
            }
        }
        Ok(())
    }

    fn report_exit(&mut self, target: Tid) {
        self.report_missed(Missed { kind: Kind::ProcessExit, target, tgid: Tgid(target.0) });
    }

    /// Reports what a target has done, and what the socket has not delivered.
    pub(super) fn report_missed(&mut self, missed: Missed) {
        let Missed { kind, target, tgid } = missed;
        let at = Stamp(monotonic_ns());
        self.handle_event(Event { kind, target, subject: target, tgid, uid: None, status: None, at });
    }

    /// Takes note of notices that have come, and of those that will not.
    pub(super) fn give_up_unheard(&mut self) {
        // From a deaf socket no notice comes.
        let patience = if self.socket.deaf_since().is_some() { Duration::ZERO } else { LATE_EXIT };
        let late = Instant::now().checked_sub(patience);
        let is_late = |since: Instant| late.is_some_and(|late| since <= late);
        while let Some((target, since)) = self.unheard.reported.front().copied() {
            match self.targets.exit_is_unheard(target) {
                true if is_late(since) => self.give_up(target),
                true => break,
                false => {}
            }
            self.unheard.reported.pop_front();
        }
        while let Some((target, since)) = self.unheard.awaited.front().copied() {
            match self.targets.exit_is_unheard(target) {
                true if is_late(since) => {
                    self.report_exit(target);
                    self.give_up(target);
                }
                true => break,
                false => {}
            }
            self.unheard.awaited.pop_front();
        }
    }

    fn give_up(&mut self, target: Tid) {
        self.targets.told_instead(target);
        self.observer.counters.exits_recovered.add();
        self.socket.doubt();
    }

    /// Waits for a moment, without sleeping, for the notice of an exit that has just been reported. True if
    /// something has come.
    pub(super) fn spin(&mut self) -> Result<bool, SourceError> {
        let Some((_, since)) = self.unheard.reported.back().or(self.unheard.awaited.back()).copied() else {
            return Ok(false);
        };
        while since.elapsed() < SPIN {
            std::hint::spin_loop();
            if !self.read(1, None)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
