//! `kmonitor watch`

pub mod interrupts;
mod line;
mod output;

use kmonitor::records::What;
use kmonitor::watch::Request;
use nix::sys::signal::Signal;

use super::exit::Exit;
use super::followed::{Following, Subject};
use super::options::WatchOptions;
use super::words::count;
use super::{Failure, say};
use output::Output;

pub fn watch(options: &WatchOptions) -> Result<Exit, Failure> {
    watch_all(options).map_err(
        |failure| {
            if options.command.is_empty() { failure } else { failure.beside_a_program() }
        },
    )
}

fn watch_all(options: &WatchOptions) -> Result<Exit, Failure> {
    let mut output = Output::open(options)?;
    let subject = Subject {
        command: &options.command,
        run_as: options.run_as,
        targets: &options.targets,
        all: options.all,
    };
    let mut following = Following::start(&subject, Some(output.descriptor()?), |scope| Request {
        scope,
        follow: !options.no_follow,
        events: options.events,
        source: options.source,
        room: options.buffer,
    })?;
    if let Some(remark) = &following.stream.remark {
        output.remark(remark);
    }
    let lost = match print(&mut following, &mut output)? {
        Printed::Closed => return Ok(Exit::Signal(Signal::SIGPIPE)),
        Printed::All { lost } => lost,
    };
    let exit = following.end()?;
    if lost > 0 {
        output.remark(format_args!("{lost} events were lost in all"));
    }
    let is_interrupted = matches!(exit, Exit::Signal(_));
    Ok(if lost > 0 && options.strict && !is_interrupted { Exit::Lost } else { exit })
}

enum Printed {
    /// Everything, and so many events are missing.
    All { lost: u64 },
    /// Nobody reads it any more.
    Closed,
}

fn print(following: &mut Following, output: &mut Output) -> Result<Printed, Failure> {
    let mut lost = 0;
    while let Some(record) = following.stream.next() {
        match &record.what {
            What::Ready { seen, .. } if !following.is_of_command() => {
                output.remark(format_args!("ready: {}", count(*seen, "process", "processes")));
            }
            // Else it is said by its line.
            What::Lost { count, kinds, .. } if !output.is_error() => output.remark(line::lost(*count, kinds)),
            What::End { totals } => lost = totals.lost,
            _ => {}
        }
        if !output.print(&record, following.stream.is_empty())? {
            return Ok(Printed::Closed);
        }
    }
    Ok(Printed::All { lost })
}
