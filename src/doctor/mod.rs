//! Whether kmonitor can be used here: by this user, on this kernel, in these namespaces; and if not,
//! what to do.
//!
//! Nothing is changed, and nothing waits for long: what may wait for a daemon happens in
//! [`probe`], in a process of its own. What takes rights that the caller lacks is reported as not checked.

mod access;
mod daemon;
mod installation;
mod kernel;
mod limits;
mod namespaces;
mod place;
pub mod probe;
mod report;
mod rights;
mod source;
mod transport;

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::unistd::geteuid;

pub use report::{Check, Report, Status};

use crate::daemon::Config;
use crate::node::{self, Found, PlaceError};
use crate::sys::kernel::Kernel;
use daemon::Daemon;
use probe::Outcome;

/// What several checks start from.
struct Facts {
    /// Where the device is, or would be; its directory is resolved, if there is one.
    path: PathBuf,
    /// What is there.
    found: Result<Found, PlaceError>,
    /// What a client met there, if there was something to open and a client could be started.
    outcome: Option<Result<Outcome, std::io::Error>>,
    daemon: Option<Daemon>,
    kernel: Kernel,
    /// Our effective user is root.
    root: bool,
}

impl Facts {
    fn gather(path: &Path, client: Command) -> Facts {
        let (path, found) = match node::inspect(path) {
            Ok((path, found)) => (path, Ok(found)),
            Err(error) => (path.to_owned(), Err(error)),
        };
        let outcome = matches!(found, Ok(Found::Node(_))).then(|| probe::attempt(client));
        let daemon = daemon::find(&path);
        Facts { path, found, outcome, daemon, kernel: Kernel::running(), root: geteuid().is_root() }
    }

    /// What became of the client's open(2), if it was tried and returned.
    fn opened(&self) -> Option<Result<std::time::Duration, Errno>> {
        self.outcome.as_ref()?.as_ref().ok()?.opened()
    }

    /// True if a daemon answers, if only to refuse us.
    fn is_served(&self) -> bool {
        matches!(self.opened(), Some(Ok(_) | Err(Errno::EACCES | Errno::EPERM | Errno::ENOMEM)))
    }

    /// A command of kmonitor's about this device, for root.
    fn command(&self, name: &str) -> String {
        let sudo = if self.root { "" } else { "sudo " };
        if self.path == Config::default().path {
            format!("{sudo}kmonitor {name}")
        } else {
            format!("{sudo}kmonitor {name} --path {}", self.path.display())
        }
    }
}

/// Does all checks of the device at this path. `client` is the command that runs [`probe::run`] on it.
pub fn examine(path: &Path, client: Command) -> Report {
    let facts = Facts::gather(path, client);
    let served = facts.is_served();
    let mut checks = vec![kernel::check(&facts.kernel)];
    checks.push(access::permissions(&facts));
    checks.push(rights::check(&facts).for_serving(served));
    checks.extend(transport::checks(&facts).map(|check| check.for_serving(served)));
    checks.extend(source::checks(&facts).map(|check| check.for_serving(served)));
    checks.push(namespaces::check(&facts).for_serving(served));
    checks.push(limits::check(&facts).for_serving(served));
    checks.extend(installation::checks(&facts));
    checks.push(place::device(&facts));
    checks.push(place::leftovers(&facts));
    if facts.outcome.is_some() && (served || facts.daemon.is_some()) {
        checks.push(daemon::check(&facts));
    }
    checks.extend(access::events(&facts));
    Report::new(facts.path.display().to_string(), served, checks)
}
