//! Real-time signals, which nix does not name, taken from a descriptor.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};

/// A real-time signal, blocked in the thread that made this.
#[derive(Debug)]
pub struct RealTimeSignal {
    number: i32,
    arrived: SignalFd,
}

impl RealTimeSignal {
    /// Blocks `SIGRTMIN` + `offset` in the calling thread, so that it waits to be taken.
    /// EINVAL: there is no such signal.
    pub fn block(offset: i32) -> Result<RealTimeSignal, Errno> {
        let number = libc::SIGRTMIN().checked_add(offset).filter(|number| *number <= libc::SIGRTMAX());
        let number = number.filter(|number| *number >= libc::SIGRTMIN()).ok_or(Errno::EINVAL)?;
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset makes a valid set of the memory, and sigaddset changes that.
        let set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            Errno::result(libc::sigaddset(set.as_mut_ptr(), number))?;
            SigSet::from_sigset_t_unchecked(set.assume_init())
        };
        set.thread_block()?;
        let arrived = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(RealTimeSignal { number, arrived })
    }

    /// Its number.
    pub fn number(&self) -> i32 {
        self.number
    }

    /// The first of those that have arrived, if any.
    pub fn take(&self) -> Result<Option<siginfo>, Errno> {
        self.arrived.read_signal()
    }
}

impl AsFd for RealTimeSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.arrived.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queued_signal_is_taken_once() {
        let signal = RealTimeSignal::block(3).expect("SIGRTMIN+3 is everywhere");
        // SAFETY: no pointers; tgkill reaches this very thread.
        let sent =
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), signal.number()) };
        assert_eq!(sent, 0);
        let taken = signal.take().expect("read").expect("it is pending");
        assert_eq!((taken.ssi_signo as i32, taken.ssi_code), (signal.number(), libc::SI_TKILL));
        assert!(signal.take().expect("read").is_none());
        assert_eq!(RealTimeSignal::block(1000).err(), Some(Errno::EINVAL));
        assert_eq!(RealTimeSignal::block(-1).err(), Some(Errno::EINVAL));
    }
}
