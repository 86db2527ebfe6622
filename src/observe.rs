//! What the daemon tells about itself: counters, and a log that never holds the core thread up.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::confine;

/// Log lines that wait for a slow reader of our standard error; more are counted and dropped.
const BACKLOG: usize = 256;

/// A line that repeats is not logged again within this time.
const QUIET: Duration = Duration::from_secs(1);

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)*) => {
        /// What the daemon has done since its start. Any thread may read them at any time.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: Count,)*
        }

        impl fmt::Display for Counters {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let pairs: &[(&str, &Count)] = &[$((stringify!($name), &self.$name)),*];
                for (at, (name, count)) in pairs.iter().enumerate() {
                    let blank = if at == 0 { "" } else { " " };
                    write!(f, "{blank}{name}={}", count.get())?;
                }
                Ok(())
            }
        }
    };
}

counters! {
    /// Events that the source told.
    events,
    /// Signals that were sent.
    signals,
    /// Signals that had to wait, because the monitor's signal queue was full.
    delayed,
    /// Signals that were given up, because too many waited for that monitor.
    dropped,
    /// Signals that the monitor's new credentials forbade.
    forbidden,
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

/// Takes log lines from other threads without ever making them wait.
#[derive(Clone, Debug)]
pub struct Observer {
    lines: Sender<String>,
    /// The last line, and when it was said.
    last: Arc<Mutex<(String, Instant)>>,
    /// The counters.
    pub counters: Arc<Counters>,
}

impl Observer {
    /// Starts the log: a thread that writes lines to standard error until all observers are gone. Then
    /// the channel that is given back closes.
    pub fn start() -> io::Result<(Observer, Receiver<()>)> {
        let (lines, receiver) = bounded(BACKLOG);
        let (at_work, ended) = bounded(0);
        confine::spawn("kmonitor-log", &confine::NOTHING, move || {
            let _at_work = at_work;
            write_lines(&receiver);
        })?;
        Ok((Observer::new(lines), ended))
    }

    /// An observer whose lines nobody reads.
    pub fn silent() -> Observer {
        Observer::new(bounded(0).0)
    }

    fn new(lines: Sender<String>) -> Observer {
        Observer {
            lines,
            last: Arc::new(Mutex::new((String::new(), Instant::now()))),
            counters: Arc::default(),
        }
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
        self.send(line);
    }

    /// Logs the counters.
    pub fn say_counters(&self) {
        self.send(self.counters.to_string());
    }

    fn send(&self, line: String) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            self.counters.log_dropped.add();
        }
    }
}

fn write_lines(lines: &Receiver<String>) {
    for line in lines {
        // Nobody is left to be told that standard error is gone.
        let _ = io::stderr().write_all(format!("kmonitor: {line}\n").as_bytes());
    }
}
