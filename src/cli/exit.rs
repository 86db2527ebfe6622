//! The exit statuses of all commands.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use nix::sys::signal::Signal;

/// How a command ends, as the caller's shell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: wrong usage, or any error without a status of its own.
    Error,
    /// 2: no device, no permission, or no support by the kernel.
    Unavailable,
    /// 3: the time was over before what was waited for.
    TimedOut,
    /// 124: the same, where smaller statuses are a program's, as timeout(1) has it.
    ProgramTimedOut,
    /// 4: events were lost, which --strict makes an error.
    Lost,
    /// 128 and the number of the signal that ended the command: 130 for SIGINT, 141 (SIGPIPE) where nobody
    /// reads the output any more.
    Signal(Signal),
    /// The status of the program that the command ran; 128 and the number of the signal that killed it.
    Program(ExitStatus),
    /// 125: an error of ours, where smaller statuses are a program's, as env(1) and timeout(1) have it.
    OwnError,
    /// 126: the program cannot be executed.
    CannotExecute,
    /// 127: the program was not found.
    NotFound,
}

impl Exit {
    /// The number.
    pub fn status(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Error => 1,
            Exit::Unavailable => 2,
            Exit::TimedOut => 3,
            Exit::Lost => 4,
            Exit::ProgramTimedOut => 124,
            Exit::Signal(signal) => 128 + signal as u8,
            Exit::Program(status) => {
                status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)) as u8
            }
            Exit::OwnError => 125,
            Exit::CannotExecute => 126,
            Exit::NotFound => 127,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.status())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_status_is_passed_on_and_its_signal_is_added_to_128() {
        assert_eq!(Exit::Program(ExitStatus::from_raw(7 << 8)).status(), 7);
        assert_eq!(Exit::Program(ExitStatus::from_raw(libc::SIGKILL)).status(), 137);
        assert_eq!(Exit::Program(ExitStatus::from_raw(libc::SIGSEGV | 0x80)).status(), 139);
        assert_eq!(Exit::Signal(Signal::SIGINT).status(), 130);
    }
}
