//! What `kmonitor wait` prints, and how it ends.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use kmonitor::wait::Ending;
use nix::sys::signal::Signal;

use super::{Exit, Failure, Found, WaitOptions, say};
use crate::cli::color::Colors;
use crate::cli::words::ending;

/// So many processes are listed at most.
const MOST_LISTED: usize = 10;

/// The state of a wait, for its user.
pub struct Report<'a> {
    options: &'a WaitOptions,
    colors: Colors,
    begun: Instant,
    all: usize,
    running: BTreeSet<i32>,
}

impl Report<'_> {
    /// Says how many processes were selected, if they were.
    pub fn new<'a>(options: &'a WaitOptions, begun: Instant, found: &Found) -> Report<'a> {
        let running: BTreeSet<_> = found.targets.iter().map(|target| target.pid).collect();
        let report = Report {
            options,
            colors: Colors::choose(options.color.color, &io::stdout()),
            begun,
            all: running.len() + found.gone.len(),
            running,
        };
        match found.selected {
            Some(1) => report.remark("1 process matches"),
            Some(count) => report.remark(format_args!("{count} processes match")),
            None => {}
        }
        report
    }

    /// How many have exited.
    pub fn ended(&self) -> usize {
        self.all - self.running.len()
    }

    /// These counted as exited from the beginning.
    pub fn not_there(&self, gone: &[String]) -> Result<Option<Exit>, Failure> {
        for name in gone {
            if let Some(exit) = self.print(format_args!("{name} does not exist"))? {
                return Ok(Some(exit));
            }
        }
        Ok(None)
    }

    /// A process has exited.
    pub fn exited(&mut self, pid: i32, ending: Ending) -> Result<Option<Exit>, Failure> {
        self.running.remove(&pid);
        let status = match ending {
            Ending::Status(status) => format!(", {}", self.describe(status)),
            Ending::NotReaped | Ending::Unknown => String::new(),
        };
        let printed =
            self.print(format_args!("{pid} exited{status}, after {}", seconds(self.begun.elapsed())))?;
        match ending {
            _ if printed.is_some() => Ok(printed),
            Ending::Status(status) if self.options.status => Ok(Some(Exit::Program(status))),
            _ if self.options.status => {
                let error = format!("{pid} has exited, and the kernel did not keep its status");
                Err(Failure::new(Exit::OwnError, error))
            }
            _ => Ok(None),
        }
    }

    /// One more process is waited for, unless it was named.
    pub fn joined(&mut self, pid: i32) {
        self.all += usize::from(self.running.insert(pid));
    }

    /// True if nothing is waited for any more.
    pub fn is_done(&self) -> bool {
        self.running.is_empty()
    }

    /// A process has started that is as described.
    pub fn started(&self, pid: i32, how: &str) -> Result<Option<Exit>, Failure> {
        self.print(format_args!("{pid} started, after {}{how}", seconds(self.begun.elapsed())))
    }

    /// The time is over, and none has.
    pub fn nothing_started(&self) -> Exit {
        self.remark(format_args!(
            "timed out after {}: no such process started",
            seconds(self.begun.elapsed())
        ));
        Exit::TimedOut
    }

    /// A process has exited whose status is not known yet.
    pub fn not_reaped(&self, pid: i32) -> Option<Exit> {
        self.remark(format_args!(
            "{pid} has exited, but its status cannot be seen by us before its parent has waited for it: waiting for that"
        ));
        None
    }

    /// The time is over.
    pub fn timed_out(&self) -> Exit {
        self.remark(format_args!("timed out {}", self.so_far()));
        if self.options.status { Exit::ProgramTimedOut } else { Exit::TimedOut }
    }

    /// A signal asks us to end.
    pub fn interrupted(&self, signal: Signal) -> Exit {
        self.remark(format_args!("{signal} {}", self.so_far()));
        Exit::Signal(signal)
    }

    fn so_far(&self) -> String {
        let mut listed: Vec<_> = self.running.iter().take(MOST_LISTED).map(ToString::to_string).collect();
        if self.running.len() > listed.len() {
            listed.push(format!("and {} more", self.running.len() - listed.len()));
        }
        let time = seconds(self.begun.elapsed());
        let running = listed.join(" ");
        format!("after {time}: {} of {} exited; still running: {running}", self.ended(), self.all)
    }

    fn describe(&self, status: ExitStatus) -> String {
        ending(self.colors, status.code(), status.signal(), status.core_dumped())
    }

    /// Prints a line on standard output. Where nobody reads it any more, we end as SIGPIPE would have it.
    pub fn print(&self, line: impl Display) -> Result<Option<Exit>, Failure> {
        if self.options.quiet {
            return Ok(None);
        }
        match io::stdout().write_all(format!("{line}\n").as_bytes()) {
            Ok(()) => Ok(None),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Some(Exit::Signal(Signal::SIGPIPE))),
            Err(error) => Err(Failure::new(Exit::Error, format!("cannot print what has exited: {error}"))),
        }
    }

    /// Says something that is not the output proper.
    pub fn remark(&self, line: impl Display) {
        if !self.options.quiet {
            say(line);
        }
    }
}

/// With as many digits as a reader wants.
fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 { format!("{seconds:.3} s") } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_few_digits() {
        assert_eq!(seconds(Duration::from_micros(1499)), "0.001 s");
        assert_eq!(seconds(Duration::from_millis(1540)), "1.5 s");
        assert_eq!(seconds(Duration::from_secs(100_000)), "100000.0 s");
    }
}
