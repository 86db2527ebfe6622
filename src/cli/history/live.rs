//! A command that is run, or processes that are there, with all that they start.

use std::io;
use std::os::fd::OwnedFd;

use kmonitor::history::Builder;
use kmonitor::records::What;
use kmonitor::watch::{Events, ROOM, Request};

use super::Told;
use super::progress::Progress;
use crate::cli::followed::{Following, Subject};
use crate::cli::options::SubjectOptions;
use crate::cli::words::count;
use crate::cli::{Failure, say};

/// Follows them until all have ended, or a signal ends it.
pub fn follow(options: &SubjectOptions, output: Option<OwnedFd>) -> Result<Told, Failure> {
    let SubjectOptions { command, run_as, targets, source, .. } = options;
    let subject = Subject { command, run_as: *run_as, targets, all: false };
    let events = Events { fork: true, exec: true, exit: true, thread: false };
    let mut following = Following::start(&subject, output, |scope| Request {
        scope,
        follow: true,
        events,
        source: *source,
        room: ROOM,
    })?;
    if let Some(remark) = &following.stream.remark {
        say(remark);
    }
    let mut builder = Builder::new();
    let mut progress = Progress::on(io::stderr());
    while let Some(record) = following.stream.next() {
        if let What::Ready { seen, .. } = &record.what
            && !following.is_of_command()
        {
            progress.clear();
            say(format_args!("following {}", count(*seen, "process", "processes")));
        }
        builder.take(&record);
        progress.show(&builder, following.stream.is_empty());
    }
    progress.clear();
    let exit = following.end()?;
    Ok(Told { history: builder.finish(), exit })
}
