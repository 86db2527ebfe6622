//! `fork(2)` without exec, and what the child must not keep.

use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid, fork};

/// How long a thread that has been joined may take to vanish.
const JOINED: Duration = Duration::from_secs(1);

/// Has a child process do this work and end. EBUSY: this process has other threads, whose locks the
/// child would inherit and nobody would ever open.
pub fn child(work: impl FnOnce()) -> Result<Pid, Errno> {
    let deadline = Instant::now() + JOINED;
    while fs::read_dir("/proc/self/task").map_or(0, Iterator::count) != 1 {
        if Instant::now() > deadline {
            return Err(Errno::EBUSY);
        }
        thread::sleep(Duration::from_millis(1));
    }
    // SAFETY: there is no other thread, so the child's memory is as consistent as ours.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let status = i32::from(catch_unwind(AssertUnwindSafe(work)).is_err());
            // SAFETY: it ends the process; what else would run at an exit is the parent's.
            unsafe { libc::_exit(status) }
        }
    }
}

/// Closes all descriptors of this process but standard input, output and error and these. To be called by
/// a new child alone, whose copies of the parent's values nobody will use.
pub fn close_all_but(kept: &[RawFd]) -> io::Result<()> {
    let open = fs::read_dir("/proc/self/fd")?.flatten();
    let open: Vec<RawFd> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2 && !kept.contains(descriptor)) {
        // SAFETY: as the caller promises, whatever owns the descriptor is never used again.
        unsafe { libc::close(descriptor) };
    }
    Ok(())
}
