//! `kmonitor watch`

mod interrupts;
mod line;
mod output;

use std::process::{Child, Command, ExitStatus};

use kmonitor::descriptors;
use kmonitor::records::What;
use kmonitor::sys::held::{Held, Identity};
use kmonitor::sys::spawn::{self, Inheritance};
use kmonitor::watch::{self, Request, Scope, Stream, WatchError};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;

use super::exit::Exit;
use super::found::{Found, Purpose};
use super::options::WatchOptions;
use super::signals::Signals;
use super::{Failure, run, say};
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
    let held = if options.command.is_empty() { None } else { Some(hold(options, &signals)?) };
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
    let child = held.map(|held| release(held, options)).transpose()?;
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
        (None, Some(child)) => Exit::Program(wait(child)?),
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
    // Where it cannot be raised, the limit is reported when it is reached.
    let _ = descriptors::raise_limit();
    let purpose = Purpose { verb: "watch", may_be_gone: false, hint: "" };
    Ok(Scope::Targets(Found::look(&options.targets, purpose)?.targets))
}

/// The command as a child that waits.
fn hold(options: &WatchOptions, signals: &Signals) -> Result<Held, Failure> {
    if options.targets.are_some() {
        let error = "either processes are watched that are there, or a COMMAND: leave out one of them";
        return Err(Failure::new(Exit::Error, error));
    }
    let (name, arguments) =
        options.command.split_first().ok_or_else(|| Failure::new(Exit::NotFound, "no program is named"))?;
    let mut command = Command::new(name);
    command.args(arguments);
    let inheritance = Inheritance {
        mask: signals.mask_before(),
        ignores_children: signals.was_ignored(Signal::SIGCHLD),
        open_files: getrlimit(Resource::RLIMIT_NOFILE).map_err(cannot_watch)?,
    };
    let held = Held::new(command, |command| {
        spawn::with(inheritance, command);
        if let Some(uid) = options.run_as {
            Identity::of(uid)?.assume(command);
        }
        Ok(())
    });
    held.map_err(|error| Failure::new(Exit::OwnError, format!("cannot make a child: {error}")))
}

fn release(held: Held, options: &WatchOptions) -> Result<Child, Failure> {
    let name = options.command.first().cloned().unwrap_or_default();
    held.release().map_err(|error| run::cannot_run(&name, &error))
}

fn wait(mut child: Child) -> Result<ExitStatus, Failure> {
    child.wait().map_err(|error| Failure::new(Exit::OwnError, error))
}

fn failure(error: WatchError) -> Failure {
    Failure::new(exit_of(&error), error)
}

/// What a command exits with that cannot watch.
pub fn exit_of(error: &WatchError) -> Exit {
    match error {
        WatchError::Bpf(_) | WatchError::Connector(_) => Exit::Unavailable,
        WatchError::Follow(_) | WatchError::AllEnded | WatchError::Resources { .. } => Exit::Error,
    }
}

fn cannot_watch(errno: nix::Error) -> Failure {
    Failure::new(Exit::Error, format!("cannot watch: {errno}"))
}
