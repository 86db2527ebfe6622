//! What a new process must not inherit.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::SigSet;

/// Has the program started with this signal mask instead of ours.
pub fn with_signal_mask(command: &mut Command, mask: SigSet) {
    // SAFETY: between fork and exec only async-signal-safe calls are allowed, and the closure makes
    // one, sigprocmask.
    unsafe {
        command.pre_exec(move || Ok(mask.thread_set_mask()?));
    }
}
