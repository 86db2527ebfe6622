//! Who may end a watch: its user, by a signal.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, OnceLock};

use kmonitor::watch::Control;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cli::signals::Signals;

/// The signals of a watch.
pub struct Interrupts {
    signals: Signals,
    /// The command that is run. A terminal sends it SIGINT and SIGQUIT too, whose choice it is what to do.
    command: Option<i32>,
    ended_by: Arc<OnceLock<Signal>>,
}

impl Interrupts {
    /// The signals to block.
    pub const ALL: [Signal; 5] =
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGCHLD];

    /// These signals, and where to learn which one has ended the watch.
    pub fn new(signals: Signals, command: Option<i32>) -> (Interrupts, Arc<OnceLock<Signal>>) {
        let ended_by = Arc::default();
        (Interrupts { signals, command, ended_by: Arc::clone(&ended_by) }, ended_by)
    }
}

impl AsFd for Interrupts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

impl Control for Interrupts {
    fn ends(&mut self) -> bool {
        while let Ok(Some((signal, is_kernels))) = self.signals.take_with_sender() {
            match (signal, self.command) {
                (Signal::SIGCHLD, _) => {}
                (Signal::SIGINT | Signal::SIGQUIT, Some(_)) if is_kernels => {}
                (Signal::SIGTERM | Signal::SIGHUP, Some(command)) => {
                    // It is not waited for before the watch has ended, so the number is its own.
                    let _ = kill(Pid::from_raw(command), signal);
                }
                _ => {
                    let _ = self.ended_by.set(signal);
                    return true;
                }
            }
        }
        false
    }
}
