//! `kmonitor serve`

use kmonitor::core::Options;
use kmonitor::daemon::{Config, Daemon, StartError};
use kmonitor::node::{Ownership, PlaceError};
use kmonitor::registry::Limits;
use nix::sys::signal::Signal;
use sd_notify::NotifyState;

use super::Failure;
use super::exit::Exit;
use super::options::DeviceOptions;
use super::signals::{News, Signals};

impl DeviceOptions {
    /// What the options ask of the daemon.
    pub fn config(self) -> Config {
        Config {
            path: self.path,
            carrier: self.node,
            source: self.source,
            ownership: Ownership { mode: self.mode, uid: self.owner, gid: self.group },
            limits: Limits { total: self.max_registrations, per_monitor: self.max_per_monitor },
            most_open: self.max_open,
            event_buffer: self.event_buffer,
            options: Options { abort_events: self.abort_events, most_waiting: self.max_waiting },
        }
    }
}

pub fn serve(config: &Config) -> Result<Exit, Failure> {
    let signals = Signals::block(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1])
        .map_err(|errno| Failure::new(Exit::Error, errno))?;
    let daemon = Daemon::start(config).map_err(|error| Failure::new(start_exit(&error), error))?;
    daemon.confine();
    daemon.announce(&config.path);
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let next = || signals.wait(Some(daemon.ended())).map_err(|errno| Failure::new(Exit::Error, errno));
    while let News::Signal(Signal::SIGUSR1) = next()? {
        daemon.say_counters();
    }
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    daemon.stop().map_err(|error| Failure::new(Exit::Error, error))?;
    Ok(Exit::Done)
}

/// What a daemon that does not start exits with.
fn start_exit(error: &StartError) -> Exit {
    match error {
        StartError::NotRoot | StartError::UserNamespace | StartError::Source(_) => Exit::Unavailable,
        StartError::Place(
            PlaceError::NoFuse
            | PlaceError::NoCuse(_)
            | PlaceError::NoDevice(_)
            | PlaceError::MountForbidden(_)
            | PlaceError::Mount { .. },
        ) => Exit::Unavailable,
        StartError::Place(_) | StartError::Descriptors(_) | StartError::Resources { .. } => Exit::Error,
    }
}
