//! `kmonitor serve`

use std::io::{self, Write};
use std::process::ExitCode;

use kmonitor::daemon::{Config, Daemon};
use nix::sys::signal::Signal;
use sd_notify::NotifyState;

use super::signals::{News, Signals};
use super::{Failure, say};

pub fn serve(config: &Config) -> Result<ExitCode, Failure> {
    let signals = Signals::block(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1])
        .map_err(|errno| Failure::new(1, errno))?;
    let daemon = Daemon::start(config).map_err(|error| Failure::new(1, error))?;
    daemon.raise_descriptor_limit();
    daemon.confine();
    say(format_args!("the device is {}", daemon.carrier()));
    // As with `say`: nobody may be there to read it.
    let _ = writeln!(io::stdout(), "kmonitor: ready: {}", config.path.display());
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let next = || signals.wait(Some(daemon.ended())).map_err(|errno| Failure::new(1, errno));
    while let News::Signal(Signal::SIGUSR1) = next()? {
        daemon.say_counters();
    }
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    daemon.stop().map_err(|error| Failure::new(1, error))?;
    Ok(ExitCode::SUCCESS)
}
