//! Which filter is attached to the socket, and when it is made anew.
//!
//! A filter must never be narrower than what is watched: events would be lost. One that is wider only
//! lets strangers wake us, so it is narrowed when there is time. To make one costs the kernel a check
//! and a translation, of thousands of instructions at most, and changes in its own address space, after
//! which each processor is slower for a while (the exits that followed took 10 µs longer). A client
//! that registers for many tasks in turn would have all pay that each time, so after a few the filter
//! is opened for all until things are quiet.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::ids::Tid;
use crate::sys::netlink::ConnectorSocket;

use super::filter;

/// How long a filter may stay wider than needed.
const SETTLE: Duration = Duration::from_millis(100);

/// Filters that are made within [`SETTLE`] before it is opened for all.
const MOST_MADE: u32 = 4;

/// The watched tasks, and the filter for their events.
#[derive(Debug)]
pub struct Sieve {
    /// Whose name changes are let through.
    own: Tid,
    /// False on a kernel that stops sending to everybody when all listeners' filters drop an event
    /// (some 6.6.y): events of strangers then wake us.
    usable: bool,
    /// More tasks than this do not fit into a filter.
    most: usize,
    watched: HashMap<Tid, usize>,
    /// Everybody is watched.
    all: bool,
    /// The attached filter lets the events of all tasks through.
    open: bool,
    /// Watched tasks that the attached filter does not let through.
    too_narrow: bool,
    /// When a filter that lets tasks through that are not watched is to be made narrower.
    narrow_at: Option<Instant>,
    /// Since when filters are counted, and how many were made.
    made: (Instant, u32),
}

impl Sieve {
    /// Nobody is watched.
    pub fn new() -> Sieve {
        Sieve {
            own: Tid(0),
            usable: true,
            most: filter::MOST_TASKS,
            watched: HashMap::new(),
            all: false,
            open: false,
            too_narrow: false,
            narrow_at: None,
            made: (Instant::now(), 0),
        }
    }

    /// Counts a wish for this task's events.
    pub fn watch(&mut self, tid: Tid) {
        let count = self.watched.entry(tid).or_insert(0);
        *count += 1;
        self.too_narrow |= *count == 1;
    }

    /// Wishes for the events of all tasks.
    pub fn watch_all(&mut self) {
        self.all = true;
        self.too_narrow = true;
    }

    /// Takes one wish back.
    pub fn unwatch(&mut self, tid: Tid) {
        if let Some(count) = self.watched.get_mut(&tid) {
            *count -= 1;
            if *count == 0 {
                self.watched.remove(&tid);
                self.narrow_later();
            }
        }
    }

    /// True if nobody is watched.
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty() && !self.all
    }

    /// The first filter of a new socket.
    pub fn start(&mut self, socket: &ConnectorSocket, own: Tid) -> Result<(), Errno> {
        self.own = own;
        self.most = filter::MOST_TASKS;
        self.fit(socket)
    }

    /// Filters cannot be used at all.
    pub fn give_up(&mut self, socket: &ConnectorSocket) -> Result<(), Errno> {
        self.usable = false;
        self.fit(socket)
    }

    /// Lets the events of all watched tasks through.
    pub fn widen(&mut self, socket: &ConnectorSocket) -> Result<(), Errno> {
        if self.too_narrow && !self.open {
            if self.made.0.elapsed() > SETTLE {
                self.made = (Instant::now(), 0);
            }
            self.made.1 += 1;
            if self.made.1 <= MOST_MADE {
                return self.fit(socket);
            }
            self.open_for_all(socket)?;
            self.narrow_later();
        }
        self.too_narrow = false;
        Ok(())
    }

    /// Makes a filter that is too wide narrower, if it is time; tells how long that has still to wait.
    pub fn tidy(&mut self, socket: &ConnectorSocket) -> Option<Duration> {
        let at = self.narrow_at?;
        let left = at.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Some(left);
        }
        // A failure leaves a filter that does no harm.
        self.narrow_at = None;
        if self.watched.len() <= self.most || !self.open {
            let _ = self.fit(socket);
        }
        None
    }

    fn narrow_later(&mut self) {
        self.narrow_at.get_or_insert_with(|| Instant::now() + SETTLE);
    }

    /// Attaches the narrowest filter that can be had.
    fn fit(&mut self, socket: &ConnectorSocket) -> Result<(), Errno> {
        if !self.usable {
            socket.attach_filter(&mut filter::everything(true))?;
            self.open = true;
        } else if self.all || self.watched.len() > self.most || !self.fit_closely(socket)? {
            self.open_for_all(socket)?;
        }
        self.too_narrow = false;
        Ok(())
    }

    /// False if the filter for these tasks is more than net.core.optmem_max allows.
    fn fit_closely(&mut self, socket: &ConnectorSocket) -> Result<bool, Errno> {
        let tasks: Vec<Tid> = self.watched.keys().copied().collect();
        let mut program = filter::program(self.own, Some(&tasks));
        let mut result = socket.attach_filter(&mut program);
        if result == Err(Errno::ENOMEM) {
            // The filter in place counts too, until a small one has taken its place.
            self.open_for_all(socket)?;
            result = socket.attach_filter(&mut program);
        }
        match result {
            Ok(()) => self.open = false,
            Err(Errno::ENOMEM) => self.most = tasks.len().saturating_sub(1),
            Err(errno) => return Err(errno),
        }
        Ok(result.is_ok())
    }

    fn open_for_all(&mut self, socket: &ConnectorSocket) -> Result<(), Errno> {
        socket.attach_filter(&mut filter::program(self.own, None))?;
        self.open = true;
        Ok(())
    }
}
