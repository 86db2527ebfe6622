//! `kmonitor wait`

mod found;
mod report;

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use kmonitor::sys::disposition::is_ignored;
use kmonitor::sys::pidfd::exit_statuses_are_kept;
use kmonitor::wait::{Ending, News, Waiting, raise_descriptor_limit};
use nix::sys::signal::Signal;

use super::exit::Exit;
use super::options::WaitOptions;
use super::signals::Signals;
use super::{Failure, say};
use found::Found;
use report::Report;

pub fn wait(options: &WaitOptions) -> Result<Exit, Failure> {
    look_and_wait(options).map_err(|failure| match failure.exit {
        // Small statuses are the target's.
        Exit::Error | Exit::Unavailable if options.status => Failure { exit: Exit::OwnError, ..failure },
        _ => failure,
    })
}

fn look_and_wait(options: &WaitOptions) -> Result<Exit, Failure> {
    let begun = Instant::now();
    // A shell's background jobs ignore SIGINT, and go on.
    let deadly = [Signal::SIGINT, Signal::SIGTERM].into_iter().filter(|signal| !is_ignored(*signal));
    let signals = Signals::block(&deadly.collect::<Vec<_>>()).map_err(cannot_wait)?;
    raise_descriptor_limit();
    let found = Found::look(options)?;
    let enough = found.enough(options)?;
    if options.status && !exit_statuses_are_kept().map_err(cannot_wait)? {
        let error = "this kernel does not keep the status of a process (Linux 6.15 and later do): \
                     wait without --status";
        return Err(Failure::new(Exit::Unavailable, error));
    }
    let mut report = Report::new(options, begun, &found);
    if let Some(exit) = report.not_there(&found.gone)? {
        return Ok(exit);
    }
    let mut waiting = Waiting::start(found.targets, options.status).map_err(cannot_wait)?;
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

fn cannot_wait(errno: nix::Error) -> Failure {
    Failure::new(Exit::Error, format!("cannot wait: {errno}"))
}
