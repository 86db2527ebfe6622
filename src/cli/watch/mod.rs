//! `kmonitor watch`

pub mod interrupts;
mod line;
mod output;

use kmonitor::records::What;
use kmonitor::sys::held::Held;
use kmonitor::watch::{self, Request, Scope, Stream};
use nix::sys::signal::Signal;

use super::exit::Exit;
use super::followed::{self, cannot_watch, failure};
use super::options::WatchOptions;
use super::signals::Signals;
use super::{Failure, say};
use interrupts::Interrupts;
use output::Output;

pub fn watch(options: &WatchOptions) -> Result<Exit, Failure> {
    watch_all(options).map_err(|failure| match failure.exit {
        // Small statuses are the command's.
        Exit::Error | Exit::Unavailable if !options.command.is_empty() => {
            Failure { exit: Exit::OwnError, ..failure }
        }
        _ => failure,
    })
}

fn watch_all(options: &WatchOptions) -> Result<Exit, Failure> {
    let signals = Signals::block(&Interrupts::ALL).map_err(cannot_watch)?;
    let mut output = Output::open(options)?;
    let held = if options.command.is_empty() {
        None
    } else {
        Some(followed::hold(&options.command, &options.targets, options.run_as, &signals)?)
    };
    let scope = match &held {
        Some(held) => Scope::Child(held.pid()),
        None => scope(options)?,
    };
    let request = Request {
        scope,
        follow: !options.no_follow,
        events: options.events,
        source: options.source,
        room: options.buffer,
    };
    let (control, ended_by) = Interrupts::new(signals, held.as_ref().map(Held::pid));
    let mut stream = watch::start(request, control, Some(output.descriptor()?)).map_err(failure)?;
    if let Some(remark) = &stream.remark {
        output.remark(remark);
    }
    let child = held.map(|held| followed::release(held, &options.command)).transpose()?;
    let lost = match print(&mut stream, &mut output, child.is_none())? {
        Printed::Closed => return Ok(Exit::Signal(Signal::SIGPIPE)),
        Printed::All { lost } => lost,
    };
    if let Some(error) = stream.failure() {
        return Err(failure(error));
    }
    if lost > 0 {
        output.remark(format_args!("{lost} events were lost in all"));
    }
    Ok(match (ended_by.get(), child) {
        (Some(signal), _) => Exit::Signal(*signal),
        _ if lost > 0 && options.strict => Exit::Lost,
        (None, Some(child)) => Exit::Program(followed::wait(child)?),
        (None, None) => Exit::Done,
    })
}

enum Printed {
    /// Everything, and so many events are missing.
    All { lost: u64 },
    /// Nobody reads it any more.
    Closed,
}

fn print(stream: &mut Stream, output: &mut Output, says_ready: bool) -> Result<Printed, Failure> {
    let mut lost = 0;
    while let Some(record) = stream.next() {
        match &record.what {
            What::Ready { seen, .. } if says_ready => {
                output.remark(format_args!(
                    "ready: {seen} {}",
                    if *seen == 1 { "process" } else { "processes" }
                ));
            }
            // Else it is said by its line.
            What::Lost { count, kinds, .. } if !output.is_error() => output.remark(line::lost(*count, kinds)),
            What::End { totals } => lost = totals.lost,
            _ => {}
        }
        if !output.print(&record, stream.is_empty())? {
            return Ok(Printed::Closed);
        }
    }
    Ok(Printed::All { lost })
}

fn scope(options: &WatchOptions) -> Result<Scope, Failure> {
    if options.all {
        return Ok(Scope::All);
    }
    Ok(Scope::Targets(followed::targets(&options.targets)?))
}
