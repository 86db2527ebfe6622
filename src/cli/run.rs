//! `kmonitor run`

use std::ffi::OsString;
use std::io;
use std::process::{Child, Command, ExitStatus};

use kmonitor::daemon::{Config, Daemon};
use kmonitor::sys::spawn::with_signal_mask;
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
    let daemon = Daemon::start(config).map_err(|error| Failure::new(Exit::OwnError, error))?;
    let mut child = start(program, &signals)?;
    daemon.raise_descriptor_limit();
    daemon.confine();
    let status = wait(&mut child, &daemon, &signals).map_err(|error| Failure::new(Exit::OwnError, error))?;
    if let Err(error) = daemon.stop() {
        say(error);
    }
    Ok(Exit::Program(status))
}

fn start(program: &[OsString], signals: &Signals) -> Result<Child, Failure> {
    let (name, arguments) =
        program.split_first().ok_or_else(|| Failure::new(Exit::NotFound, "no program is named"))?;
    let mut command = Command::new(name);
    with_signal_mask(command.args(arguments), signals.mask_before());
    command.spawn().map_err(|error| {
        let not_found = error.kind() == io::ErrorKind::NotFound;
        let exit = if not_found { Exit::NotFound } else { Exit::CannotExecute };
        Failure::new(exit, format!("cannot run {}: {error}", name.display()))
    })
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
                say("the device is no longer served; the program goes on without it");
                serving = None;
            }
        }
    }
}
