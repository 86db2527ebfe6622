//! The daemon: its parts put together, started in order and taken down in order.

use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use caps::{CapSet, Capability};
use crossbeam_channel::Receiver;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::geteuid;

use crate::confine::{self, ConfineError, Confinement};
use crate::core::{Core, CoreError, Options};
use crate::descriptors::{self, LEAST};
use crate::driver::Driver;
use crate::keeper::{Keeper, KeeperError};
use crate::node::{self, Carrier, NodeGone, Ownership, PlaceError, Served};
use crate::observe::Observer;
use crate::registry::{Limits, Registry};
use crate::remedy;
use crate::source::{self, RECEIVE_BUFFER};
use crate::status::{self, Server};
use crate::sys::clock::monotonic_ns;
use crate::sys::{malloc, procfs};
use crate::system::Linux;

/// What the daemon's owner may choose.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the node is.
    pub path: PathBuf,
    /// What carries it.
    pub carrier: Carrier,
    /// Where events come from.
    pub source: source::Choice,
    /// Who may open it.
    pub ownership: Ownership,
    /// How many registrations there may be.
    pub limits: Limits,
    /// How many open files there may be.
    pub most_open: usize,
    /// Bytes of the kernel's queue of events for us.
    pub event_buffer: usize,
    /// What the core may do beyond the original.
    pub options: Options,
    /// Whether rights are given up that serving does not take.
    pub confined: bool,
}

impl Default for Config {
    /// As the original: /dev/kmonitor, for root alone.
    fn default() -> Config {
        Config {
            path: PathBuf::from("/dev/kmonitor"),
            carrier: Carrier::Auto,
            source: source::Choice::Auto,
            ownership: Ownership { mode: 0o600, uid: 0, gid: 0 },
            limits: Limits::default(),
            most_open: 1 << 16,
            event_buffer: RECEIVE_BUFFER,
            options: Options::default(),
            confined: true,
        }
    }
}

/// Why the daemon does not start. Each is a sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not root.
    #[error("must run as root, to mount the node, to hear of all processes and to signal monitors: try sudo")]
    NotRoot,
    /// Root without the right to signal.
    #[error(
        "lacks the capability CAP_KILL, without which no monitor of another user could be signalled: run it \
         with that capability (in a container --cap-add KILL, in a systemd unit CapabilityBoundingSet=)"
    )]
    NoKill,
    /// Root of a user namespace only.
    #[error(
        "runs in a user namespace, whose root may neither mount the node nor hear of all processes: start it \
         on the host, as root of the host"
    )]
    UserNamespace,
    /// The limit of open files.
    #[error(
        "the limit of open files is {0}, too low to serve: raise the limit to {LEAST} at least (ulimit -n, \
         LimitNOFILE= of the unit); each monitor and each target takes one more"
    )]
    Descriptors(u64),
    /// The node's place.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Who takes the node away.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// Rights that should be given up.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// The events.
    #[error(transparent)]
    Source(#[from] source::OpenError),
    /// A resource of our own.
    #[error("cannot get what serving takes of the system: {error}: {}", remedy::of(error))]
    Resources {
        /// Why not.
        #[from]
        error: io::Error,
    },
}

/// How long the log may take in the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the daemon ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// The core gave up.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The core has a bug.
    #[error("the core thread panicked: report this, please")]
    Panic,
    /// The node could not be taken away.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
}

/// A daemon in service. Dropping it takes it down.
pub struct Daemon {
    keeper: Keeper,
    confinement: Confinement,
    carrier: String,
    /// Where events come from, and why.
    origin: String,
    core: Option<JoinHandle<Result<(), CoreError>>>,
    stop: Arc<EventFd>,
    ended: Arc<EventFd>,
    observer: Observer,
    /// Closed when the log has written its last line.
    log: Receiver<()>,
    /// `None`: nobody can ask.
    status: Option<Server>,
}

