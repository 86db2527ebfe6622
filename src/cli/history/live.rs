//! A command that is run, or processes that are there, with all that they start.

use std::io;
use std::os::fd::OwnedFd;

use kmonitor::history::Builder;
use kmonitor::records::What;
use kmonitor::sys::held::Held;
use kmonitor::watch::{self, Events, ROOM, Request, Scope};

use super::Told;
use super::progress::Progress;
use crate::cli::exit::Exit;
use crate::cli::followed::{cannot_watch, failure, hold, release, targets, wait};
use crate::cli::options::SubjectOptions;
use crate::cli::signals::Signals;
use crate::cli::watch::interrupts::Interrupts;
use crate::cli::{Failure, say};

/// Follows them until all have ended, or a signal ends it.
pub fn follow(options: &SubjectOptions, output: Option<OwnedFd>) -> Result<Told, Failure> {
    let signals = Signals::block(&Interrupts::ALL).map_err(cannot_watch)?;
    let SubjectOptions { command, .. } = options;
    let held = if command.is_empty() {
        None
    } else {
        Some(hold(command, &options.targets, options.run_as, &signals)?)
    };
    let scope = match &held {
        Some(held) => Scope::Child(held.pid()),
        None => Scope::Targets(targets(&options.targets)?),
    };
    let events = Events { fork: true, exec: true, exit: true, thread: false };
    let request = Request { scope, follow: true, events, source: options.source, room: ROOM };
    let (control, ended_by) = Interrupts::new(signals, held.as_ref().map(Held::pid));
    let mut stream = watch::start(request, control, output).map_err(failure)?;
    if let Some(remark) = &stream.remark {
        say(remark);
    }
    let child = held.map(|held| release(held, command)).transpose()?;
    let mut builder = Builder::new();
    let mut progress = Progress::on(io::stderr());
    while let Some(record) = stream.next() {
        match &record.what {
            What::Ready { seen, .. } if child.is_none() => {
                progress.clear();
                say(format_args!("following {seen} {}", if *seen == 1 { "process" } else { "processes" }));
            }
            _ => {}
        }
        builder.take(&record);
        progress.show(&builder, stream.is_empty());
    }
    progress.clear();
    if let Some(error) = stream.failure() {
        return Err(failure(error));
    }
    let exit = match (ended_by.get(), child) {
        (Some(signal), _) => Exit::Signal(*signal),
        (None, Some(child)) => Exit::Program(wait(child)?),
        (None, None) => Exit::Done,
    };
    Ok(Told { history: builder.finish(), exit })
}
