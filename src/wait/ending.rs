//! How a process ended.

use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use super::process::Process;
use crate::sys::pidfd::PidFd;

/// What is known of the end of a process that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// This is its status.
    Status(ExitStatus),
    /// It is a zombie whose status we may not see; it will be known when the parent has waited for it.
    NotReaped,
    /// It was reaped, and this kernel keeps no status (before Linux 6.15).
    Unknown,
}

/// Finds out how the process ended. It must have ended.
pub fn ending(pid: i32, pidfd: &PidFd) -> Ending {
    if let Some(status) = own_child_status(pidfd) {
        return Ending::Status(status);
    }
    // As long as it is not reaped, no other process has its pid.
    if let Some(status) = Process(pid).zombie_status()
        && !pidfd.is_reaped()
    {
        return Ending::Status(status);
    }
    // Asked first, lest it be reaped in between.
    let reaped = pidfd.is_reaped();
    match pidfd.exit_status() {
        Some(status) => Ending::Status(status),
        None if reaped => Ending::Unknown,
        None => Ending::NotReaped,
    }
}

/// Waits for the process if it is our child, as after `exec kmonitor` in a shell: nobody else would.
fn own_child_status(pidfd: &PidFd) -> Option<ExitStatus> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    match waitid(Id::PIDFd(pidfd.as_fd()), flags).ok()? {
        WaitStatus::Exited(_, code) => Some(ExitStatus::from_raw(code << 8)),
        WaitStatus::Signaled(_, signal, core) => {
            Some(ExitStatus::from_raw(signal as i32 | if core { 0x80 } else { 0 }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_status_of_an_own_child_is_known_and_the_child_is_reaped() {
        for (script, raw) in [("exit 7", 7 << 8), ("kill -TERM $$", libc::SIGTERM)] {
            let mut child = Command::new("sh").args(["-c", script]).spawn().expect("cannot run sh");
            let pid = child.id() as i32;
            let pidfd = PidFd::open(pid).expect("pidfd_open");
            while !pidfd.has_exited() {
                std::thread::yield_now();
            }
            assert_eq!(ending(pid, &pidfd), Ending::Status(ExitStatus::from_raw(raw)));
            assert!(pidfd.is_reaped());
            child.wait().expect_err("it was waited for");
        }
    }
}
