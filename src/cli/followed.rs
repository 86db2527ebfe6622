//! What is followed: a command that is run for it, or processes that are there.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, OnceLock};

use kmonitor::descriptors;
use kmonitor::sys::held::{Held, Identity};
use kmonitor::sys::spawn::{self, Inheritance};
use kmonitor::wait::Target;
use kmonitor::watch::{self, Request, Scope, Stream, WatchError};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;

use super::exit::Exit;
use super::found::{Found, Purpose};
use super::options::TargetOptions;
use super::signals::Signals;
use super::watch::interrupts::Interrupts;
use super::{Failure, run};

/// Who is followed, as the command line says.
pub struct Subject<'a> {
    /// A command, or none.
    pub command: &'a [OsString],
    /// The user who runs it.
    pub run_as: Option<u32>,
    /// Processes that are there.
    pub targets: &'a TargetOptions,
    /// All processes.
    pub all: bool,
}

/// What they do.
pub struct Following {
    /// The records.
    pub stream: Stream,
    child: Option<Child>,
    ended_by: Arc<OnceLock<Signal>>,
}

impl Following {
    /// Begins to follow; a command has executed its program by then. It ends with all that are followed, by a signal,
    /// or when nobody reads `output` any more.
    pub fn start(
        subject: &Subject,
        output: Option<OwnedFd>,
        request: impl FnOnce(Scope) -> Request,
    ) -> Result<Following, Failure> {
        let signals = Signals::block(&Interrupts::ALL).map_err(cannot_watch)?;
        let held = (!subject.command.is_empty()).then(|| hold(subject, &signals)).transpose()?;
        let scope = match &held {
            Some(held) => Scope::Child(held.pid()),
            None if subject.all => Scope::All,
            None => Scope::Targets(targets(subject.targets)?),
        };
        let (control, ended_by) = Interrupts::new(signals, held.as_ref().map(Held::pid));
        let stream = watch::start(request(scope), control, output).map_err(failure)?;
        let child = held.map(|held| release(held, subject.command)).transpose()?;
        Ok(Following { stream, child, ended_by })
    }

    /// True if it is a command that is followed.
    pub fn is_of_command(&self) -> bool {
        self.child.is_some()
    }

    /// How we are to end, now that there are no more records.
    pub fn end(self) -> Result<Exit, Failure> {
        if let Some(error) = self.stream.failure() {
            return Err(failure(error));
        }
        match (self.ended_by.get(), self.child) {
            (Some(signal), _) => Ok(Exit::Signal(*signal)),
            (None, Some(mut child)) => {
                child.wait().map(Exit::Program).map_err(|error| Failure::new(Exit::OwnError, error))
            }
            (None, None) => Ok(Exit::Done),
        }
    }
}

/// What is printed to: a file, or standard output, or standard error where that is a command's own.
pub fn output(path: Option<&Path>, beside_command: bool) -> Result<File, Failure> {
    let opened = match path {
        Some(path) => File::create(path),
        None if beside_command => io::stderr().as_fd().try_clone_to_owned().map(File::from),
        None => io::stdout().as_fd().try_clone_to_owned().map(File::from),
    };
    opened.map_err(|error| {
        let name = path.map_or("the output".into(), Path::to_string_lossy);
        Failure::new(Exit::Error, format!("cannot write to {name}: {error}"))
    })
}

/// The processes that the options name.
fn targets(options: &TargetOptions) -> Result<Vec<Target>, Failure> {
    // Where it cannot be raised, the limit is reported when it is reached.
    let _ = descriptors::raise_limit();
    let purpose = Purpose { verb: "watch", may_be_gone: false, hint: "" };
    Ok(Found::look(options, purpose)?.targets)
}

/// The command as a child that waits.
fn hold(subject: &Subject, signals: &Signals) -> Result<Held, Failure> {
    if subject.targets.are_some() {
        let error = "either processes are watched that are there, or a COMMAND: leave out one of them";
        return Err(Failure::new(Exit::Error, error));
    }
    let (name, arguments) =
        subject.command.split_first().ok_or_else(|| Failure::new(Exit::NotFound, "no program is named"))?;
    let mut command = Command::new(name);
    command.args(arguments);
    let inheritance = Inheritance {
        mask: signals.mask_before(),
        ignores_children: signals.was_ignored(Signal::SIGCHLD),
        open_files: getrlimit(Resource::RLIMIT_NOFILE).map_err(cannot_watch)?,
    };
    let held = Held::new(command, |command| {
        spawn::with(inheritance, command);
        if let Some(uid) = subject.run_as {
            Identity::of(uid)?.assume(command);
        }
        Ok(())
    });
    held.map_err(|error| Failure::new(Exit::OwnError, format!("cannot make a child: {error}")))
}

/// Has it execute its command.
fn release(held: Held, line: &[OsString]) -> Result<Child, Failure> {
    let name = line.first().cloned().unwrap_or_default();
    held.release().map_err(|error| run::cannot_run(&name, &error))
}

/// The source of events failed.
pub fn failure(error: WatchError) -> Failure {
    Failure::new(exit_of(&error), error)
}

/// What a command exits with that cannot watch.
fn exit_of(error: &WatchError) -> Exit {
    match error {
        WatchError::Bpf(_) | WatchError::Connector(_) => Exit::Unavailable,
        WatchError::Follow(_) | WatchError::AllEnded | WatchError::Resources { .. } => Exit::Error,
    }
}

/// A call of our own failed.
fn cannot_watch(errno: nix::Error) -> Failure {
    Failure::new(Exit::Error, format!("cannot watch: {errno}"))
}
