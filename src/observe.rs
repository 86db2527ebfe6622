//! What the daemon tells about itself: counters, and a log that never holds the core thread up.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::confine::{self, ConfineError, Confinement};

/// Log lines that wait for a slow reader of our standard error; more are counted and dropped.
const BACKLOG: usize = 256;

/// How long a line may take whose writer waits for it.
const WRITTEN: Duration = Duration::from_secs(1);

/// A line that repeats is not logged again within this time.
const QUIET: Duration = Duration::from_secs(1);

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)*) => {
        /// What the daemon has done since its start. Any thread may read them at any time.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: Count,)*
        }

        impl Counters {
            /// All of them.
            pub fn all(&self) -> impl Iterator<Item = Counted> {
                let all = [$(Counted { name: stringify!($name), count: self.$name.get() }),*];
                all.into_iter()
            }
        }

        /// The counters' names, and what each counts.
        pub const MEANINGS: &[(&str, &str)] = &[$((stringify!($name), concat!($($doc),+))),*];
    };
}

counters! {
    /// Events that the source told.
    events,
    /// Signals that were sent.
    signals,
    /// Signals that had to wait, because the monitor's signal queue was full.
    delayed,
    /// Signals that had to wait until it was known whether a close of the monitor's open file was the last.
    held,
    /// Signals that were given up, because too many waited for that monitor.
    dropped,
    /// Signals that the monitor's new credentials forbade.
    forbidden,
    /// Signals that the kernel did not let us send.
    refused,
    /// Times that the kernel's event queue ran over.
    overflows,
    /// Events that the kernel dropped because that queue was full.
    events_lost,
    /// Times that the kernel was found to have stopped sending events.
    deafnesses,
    /// Signals whose si_uid nobody could tell any more.
    uid_unknown,
    /// Exits for which the core was awake, since it had been told that they begin.
    exits_awaited,
    /// Exits that the source lost, and that were told all the same.
    exits_recovered,
    /// Execs that the source lost, and that were told all the same.
    execs_recovered,
    /// Targets without a descriptor of their own: their exits are known from the source alone.
    unarmed,
    /// Log lines that were dropped.
    log_dropped,
}

/// What a counter has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The counter's.
    pub name: &'static str,
    /// Since the start.
    pub count: u64,
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Counted { name, count }) in self.all().enumerate() {
            let blank = if at == 0 { "" } else { " " };
            write!(f, "{blank}{name}={count}")?;
        }
        Ok(())
    }
}

/// How much there is of what grows and shrinks, as of the core's last look. Any thread may read it at any time.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Open files on the device.
    pub open_files: Gauge,
    /// Signals that wait to be sent.
    pub waiting_signals: Gauge,
}

/// One of them.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// So much there is now.
    pub fn set(&self, value: usize) {
        self.0.store(value as u64, Ordering::Relaxed);
    }

    /// So much there was.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One counter.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn add(&self) {
        self.add_many(1);
    }

    /// So many more.
    pub fn add_many(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Takes lines from other threads without ever making them wait: a thread for each of our two outputs
/// writes them, and waits where nobody reads.
#[derive(Clone, Debug)]
pub struct Observer {
    log: Sender<Line>,
    output: Sender<Line>,
    /// The last line, and when it was said.
    last: Arc<Mutex<(String, Instant)>>,
    /// The counters.
    pub counters: Arc<Counters>,
    /// The gauges.
    pub gauges: Arc<Gauges>,
}

/// A line; when it has been written, the channel closes.
#[derive(Debug)]
struct Line {
    text: String,
    _written: Option<Sender<()>>,
}

/// The lines that wait to be written.
#[derive(Debug)]
pub struct Outputs {
    log: Receiver<Line>,
    output: Receiver<Line>,
}

impl Outputs {
    /// Starts the threads that write lines until all observers are gone. Then the channel that is given
    /// back closes.
    pub fn start(self, confinement: &Confinement) -> Result<Receiver<()>, ConfineError> {
        let (at_work, ended) = bounded::<()>(0);
        let start = |name, lines, write: fn(&[u8]) -> io::Result<()>| {
            let at_work = at_work.clone();
            confinement.spawn(name, &confine::NOTHING, move || {
                let _at_work = at_work;
                write_lines(&lines, write);
            })
        };
        start("kmonitor-log", self.log, |line| io::stderr().write_all(line))?;
        start("kmonitor-output", self.output, |line| {
            io::stdout().write_all(line).and_then(|()| io::stdout().flush())
        })?;
        Ok(ended)
    }
}

impl Observer {
    /// An observer, and what it says, which nobody writes yet.
    pub fn new() -> (Observer, Outputs) {
        let (log, log_lines) = bounded(BACKLOG);
        let (output, output_lines) = bounded(BACKLOG);
        let last = Arc::new(Mutex::new((String::new(), Instant::now())));
        let observer = Observer { log, output, last, counters: Arc::default(), gauges: Arc::default() };
        (observer, Outputs { log: log_lines, output: output_lines })
    }

    /// An observer whose lines nobody reads.
    pub fn silent() -> Observer {
        Observer::new().0
    }

    /// Logs a line.
    pub fn say(&self, line: impl fmt::Display) {
        let line = line.to_string();
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.0 == line && last.1.elapsed() < QUIET {
                return;
            }
            *last = (line.clone(), Instant::now());
        }
        self.send(&self.log, line, None);
    }

    /// Logs the counters.
    pub fn say_counters(&self) {
        self.send(&self.log, self.counters.to_string(), None);
    }

    /// Says what the daemon's start has come to on standard output, after what was logged before: as far as
    /// somebody reads that within a moment.
    pub fn announce(&self, log: impl fmt::Display, output: impl fmt::Display) {
        let (written, done) = bounded(0);
        self.send(&self.log, log.to_string(), Some(written));
        let _ = done.recv_timeout(WRITTEN);
        self.send(&self.output, output.to_string(), None);
    }

    fn send(&self, to: &Sender<Line>, text: String, written: Option<Sender<()>>) {
        if let Err(TrySendError::Full(_)) = to.try_send(Line { text, _written: written }) {
            self.counters.log_dropped.add();
        }
    }
}

fn write_lines(lines: &Receiver<Line>, write: fn(&[u8]) -> io::Result<()>) {
    for line in lines {
        // Nobody is left to be told that the reader is gone.
        let _ = write(format!("kmonitor: {}\n", line.text).as_bytes());
    }
}
