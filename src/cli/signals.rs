//! Signals that are taken in turn with other news, from a descriptor.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What ended a wait.
pub enum News {
    /// This signal arrived.
    Signal(Signal),
    /// The other descriptor is readable.
    Readable,
}

/// Signals blocked in this thread, and in all threads that it starts afterwards.
pub struct Signals {
    news: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Blocks these signals. To be called before any thread is started.
    pub fn block(signals: &[Signal]) -> nix::Result<Signals> {
        let set: SigSet = signals.iter().copied().collect();
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let news = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Signals { news, before })
    }

    /// The mask as it was before.
    pub fn mask_before(&self) -> SigSet {
        self.before
    }

    /// Takes a signal that has arrived.
    pub fn take(&self) -> nix::Result<Option<Signal>> {
        let info = self.news.read_signal()?;
        Ok(info.and_then(|info| Signal::try_from(info.ssi_signo as i32).ok()))
    }

    /// Waits for one of the signals or for the descriptor.
    pub fn wait(&self, other: Option<BorrowedFd<'_>>) -> nix::Result<News> {
        loop {
            if let Some(signal) = self.take()? {
                return Ok(News::Signal(signal));
            }
            let mut fds = vec![PollFd::new(self.news.as_fd(), PollFlags::POLLIN)];
            fds.extend(other.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) if fds.get(1).is_some_and(|fd| fd.any().unwrap_or(false)) => return Ok(News::Readable),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }
}