impl Daemon {
    /// Starts a daemon. When this returns, the node is there and serves.
    pub fn start(config: &Config) -> Result<Daemon, StartError> {
        if !geteuid().is_root() {
            return Err(StartError::NotRoot);
        }
        if !procfs::is_first_user_namespace()? {
            return Err(StartError::UserNamespace);
        }
        if !caps::has_cap(None, CapSet::Effective, Capability::CAP_KILL).unwrap_or(false) {
            return Err(StartError::NoKill);
        }
        malloc::configure();
        let descriptors = descriptors::raise_limit().map_err(io::Error::from)?;
        if descriptors < LEAST {
            return Err(StartError::Descriptors(descriptors));
        }
        // Read while all of /proc can be.
        let _ = monotonic_ns();
        let (observer, outputs) = Observer::new();
        let with_cause = config.options.abort_events;
        let (source, origin) = source::open(config.source, config.event_buffer, with_cause, &observer)?;
        let registry = Arc::new(Registry::new(config.limits));
        let driver = Driver::new(registry.clone(), config.most_open);
        let event = || EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map(Arc::new);
        let (stop, ended) = (event().map_err(io::Error::from)?, event().map_err(io::Error::from)?);

        let Served { node, place, carrier, warning } =
            node::serve(&config.path, config.ownership, config.carrier)?;
        if let Some(warning) = warning {
            observer.say(warning);
        }
        // Before the first thread.
        let keeper = Keeper::start(place, &config.path)?;
        let confinement = if config.confined {
            Confinement::new()?
        } else {
            observer.say("all rights are kept (--unconfined)");
            Confinement::none()
        };
        let log = outputs.start(&confinement)?;
        let status = match Server::bind(&config.path) {
            Ok(listener) => {
                let (path, device, source) = (config.path.clone(), carrier.clone(), origin.clone());
                let about = status::About { path, device, source };
                Some(Server::start(listener, about, registry.clone(), &observer, &confinement)?)
            }
            Err(error) => {
                observer.say(format_args!(
                    "kmonitor status will not find this daemon: its socket cannot be had: {error}"
                ));
                None
            }
        };
        let system = Linux::new().map_err(io::Error::from)?;
        let mut core = Core::new(system, node, source, driver, registry, observer.clone(), config.options);
        let core = confinement.spawn("kmonitor-core", &confine::CORE, {
            let (stop, ended) = (stop.clone(), ended.clone());
            move || {
                let _ended = AtEnd(ended);
                core.run(stop.as_fd())
            }
        })?;
        let core = Some(core);
        Ok(Daemon { keeper, confinement, carrier, origin, core, stop, ended, observer, log, status })
    }

    /// Readable once the daemon has ended by itself, which [`Daemon::stop`] explains.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// Says on standard output that the node is served, and logs where events come from and what carries it.
    pub fn announce(&self, path: &Path) {
        self.observer.say(format_args!("events come from {}", self.origin));
        let carrier = format_args!("the device is {}", self.carrier);
        self.observer.announce(carrier, format_args!("ready: {}", path.display()));
    }

    /// Logs a line.
    pub fn say(&self, line: impl Display) {
        self.observer.say(line);
    }

    /// Logs what the daemon has done so far.
    pub fn say_counters(&self) {
        self.observer.say_counters();
    }

    /// Gives up what is not needed to serve and to stop, but for signals to this child. Programs that are
    /// started later inherit that, so start those first.
    pub fn confine(&self, child: Option<u32>) -> Result<(), ConfineError> {
        self.confinement.give_up(&confine::MAIN)?;
        self.confinement.limit_system_calls(child)
    }

    /// Takes the daemon down. The node goes first, also while clients have it open; then what they
    /// still hold fails with ENOTCONN.
    pub fn stop(mut self) -> Result<(), EndError> {
        self.take_down()
    }

    fn take_down(&mut self) -> Result<(), EndError> {
        let by_itself = self.ended.read().is_ok();
        // The next device may have this one's number.
        if let Some(status) = self.status.take() {
            status.stop();
        }
        let withdrawn = self.keeper.withdraw();
        let _ = self.stop.write(1);
        let ended = self.core.take().map_or(Ok(Ok(())), JoinHandle::join);
        // The log ends with its last observer, unless nobody reads our standard error any more.
        self.observer = Observer::silent();
        let _ = self.log.recv_timeout(LAST_WORDS);
        match ended.map_err(|_| EndError::Panic)? {
            // We have just taken it away ourselves.
            Err(CoreError::Node(NodeGone::Removed)) if !by_itself => {}
            other => other?,
        }
        withdrawn?;
        Ok(self.keeper.clear()?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Whoever wants to know of a failure calls `stop`.
        let _ = self.take_down();
    }
}

/// Makes an eventfd readable when its thread ends, also by a panic.
struct AtEnd(Arc<EventFd>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        let _ = self.0.write(1);
    }
}
