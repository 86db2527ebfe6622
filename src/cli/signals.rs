//! Signals that are taken in turn with other news, from a descriptor.

use std::os::fd::{AsFd, BorrowedFd};

use kmonitor::sys::disposition::{is_ignored, set_default};
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
    ignored: SigSet,
}

impl Signals {
    /// Blocks these signals, but for those that this process was started to ignore: by nohup(1), or in
    /// the background of a shell without job control. To be called before any thread is started.
    ///
    /// The end of a child is told in any case; and a file that grows past its limit is an error, not the
    /// end.
    pub fn block(signals: &[Signal]) -> nix::Result<Signals> {
        let (mut wanted, mut ignored) = (SigSet::empty(), SigSet::empty());
        for signal in signals {
            if !is_ignored(*signal) {
                wanted.add(*signal);
                continue;
            }
            ignored.add(*signal);
            if *signal == Signal::SIGCHLD {
                set_default(*signal)?;
                wanted.add(*signal);
            }
        }
        let mut blocked = wanted;
        blocked.add(Signal::SIGXFSZ);
        let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let news = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Signals { news, before, ignored })
    }

    /// The mask as it was before.
    pub fn mask_before(&self) -> SigSet {
        self.before
    }

    /// Takes a signal that has arrived.
    pub fn take(&self) -> nix::Result<Option<Signal>> {
        Ok(self.take_with_sender()?.map(|(signal, _)| signal))
    }

    /// The same, and whether the kernel itself has sent it, as for a key of the terminal.
    pub fn take_with_sender(&self) -> nix::Result<Option<(Signal, bool)>> {
        let Some(info) = self.news.read_signal()? else { return Ok(None) };
        let signal = Signal::try_from(info.ssi_signo as i32).ok();
        Ok(signal.map(|signal| (signal, info.ssi_code == libc::SI_KERNEL)))
    }

    /// True if the process ignored this signal before.
    pub fn was_ignored(&self, signal: Signal) -> bool {
        self.ignored.contains(signal)
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
