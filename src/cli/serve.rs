//! `kmonitor serve`

use kmonitor::core::Options;
use kmonitor::daemon::{Config, Daemon, StartError};
use kmonitor::memory;
use kmonitor::node::{Ownership, PlaceError};
use kmonitor::registry::Limits;
use nix::sys::signal::Signal;

use super::Failure;
use super::exit::Exit;
use super::options::DeviceOptions;
use super::service_manager::ServiceManager;
use super::signals::{News, Signals};

impl DeviceOptions {
    /// What the options ask of the daemon.
    pub fn config(self) -> Config {
        let memory = memory::available();
        let limits = self.max_registrations.map_or_else(|| Limits::within(memory), Limits::of);
        let options = Options::within(memory);
        Config {
            path: self.path,
            carrier: self.node,
            source: self.source,
            ownership: Ownership { mode: self.mode, uid: self.owner, gid: self.group },
            limits: Limits {
                per_monitor: self.max_per_monitor.unwrap_or(limits.per_monitor),
                per_user: self.max_per_user.unwrap_or(limits.per_user),
                ..limits
            },
            most_open: self.max_open,
            event_buffer: self.event_buffer,
            options: Options {
                abort_events: self.abort_events,
                most_waiting: self.max_waiting.unwrap_or(options.most_waiting),
            },
            confined: !self.unconfined,
        }
    }
}

pub fn serve(config: &Config) -> Result<Exit, Failure> {
    let signals = Signals::block(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1])
        .map_err(|errno| Failure::new(Exit::Error, errno))?;
    let manager = ServiceManager::connect();
    let daemon = Daemon::start(config).map_err(|error| Failure::new(start_exit(&error), error))?;
    daemon.confine(None).map_err(|error| Failure::new(Exit::Error, error))?;
    daemon.announce(&config.path);
    manager.tell("READY=1\n");
    let next = || signals.wait(Some(daemon.ended())).map_err(|errno| Failure::new(Exit::Error, errno));
    while let News::Signal(Signal::SIGUSR1) = next()? {
        daemon.say_counters();
    }
    manager.tell("STOPPING=1\n");
    daemon.stop().map_err(|error| Failure::new(Exit::Error, error))?;
    Ok(Exit::Done)
}

/// What a daemon that does not start exits with.
fn start_exit(error: &StartError) -> Exit {
    match error {
        StartError::NotRoot | StartError::NoKill | StartError::UserNamespace | StartError::Source(_) => {
            Exit::Unavailable
        }
        StartError::Place(
            PlaceError::NoFuse
            | PlaceError::NoCuse(_)
            | PlaceError::MountForbidden(_)
            | PlaceError::Mount { .. },
        ) => Exit::Unavailable,
        StartError::Place(_)
        | StartError::Keeper(_)
        | StartError::Confine(_)
        | StartError::Descriptors(_)
        | StartError::Resources { .. } => Exit::Error,
    }
}
