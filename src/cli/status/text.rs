//! The status for people.

use std::fs;
use std::io::{self, Write};

use kmonitor::status::{Answer, DaemonStatus, Line, RegistrationStatus};

use super::{next, parse};
use crate::cli::Failure;
use crate::cli::quote::command_line;
use crate::cli::words::{count, span};

/// Columns of a number and a name (TASK_COMM_LEN, less the zero).
const TASK: usize = 7 + 1 + 15;

/// Prints all of it.
pub fn print(
    daemon: &DaemonStatus,
    mut answer: Answer,
    to: &mut impl Write,
) -> Result<io::Result<()>, Failure> {
    let mut printed = summary(daemon, to);
    let mut is_first = true;
    loop {
        if printed.is_err() {
            return Ok(printed);
        }
        match parse(&next(&mut answer)?)? {
            Line::Registration(registration) => {
                if is_first {
                    printed = head(to);
                }
                printed = printed.and_then(|()| row(&registration, to));
                is_first = false;
            }
            Line::End { .. } => return Ok(printed),
            Line::Daemon(_) => {}
        }
    }
}

fn summary(daemon: &DaemonStatus, to: &mut impl Write) -> io::Result<()> {
    writeln!(
        to,
        "{}: kmonitor {}, process {}, has served for {}",
        daemon.path,
        daemon.version,
        daemon.pid,
        span(daemon.uptime_seconds.saturating_mul(1_000_000_000))
    )?;
    writeln!(to, "device  {}", daemon.device)?;
    writeln!(to, "events  {}", daemon.source)?;
    writeln!(
        to,
        "now     {} of {} by {}; {}; {}",
        count(daemon.registrations, "registration", "registrations"),
        count(daemon.targets, "target", "targets"),
        count(daemon.monitors, "monitor", "monitors"),
        count(daemon.open_files, "open file", "open files"),
        count(daemon.waiting_signals, "signal waits", "signals wait"),
    )?;
    let counted = daemon.counters.iter().filter(|(_, count)| **count > 0);
    let counted: Vec<_> = counted.map(|(name, count)| format!("{name} {count}")).collect();
    writeln!(to, "so far  {}", if counted.is_empty() { "nothing".to_owned() } else { counted.join(", ") })
}

fn head(to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "\n{:<TASK$}  {:<TASK$}  SIGNAL  EVENTS", "MONITOR", "TARGET")
}

fn row(registration: &RegistrationStatus, to: &mut impl Write) -> io::Result<()> {
    let RegistrationStatus { monitor, target, events, signal, .. } = registration;
    let events: Vec<_> = events.iter().map(|name| name.strip_prefix("process_").unwrap_or(name)).collect();
    let events = if events.is_empty() { "-".to_owned() } else { events.join(",") };
    writeln!(to, "{:<TASK$}  {:<TASK$}  {signal:<6}  {events}", task(*monitor), task(*target))
}

/// A task's number, and the name of who has it now.
fn task(tid: i32) -> String {
    match fs::read(format!("/proc/{tid}/comm")) {
        Ok(name) => format!("{tid:<7} {}", command_line(&[name.trim_ascii_end().to_vec()])),
        Err(_) => format!("{tid:<7} -"),
    }
}
