//! What a new process has as we had it when we were started, and not as we have it now.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};

use super::disposition;

/// What we change for ourselves.
#[derive(Clone, Copy, Debug)]
pub struct Inheritance {
    /// The mask of blocked signals.
    pub mask: SigSet,
    /// SIGCHLD is ignored.
    pub ignores_children: bool,
    /// The limits of open files, soft and hard.
    pub open_files: (u64, u64),
}

/// Has the program started with these.
pub fn with(inheritance: Inheritance, command: &mut Command) -> &mut Command {
    let Inheritance { mask, ignores_children, open_files: (soft, hard) } = inheritance;
    let restore = move || -> io::Result<()> {
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        if ignores_children {
            disposition::ignore(Signal::SIGCHLD)?;
        }
        Ok(mask.thread_set_mask()?)
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed, and the closure makes
    // setrlimit, sigaction and sigprocmask.
    unsafe { command.pre_exec(restore) }
}
