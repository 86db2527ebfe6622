//! `kmonitor run`

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::{Child, Command, ExitStatus};

use kmonitor::daemon::{Config, Daemon};
use kmonitor::sys::spawn::{self, Inheritance};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::exit::Exit;
use super::signals::{News, Signals};
use super::{Failure, say};

pub fn run(config: &Config, program: &[OsString]) -> Result<Exit, Failure> {
    let cannot_serve = |errno: nix::Error| Failure::new(Exit::OwnError, errno);
    // A terminal sends SIGINT and SIGQUIT to the program too, whose choice it is what to do.
    let signals =
        Signals::block(&[Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT])
            .map_err(cannot_serve)?;
    let open_files = getrlimit(Resource::RLIMIT_NOFILE).map_err(cannot_serve)?;
    let inheritance = Inheritance {
        mask: signals.mask_before(),
        ignores_children: signals.was_ignored(Signal::SIGCHLD),
        open_files,
    };
    let daemon = Daemon::start(config).map_err(|error| Failure::new(Exit::OwnError, error))?;
    let mut child = start(program, inheritance)?;
    if let Err(error) = daemon.confine(Some(child.id())) {
        let _ = child.kill().and_then(|()| child.wait());
        return Err(Failure::new(Exit::OwnError, error));
    }
    let status = wait(&mut child, &daemon, &signals).map_err(|error| Failure::new(Exit::OwnError, error))?;
    if let Err(error) = daemon.stop() {
        say(error);
    }
    Ok(Exit::Program(status))
}

fn start(program: &[OsString], inheritance: Inheritance) -> Result<Child, Failure> {
    let (name, arguments) =
        program.split_first().ok_or_else(|| Failure::new(Exit::NotFound, "no program is named"))?;
    spawn::with(inheritance, Command::new(name).args(arguments))
        .spawn()
        .map_err(|error| cannot_run(name, &error))
}

/// The program could not be started.
pub fn cannot_run(name: &OsStr, error: &io::Error) -> Failure {
    let not_found = error.kind() == io::ErrorKind::NotFound;
    let exit = if not_found { Exit::NotFound } else { Exit::CannotExecute };
    Failure::new(exit, format!("cannot run {}: {error}", name.display()))
}

fn wait(child: &mut Child, daemon: &Daemon, signals: &Signals) -> io::Result<ExitStatus> {
    let mut serving = Some(daemon.ended());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        match signals.wait(serving)? {
            News::Signal(signal @ (Signal::SIGTERM | Signal::SIGHUP)) => {
                // It may have ended meanwhile; then the next round sees it.
                let _ = kill(Pid::from_raw(child.id() as i32), signal);
            }
            News::Signal(_) => {}
            News::Readable => {
                daemon.say("the device is no longer served; the program goes on without it");
                serving = None;
            }
        }
    }
}
