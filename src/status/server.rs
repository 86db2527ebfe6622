//! The daemon's side.

use std::io::{self, BufWriter, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::shutdown;

use crate::confine::{self, ConfineError, Confinement};
use crate::observe::{Counters, Gauges, Observer};
use crate::registry::Registry;

use super::{DaemonStatus, Line, Question, RegistrationStatus, VERSION};

/// A client that takes this long to ask, or to read on, is given up: others wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait where a connection cannot be had, for want of memory or descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What stays as it was at the start.
#[derive(Clone, Debug)]
pub struct About {
    /// Where the device is.
    pub path: PathBuf,
    /// What the device is.
    pub device: String,
    /// Where events come from.
    pub source: String,
}

/// Answers until it is stopped; then its name is free.
#[derive(Debug)]
pub struct Server {
    listener: Arc<UnixListener>,
    client: Arc<Client>,
    thread: JoinHandle<()>,
}

/// The connection that is being answered.
#[derive(Debug, Default)]
struct Client {
    connection: Mutex<Option<Arc<UnixStream>>>,
    /// There will be no other.
    is_last: AtomicBool,
}

impl Client {
    fn set(&self, connection: Option<Arc<UnixStream>>) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    /// Ends the conversation.
    fn end(&self) {
        self.is_last.store(true, Ordering::SeqCst);
        if let Some(connection) = &*self.connection.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn is_last(&self) -> bool {
        self.is_last.load(Ordering::SeqCst)
    }
}

impl Server {
    /// Takes the name that goes with this device, which must be there.
    pub fn bind(node: &Path) -> io::Result<UnixListener> {
        UnixListener::bind_addr(&super::address(node)?)
    }

    /// Starts the thread that answers.
    pub fn start(
        listener: UnixListener,
        about: About,
        registry: Arc<Registry>,
        observer: &Observer,
        confinement: &Confinement,
    ) -> Result<Server, ConfineError> {
        let (listener, client) = (Arc::new(listener), Arc::new(Client::default()));
        let teller = Teller {
            about,
            began: Instant::now(),
            registry,
            counters: observer.counters.clone(),
            gauges: observer.gauges.clone(),
        };
        let thread = confinement.spawn("kmonitor-status", &confine::NOTHING, {
            let (listener, client) = (listener.clone(), client.clone());
            move || {
                while !client.is_last() {
                    match listener.accept() {
                        // Who goes away in the middle of it hears no more.
                        Ok((connection, _)) => drop(teller.answer(connection, &client)),
                        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                        Err(_) if client.is_last() => {}
                        Err(_) => thread::sleep(PAUSE),
                    }
                    client.set(None);
                }
            }
        })?;
        Ok(Server { listener, client, thread })
    }

    /// Ends the thread, whatever it does.
    pub fn stop(self) {
        self.client.end();
        let _ = shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        let _ = self.thread.join();
    }
}

struct Teller {
    about: About,
    began: Instant,
    registry: Arc<Registry>,
    counters: Arc<Counters>,
    gauges: Arc<Gauges>,
}

impl Teller {
    fn answer(&self, client: UnixStream, current: &Client) -> io::Result<()> {
        let client = Arc::new(client);
        current.set(Some(client.clone()));
        if current.is_last() || !super::is_roots(&client)? {
            return Ok(());
        }
        client.set_read_timeout(Some(PATIENCE))?;
        client.set_write_timeout(Some(PATIENCE))?;
        let mut byte = [0];
        (&*client).read_exact(&mut byte)?;
        let Some(question) = Question::of(byte[0]) else { return Ok(()) };
        let mut to = BufWriter::new(&*client);
        let told = self.tell(question, &mut to);
        if told.is_err() {
            // Else it would try for as long once more.
            drop(to.into_parts());
        }
        told
    }

    fn tell(&self, question: Question, to: &mut impl Write) -> io::Result<()> {
        write(to, &Line::Daemon(self.summary()))?;
        let listed = if question == Question::All { self.registry.list() } else { Vec::new() };
        for registration in &listed {
            let line = RegistrationStatus {
                monitor: registration.monitor.0,
                uid: registration.real_uid.0,
                target: registration.target.0,
                events: registration.events.names(),
                signal: registration.signal,
            };
            write(to, &Line::Registration(line))?;
        }
        write(to, &Line::End { listed: listed.len() as u64 })?;
        to.flush()
    }

    fn summary(&self) -> DaemonStatus {
        let (monitors, targets) = (self.registry.monitors(), self.registry.targets());
        DaemonStatus {
            v: VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            path: self.about.path.display().to_string(),
            device: self.about.device.clone(),
            source: self.about.source.clone(),
            uptime_seconds: self.began.elapsed().as_secs(),
            registrations: self.registry.len() as u64,
            monitors: monitors as u64,
            targets: targets as u64,
            open_files: self.gauges.open_files.get(),
            waiting_signals: self.gauges.waiting_signals.get(),
            counters: self.counters.all().map(|counter| (counter.name.to_owned(), counter.count)).collect(),
        }
    }
}

fn write(to: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *to, line)?;
    to.write_all(b"\n")
}
