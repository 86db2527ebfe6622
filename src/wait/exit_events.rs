//! The status of a process from the kernel's exit event, where no pidfd keeps it (before Linux 6.15). Before Linux 6.6
//! that is for root alone.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::event::{Event, Kind};
use crate::ids::Tid;
use crate::source::{Notice, ProcConnector, SourceError};

/// Room for as many events as one process can have before its end is read, and then some: what other
/// processes do is not sent.
const QUEUE: usize = 1 << 20;

/// The event is queued some microseconds after the pidfd has become readable.
const LIMIT: Duration = Duration::from_secs(1);

/// A subscription to the events of one process.
#[derive(Debug)]
pub struct ExitEvents {
    source: ProcConnector,
    pid: Tid,
}

impl ExitEvents {
    /// Subscribes to the events of this process.
    pub fn of(pid: i32) -> Result<ExitEvents, SourceError> {
        let mut source = ProcConnector::new(QUEUE);
        source.watch(Tid(pid));
        source.commit()?;
        Ok(ExitEvents { source, pid: Tid(pid) })
    }

    /// The status of the process, which has ended. `None`: the event did not come.
    pub fn status(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + LIMIT;
        loop {
            while let Some(notice) = self.source.next_notice().ok()? {
                match notice {
                    Notice::Event(Event { kind: Kind::ProcessExit, target, status, .. })
                        if target == self.pid =>
                    {
                        return status;
                    }
                    _ => {}
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(self.source.poll_fd()?, PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::try_from(left).ok()?) == Ok(0) {
                return None;
            }
        }
    }
}
