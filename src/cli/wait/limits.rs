//! What ends a wait for events before they have come: a signal, or its time.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kmonitor::watch::Control;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};

use crate::cli::signals::Signals;

/// What has ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    Signal(Signal),
    TimedOut,
}

/// Signals and a timer.
pub struct Limits {
    poll: Epoll,
    signals: Signals,
    _timer: TimerFd,
    ended_by: Arc<OnceLock<Interruption>>,
}

impl Limits {
    /// These signals, and this time from now on; and where to learn what has ended it.
    pub fn new(
        signals: Signals,
        time: Option<Duration>,
    ) -> nix::Result<(Limits, Arc<OnceLock<Interruption>>)> {
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        // A time beyond the clock's end never comes; one of 0 would stop the timer.
        if let Some(time) = time.filter(|time| i64::try_from(time.as_secs()).is_ok()) {
            let time = TimeSpec::from_duration(time.max(Duration::from_nanos(1)));
            timer.set(Expiration::OneShot(time), TimerSetTimeFlags::empty())?;
        }
        let poll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        poll.add(signals.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        poll.add(timer.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 1))?;
        let ended_by = Arc::default();
        Ok((Limits { poll, signals, _timer: timer, ended_by: Arc::clone(&ended_by) }, ended_by))
    }
}

impl AsFd for Limits {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.0.as_fd()
    }
}

impl Control for Limits {
    fn ends(&mut self) -> bool {
        let signal = self.signals.take().ok().flatten();
        let _ = self.ended_by.set(signal.map_or(Interruption::TimedOut, Interruption::Signal));
        true
    }
}
