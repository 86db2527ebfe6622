//! `kmonitor wait --start` and `--tree`: waits for which a source of events is needed.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use kmonitor::records::{Ended, What};
use kmonitor::wait::{self, Ending};
use kmonitor::watch::{self, Events, ROOM, Request, Scope, Stream};
use nix::sys::signal::Signal;

use super::limits::{Interruption, Limits};
use super::report::Report;
use super::{Exit, Failure, Found, WaitOptions, cannot_wait};
use crate::cli::followed::failure;
use crate::cli::found;
use crate::cli::quote::command_line;
use crate::cli::signals::Signals;

/// Waits until a process starts that is as described.
pub fn start(options: &WaitOptions, begun: Instant, signals: Signals) -> Result<Exit, Failure> {
    let selector = found::selector(&options.targets);
    if selector.is_empty() {
        let error = "which process is to start is missing: options that describe it (--help shows them)";
        return Err(Failure::new(Exit::Error, error));
    }
    let exec = Events { fork: false, exec: true, exit: false, thread: false };
    let report =
        Report::new(options, begun, &Found { targets: Vec::new(), gone: Vec::new(), selected: None });
    let (mut stream, ended_by) = watch(options, signals, Scope::All, exec, &report)?;
    // Whoever starts from now on is in the stream.
    let there = wait::select(&selector).map_err(found::failure)?;
    for target in &there {
        if let Some(exit) = report.print(format_args!("{} is there already", target.pid))? {
            return Ok(exit);
        }
    }
    if !there.is_empty() {
        return Ok(Exit::Done);
    }
    for record in stream.by_ref() {
        let What::Exec { process, .. } = &record.what else { continue };
        if selector.matches_record(process) {
            let args =
                process.args_bytes().map_or(String::new(), |args| format!(": {}", command_line(&args)));
            return Ok(report.started(process.pid, &args)?.unwrap_or(Exit::Done));
        }
    }
    Ok(match over(&stream, &ended_by)? {
        Some(Interruption::Signal(signal)) => Exit::Signal(signal),
        Some(Interruption::TimedOut) => report.nothing_started(),
        None => Exit::Signal(Signal::SIGPIPE),
    })
}

/// Waits until all these have exited, and all their descendants.
pub fn tree(options: &WaitOptions, begun: Instant, signals: Signals, found: Found) -> Result<Exit, Failure> {
    let mut report = Report::new(options, begun, &found);
    if let Some(exit) = report.not_there(&found.gone)? {
        return Ok(exit);
    }
    if found.targets.is_empty() {
        return Ok(Exit::Done);
    }
    let events = Events { fork: true, exec: false, exit: true, thread: false };
    let (mut stream, ended_by) = watch(options, signals, Scope::Targets(found.targets), events, &report)?;
    let mut is_over = false;
    for record in stream.by_ref() {
        let exit = match &record.what {
            What::Seen { process, tid: None } | What::Fork { process, .. } => {
                report.joined(process.pid);
                None
            }
            What::Exit { process, .. } => report.exited(process.process.pid, ending(process))?,
            What::End { .. } => {
                is_over = true;
                None
            }
            _ => None,
        };
        if let Some(exit) = exit {
            return Ok(exit);
        }
    }
    Ok(match over(&stream, &ended_by)? {
        Some(Interruption::Signal(signal)) => report.interrupted(signal),
        Some(Interruption::TimedOut) => report.timed_out(),
        None if is_over && report.is_done() => Exit::Done,
        None => Exit::Signal(Signal::SIGPIPE),
    })
}

fn watch(
    options: &WaitOptions,
    signals: Signals,
    scope: Scope,
    events: Events,
    report: &Report<'_>,
) -> Result<(Stream, Arc<OnceLock<Interruption>>), Failure> {
    let (limits, ended_by) = Limits::new(signals, options.timeout).map_err(cannot_wait)?;
    let request = Request { scope, follow: true, events, source: options.source, room: ROOM };
    let output = if options.quiet { None } else { io::stdout().as_fd().try_clone_to_owned().ok() };
    let stream = watch::start(request, limits, output).map_err(failure)?;
    if let Some(remark) = &stream.remark {
        report.remark(remark);
    }
    Ok((stream, ended_by))
}

/// Why there are no more records.
fn over(stream: &Stream, ended_by: &OnceLock<Interruption>) -> Result<Option<Interruption>, Failure> {
    match stream.failure() {
        Some(error) => Err(failure(error)),
        None => Ok(ended_by.get().copied()),
    }
}

fn ending(process: &Ended) -> Ending {
    let core = if process.core_dumped == Some(true) { 0x80 } else { 0 };
    match (process.exit_code, process.signal) {
        (Some(code), _) => Ending::Status(ExitStatus::from_raw(code << 8)),
        (None, Some(signal)) => Ending::Status(ExitStatus::from_raw(signal | core)),
        (None, None) => Ending::Unknown,
    }
}
