//! What a signal does to this process.

use std::mem::MaybeUninit;
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};

/// `sigaction(2)`, asked only: true if the signal is ignored, as in a shell's background jobs.
pub fn is_ignored(signal: Signal) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null pointer changes nothing, and the kernel fills `action`.
    let result = unsafe { libc::sigaction(signal as i32, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeros are a valid struct sigaction, and so is what the kernel wrote.
    Errno::result(result).is_ok() && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Gives the signal its default action.
pub fn set_default(which: Signal) -> Result<(), Errno> {
    // SAFETY: no handler of ours is involved.
    unsafe { signal(which, SigHandler::SigDfl) }.map(drop)
}

/// Ignores the signal.
pub fn ignore(which: Signal) -> Result<(), Errno> {
    // SAFETY: no handler of ours is involved.
    unsafe { signal(which, SigHandler::SigIgn) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_ignores_sigpipe_and_nothing_ignores_sigusr2() {
        assert!(is_ignored(Signal::SIGPIPE));
        assert!(!is_ignored(Signal::SIGUSR2));
    }
}
