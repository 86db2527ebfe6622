//! The wait for the end of many processes at once.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::ending::{Ending, ending};
use super::exit_events::ExitEvents;
use super::target::Target;

/// What has come of the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The process of this pid has ended.
    Ended(i32, Ending),
    /// A signal can be read.
    Signal,
    /// Nobody reads the output any more.
    OutputClosed,
    /// The time is over.
    TimedOut,
}

/// Processes that are waited for.
#[derive(Debug)]
pub struct Waiting {
    epoll: Epoll,
    /// `None` once it is done with.
    targets: Vec<Option<Target>>,
    for_status: bool,
    /// Where statuses come from that no pidfd keeps.
    exit_events: Option<ExitEvents>,
    ready: VecDeque<EpollEvent>,
}

/// Events taken from the kernel at once.
const BATCH: usize = 256;

/// What an event is about: the place of a target, or one of these.
const SIGNALS: u64 = u64::MAX;
const OUTPUT: u64 = u64::MAX - 1;

impl Waiting {
    /// Begins to wait.
    pub fn start(targets: Vec<Target>) -> nix::Result<Waiting> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (place, target) in targets.iter().enumerate() {
            epoll.add(&target.pidfd, EpollEvent::new(EpollFlags::EPOLLIN, place as u64))?;
        }
        let targets = targets.into_iter().map(Some).collect();
        Ok(Waiting { epoll, targets, for_status: false, exit_events: None, ready: VecDeque::new() })
    }

    /// Has a process of which [`Ending::NotReaped`] was reported reported again when its parent has waited for
    /// it. Where no pidfd keeps the status, `exit_events` has it.
    pub fn for_status(&mut self, exit_events: Option<ExitEvents>) {
        self.for_status = true;
        self.exit_events = exit_events;
    }

    /// Reports [`News::Signal`] when this signalfd has one.
    pub fn watch_signals(&mut self, fd: BorrowedFd<'_>) -> nix::Result<()> {
        self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, SIGNALS))
    }

    /// Reports [`News::OutputClosed`] when this is a pipe or socket whose other end is closed.
    pub fn watch_output(&mut self, fd: BorrowedFd<'_>) -> nix::Result<()> {
        match self.epoll.add(fd, EpollEvent::new(EpollFlags::empty(), OUTPUT)) {
            // A file.
            Err(Errno::EPERM) => Ok(()),
            result => result,
        }
    }

    /// Waits for the next news. Targets that have ended come before the time-out.
    pub fn next(&mut self, deadline: Option<Instant>) -> nix::Result<News> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                if let Some(news) = self.judge(event)? {
                    return Ok(news);
                }
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let mut events = [EpollEvent::empty(); BATCH];
            match self.epoll.wait(&mut events, timeout(left)) {
                Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(News::TimedOut),
                Ok(count) => self.ready.extend(&events[..count]),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn judge(&mut self, event: EpollEvent) -> nix::Result<Option<News>> {
        let place = match event.data() {
            SIGNALS => return Ok(Some(News::Signal)),
            OUTPUT => return Ok(Some(News::OutputClosed)),
            place => place as usize,
        };
        let Some(slot) = self.targets.get_mut(place) else { return Ok(None) };
        let Some(target) = slot else { return Ok(None) };
        let mut ending = ending(target.pid, &target.pidfd);
        if let (Ending::NotReaped | Ending::Unknown, Some(events)) = (ending, &mut self.exit_events)
            && let Some(status) = events.status()
        {
            ending = Ending::Status(status);
        }
        let news = News::Ended(target.pid, ending);
        if self.for_status && ending == Ending::NotReaped {
            // What is reported without being asked for is the hang-up, when it is reaped.
            self.epoll.modify(&target.pidfd, &mut EpollEvent::new(EpollFlags::empty(), place as u64))?;
        } else {
            *slot = None;
        }
        Ok(Some(news))
    }
}

/// At least this long, or as long as epoll(7) can wait at once.
fn timeout(left: Option<Duration>) -> EpollTimeout {
    left.map_or(EpollTimeout::NONE, |left| {
        let milliseconds = left.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128);
        EpollTimeout::try_from(milliseconds as i32).unwrap_or(EpollTimeout::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::super::target::{Named, open};
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn ends_come_before_the_time_out_and_each_once() {
        let children: Vec<_> = (0..3).map(|_| Command::new("true").spawn().expect("true")).collect();
        let mut living = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat");
        let pids: Vec<_> = children.iter().map(|child| child.id() as i32).collect();
        let all = pids.iter().copied().chain([living.id() as i32]);
        let open = |pid| open(Named { pid, inode: None }).expect("no error").expect("a zombie at least");
        let targets: Vec<_> = all.map(open).collect();
        while !targets[..3].iter().all(Target::has_exited) {
            std::thread::yield_now();
        }
        let mut waiting = Waiting::start(targets).expect("epoll");
        let mut ended = Vec::new();
        // Our own children: they are reaped by this.
        while let News::Ended(pid, Ending::Status(status)) = waiting.next(Some(Instant::now())).expect("wait")
        {
            assert!(status.success());
            ended.push(pid);
        }
        ended.sort_unstable();
        assert_eq!(ended, pids);
        assert_eq!(waiting.next(Some(Instant::now() + Duration::from_millis(2))), Ok(News::TimedOut));
        living.kill().expect("kill");
        living.wait().expect("wait");
    }

    #[test]
    fn no_time_left_is_no_wait_and_a_little_is_not_none() {
        assert_eq!(timeout(None), EpollTimeout::NONE);
        assert_eq!(timeout(Some(Duration::ZERO)), EpollTimeout::ZERO);
        assert_eq!(timeout(Some(Duration::from_nanos(1))), EpollTimeout::from(1u8));
        assert_eq!(timeout(Some(Duration::MAX)), EpollTimeout::MAX);
    }
}
