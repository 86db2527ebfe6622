//! `kmonitor wait`

mod limits;
mod report;
mod watching;

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use kmonitor::descriptors;
use kmonitor::sys::disposition::set_default;
use kmonitor::sys::pidfd::exit_statuses_are_kept;
use kmonitor::wait::{Ending, ExitEvents, News, Waiting};
use nix::sys::signal::Signal;

use super::exit::Exit;
use super::found::{Found, Purpose};
use super::options::WaitOptions;
use super::signals::Signals;
use super::{Failure, say};
use report::Report;

pub fn wait(options: &WaitOptions) -> Result<Exit, Failure> {
    look_and_wait(options)
        .map_err(|failure| if options.status { failure.beside_a_program() } else { failure })
}

fn look_and_wait(options: &WaitOptions) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let signals = Signals::block(&[Signal::SIGINT, Signal::SIGTERM]).map_err(cannot_wait)?;
    if options.start {
        return watching::start(options, begun, signals);
    }
    // Where it cannot be raised, the limit is reported when it is reached.
    let _ = descriptors::raise_limit();
    let purpose =
        Purpose { verb: "wait for", may_be_gone: options.exited, hint: " (-e makes that no error)" };
    let found = Found::look(&options.targets, purpose)?;
    if options.tree {
        return watching::tree(options, begun, signals, found);
    }
    let enough = enough(&found, options)?;
    let mut report = Report::new(options, begun, &found);
    if let Some(exit) = report.not_there(&found.gone)? {
        return Ok(exit);
    }
    let exit_events = if options.status { exit_events(&found)? } else { None };
    let mut waiting = Waiting::start(found.targets).map_err(cannot_wait)?;
    if options.status {
        waiting.for_status(exit_events);
    }
    waiting.watch_signals(signals.as_fd()).map_err(cannot_wait)?;
    if !options.quiet {
        waiting.watch_output(io::stdout().as_fd()).map_err(cannot_wait)?;
    }
    // A time-out beyond the clock's end never comes.
    let deadline = options.timeout.and_then(|timeout| begun.checked_add(timeout));
    while report.ended() < enough {
        let exit = match waiting.next(deadline).map_err(cannot_wait)? {
            News::Ended(pid, Ending::NotReaped) if options.status => report.not_reaped(pid),
            News::Ended(pid, ending) => report.exited(pid, ending)?,
            News::OutputClosed => Some(Exit::Signal(Signal::SIGPIPE)),
            News::TimedOut => Some(report.timed_out()),
            News::Signal => signals.take().map_err(cannot_wait)?.map(|signal| report.interrupted(signal)),
        };
        if let Some(exit) = exit {
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

/// How many must exit.
fn enough(found: &Found, options: &WaitOptions) -> Result<usize, Failure> {
    let all = found.targets.len() + found.gone.len();
    if options.status && all != 1 {
        let error = format!("--status gives the status of one process, and these are {all}");
        return Err(Failure::new(Exit::Error, error));
    }
    match options.count {
        Some(count) if count > all && !options.exited => {
            let error = format!("{count} processes cannot exit: there are {all} to wait for");
            Err(Failure::new(Exit::Error, error))
        }
        Some(count) => Ok(count.min(all)),
        None => Ok(all),
    }
}

/// The status of the one target comes from here where the kernel keeps none.
fn exit_events(found: &Found) -> Result<Option<ExitEvents>, Failure> {
    // Where the end of children is ignored, the child that is tried out would vanish.
    set_default(Signal::SIGCHLD).map_err(cannot_wait)?;
    if exit_statuses_are_kept().map_err(cannot_wait)? {
        return Ok(None);
    }
    let Some(target) = found.targets.first() else { return Ok(None) };
    match ExitEvents::of(target.pid) {
        Ok(events) => Ok(Some(events)),
        Err(error) => {
            let error = format!(
                "before Linux 6.15 the status of a process comes from the proc connector, and {error} \
                 (or wait without --status)"
            );
            Err(Failure::new(Exit::Unavailable, error))
        }
    }
}

fn cannot_wait(errno: nix::Error) -> Failure {
    Failure::new(Exit::Error, format!("cannot wait: {errno}"))
}
