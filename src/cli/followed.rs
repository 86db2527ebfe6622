//! What is followed: a command that is run for it, or processes that are there.

use std::ffi::OsString;
use std::process::{Child, Command, ExitStatus};

use kmonitor::descriptors;
use kmonitor::sys::held::{Held, Identity};
use kmonitor::sys::spawn::{self, Inheritance};
use kmonitor::wait::Target;
use kmonitor::watch::WatchError;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;

use super::exit::Exit;
use super::found::{Found, Purpose};
use super::options::TargetOptions;
use super::signals::Signals;
use super::{Failure, run};

/// The processes that the options name.
pub fn targets(options: &TargetOptions) -> Result<Vec<Target>, Failure> {
    // Where it cannot be raised, the limit is reported when it is reached.
    let _ = descriptors::raise_limit();
    let purpose = Purpose { verb: "watch", may_be_gone: false, hint: "" };
    Ok(Found::look(options, purpose)?.targets)
}

/// The command as a child that waits.
pub fn hold(
    line: &[OsString],
    targets: &TargetOptions,
    run_as: Option<u32>,
    signals: &Signals,
) -> Result<Held, Failure> {
    if targets.are_some() {
        let error = "either processes are watched that are there, or a COMMAND: leave out one of them";
        return Err(Failure::new(Exit::Error, error));
    }
    let (name, arguments) =
        line.split_first().ok_or_else(|| Failure::new(Exit::NotFound, "no program is named"))?;
    let mut command = Command::new(name);
    command.args(arguments);
    let inheritance = Inheritance {
        mask: signals.mask_before(),
        ignores_children: signals.was_ignored(Signal::SIGCHLD),
        open_files: getrlimit(Resource::RLIMIT_NOFILE).map_err(cannot_watch)?,
    };
    let held = Held::new(command, |command| {
        spawn::with(inheritance, command);
        if let Some(uid) = run_as {
            Identity::of(uid)?.assume(command);
        }
        Ok(())
    });
    held.map_err(|error| Failure::new(Exit::OwnError, format!("cannot make a child: {error}")))
}

/// Has it execute its command.
pub fn release(held: Held, line: &[OsString]) -> Result<Child, Failure> {
    let name = line.first().cloned().unwrap_or_default();
    held.release().map_err(|error| run::cannot_run(&name, &error))
}

/// Waits for its end.
pub fn wait(mut child: Child) -> Result<ExitStatus, Failure> {
    child.wait().map_err(|error| Failure::new(Exit::OwnError, error))
}

/// The source of events failed.
pub fn failure(error: WatchError) -> Failure {
    Failure::new(exit_of(&error), error)
}

/// What a command exits with that cannot watch.
pub fn exit_of(error: &WatchError) -> Exit {
    match error {
        WatchError::Bpf(_) | WatchError::Connector(_) => Exit::Unavailable,
        WatchError::Follow(_) | WatchError::AllEnded | WatchError::Resources { .. } => Exit::Error,
    }
}

/// A call of our own failed.
pub fn cannot_watch(errno: nix::Error) -> Failure {
    Failure::new(Exit::Error, format!("cannot watch: {errno}"))
}
