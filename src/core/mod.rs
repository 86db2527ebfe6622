//! The loop: the one place where source, device queue, registry and notify meet.
//!
//! Two rules make the promise about closing and deregistering exact (promise P2). Both queues are
//! filled before the system call that filled them returns (docs/kernel-facts.md#order-in-the-queue), so:
//!
//! * before an event is signalled, the device queue is drained: a release in it means that close()
//!   may have returned, and one that may be about to come holds the signal ([`crate::closing`]);
//! * before a close or an ioctl is answered, the source is drained and what is found is signalled.
//!
//! They do not chase each other: draining the device applies releases and keeps every other request,
//! in order, for its turn; their callers wait anyway.

mod events;
mod put_off;
mod requests;
#[cfg(test)]
mod simulation;
mod sweep;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use crate::closing::Closings;
use crate::driver::Driver;
use crate::ids::{HandleId, MonitorId};
use crate::monitors::Monitors;
use crate::node::{Node, NodeGone, Request};
use crate::notify::{MOST_WAITING, Outbox};
use crate::observe::Observer;
use crate::registry::{Key, Registry};
use crate::remedy::remedy;
use crate::source::{Mark, Source, SourceError};
use crate::sys::priority::Priority;
use crate::system::System;

use put_off::PutOff;
use sweep::{SLICE, Sweep};

/// Events that are handled before requests have their turn.
const BATCH: usize = 64;

/// Callers of no concern to any registration that are answered before events are looked for again: while there is
/// nothing else to do, and while there is.
const OTHERS: usize = 16;
const OTHERS_IN_PASSING: usize = 2;

/// A close this much before an exec may be the exec's own.
const CLOSE_BEFORE_EXEC: Duration = Duration::from_secs(2);

/// Why the core stopped without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The node is gone.
    #[error(transparent)]
    Node(#[from] NodeGone),
    /// Events cannot be heard.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// poll(2) failed.
    #[error("cannot wait for events: {}: {}", .0, remedy(*.0))]
    Poll(Errno),
}

/// What the core's owner may choose.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Send the two abort events, which the original declares and never sends.
    pub abort_events: bool,
    /// How many signals may wait for one monitor whose signal queue is full.
    pub most_waiting: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { abort_events: false, most_waiting: MOST_WAITING }
    }
}

impl Options {
    /// As usual; or fewer signals wait, of which all may take a sixteenth of so many bytes.
    pub fn within(memory: u64) -> Options {
        let fitting = usize::try_from(memory >> 14).unwrap_or(usize::MAX);
        Options { most_waiting: MOST_WAITING.min(fitting), ..Options::default() }
    }
}

/// The core: everything that happens happens here, on one thread.
pub struct Core<N, S, Y: System> {
    system: Y,
    node: N,
    source: S,
    driver: Driver,
    registry: Arc<Registry>,
    monitors: Monitors<Y>,
    outbox: Outbox<Y>,
    /// Requests that were read while something else was in hand.
    waiting: VecDeque<Request>,
    /// Where the source was when it had told of a loss, and the registering threads that were gone by then.
    gone: Option<(Mark, BTreeSet<MonitorId>)>,
    /// Registrations of ended threads whose signals still wait.
    owing: HashSet<Key>,
    /// Answers whose time has not come.
    put_off: Vec<PutOff>,
    closings: Closings<Y>,
    sweep: Sweep,
    /// So many registrations are swept up in one turn.
    slice: usize,
    /// Of the thread that serves.
    priority: Option<Priority>,
    observer: Observer,
    options: Options,
}

impl<N: Node, S: Source, Y: System> Core<N, S, Y> {
    /// A core at rest.
    pub fn new(
        system: Y,
        node: N,
        source: S,
        driver: Driver,
        registry: Arc<Registry>,
        observer: Observer,
        options: Options,
    ) -> Core<N, S, Y> {
        Core {
            closings: Closings::new(system.clone(), node.closes()),
            node,
            source,
            driver,
            registry,
            monitors: Monitors::new(system.clone()),
            outbox: Outbox::new(system.clone(), options.most_waiting, observer.clone()),
            waiting: VecDeque::new(),
            gone: None,
            owing: HashSet::new(),
            put_off: Vec::new(),
            sweep: Sweep::default(),
            slice: SLICE,
            priority: None,
            system,
            observer,
            options,
        }
    }

    /// Serves until `stop` is readable.
    ///
    /// The original ran in the kernel, in the act; we should not queue behind a busy machine's programs.
    pub fn run(&mut self, stop: BorrowedFd<'_>) -> Result<(), CoreError> {
        self.priority = Some(Priority::take());
        loop {
            self.work()?;
            if self.sleep(stop)? {
                return self.work();
            }
        }
    }

    /// Sleeps until there is something to do; true if that is to stop.
    fn sleep(&mut self, stop: BorrowedFd<'_>) -> Result<bool, CoreError> {
        self.tell_gauges();
        let idle = self.source.idle();
        if idle == Some(Duration::ZERO) {
            self.still_busy();
        }
        let next = [self.outbox.next_try(), self.closings.next_look(), self.next_answer()];
        let next = next.into_iter().flatten().min();
        let next = next.map(|at| at.saturating_duration_since(self.system.now()));
        let timeout = [idle, next].into_iter().flatten().min();
        self.source.before_sleep();
        let always = [stop, self.node.poll_fd(), self.system.exits_fd()];
        let mut fds: Vec<_> = always.into_iter().map(readable).collect();
        fds.extend(self.source.poll_fds().into_iter().flatten().map(readable));
        let begin = Instant::now();
        self.system.wait(&mut fds, timeout).map_err(CoreError::Poll)?;
        let stopped = fds[0].any().unwrap_or(false);
        self.source.after_sleep(self.node.poll_fd());
        if let Some(priority) = &mut self.priority {
            priority.slept(begin.elapsed());
        }
        Ok(stopped)
    }

    /// Handles whatever both queues hold.
    fn work(&mut self) -> Result<(), CoreError> {
        loop {
            let mut busy = false;
            for _ in 0..BATCH {
                let Some(input) = self.source.next()? else { break };
                self.hear(input)?;
                busy = true;
            }
            self.end_gone_threads();
            self.take_requests()?;
            while let Some(request) = self.waiting.pop_front() {
                self.serve(request)?;
                self.still_busy();
                busy = true;
            }
            busy |= self.bury_monitors();
            self.sweep_some();
            let doubt = Doubt::new(&self.registry, &self.closings, &self.monitors, &self.sweep);
            self.outbox.retry(&self.monitors, |key| doubt.holds(key));
            self.end_paid();
            busy |= self.answer_put_off()?;
            let others = if busy { OTHERS_IN_PASSING } else { OTHERS };
            busy |= self.node.answer_others(others);
            busy |= !self.sweep.is_empty();
            if !busy {
                return Ok(());
            }
            self.still_busy();
            let _ = self.source.idle();
        }
    }

    /// To be called now and then while there is no sleep.
    fn still_busy(&mut self) {
        self.tell_gauges();
        if let Some(priority) = &mut self.priority {
            priority.busy();
        }
    }

    fn tell_gauges(&self) {
        self.observer.gauges.open_files.set(self.driver.open_files());
        self.observer.gauges.waiting_signals.set(self.outbox.in_all());
    }

    /// Reads the device queue to its end. Releases that nobody waits for take effect at once,
    /// everything else waits its turn.
    fn take_requests(&mut self) -> Result<(), NodeGone> {
        // First: a closer that is past its close by now has its release in the queue.
        self.closings.look();
        while let Some(request) = self.node.next()? {
            match request {
                Request::Release { ticket: None, handle } => self.release(handle),
                other => {
                    match other {
                        Request::Close { by, .. } => {
                            self.closings.asks(by);
                            self.source.blocked(by, true);
                        }
                        Request::Release { handle, .. } => self.closings.releases(handle),
                        Request::Open { .. } | Request::Ioctl { .. } => {}
                    }
                    self.waiting.push_back(other);
                }
            }
        }
        self.closings.forget_past();
        Ok(())
    }

    /// Handles every event that had happened when this was called.
    fn drain_source(&mut self) -> Result<(), CoreError> {
        let mark = self.source.mark();
        while !self.source.has_passed(mark) {
            if let Some(input) = self.source.next()? {
                self.hear(input)?;
                self.still_busy();
            } else if !self.source.has_passed(mark) {
                let left = self.source.deadline().map(|at| at.saturating_duration_since(self.system.now()));
                let mut fds: Vec<_> = self.source.poll_fds().into_iter().flatten().map(readable).collect();
                self.system.wait(&mut fds, left).map_err(CoreError::Poll)?;
            }
        }
        Ok(())
    }
}

/// Which registrations' signals must wait, since each of their open files may be closed by now. If each is, they
/// wait to be forgotten.
struct Doubt<'a, Y: System> {
    registry: &'a Registry,
    closings: &'a Closings<Y>,
    monitors: &'a Monitors<Y>,
    sweep: &'a Sweep,
    /// A task waits in a call on this one, which is therefore open.
    open: Option<HandleId>,
}

impl<'a, Y: System> Doubt<'a, Y> {
    fn new(
        registry: &'a Registry,
        closings: &'a Closings<Y>,
        monitors: &'a Monitors<Y>,
        sweep: &'a Sweep,
    ) -> Doubt<'a, Y> {
        Doubt { registry, closings, monitors, sweep, open: None }
    }

    fn holds(&self, key: Key) -> bool {
        let handles = self.registry.handles(key);
        let process = self.monitors.tgid(key.monitor.instance);
        let may_be_closed = |handle| {
            let is_in_doubt = || Some(handle) != self.open && self.closings.in_doubt(handle, process);
            self.sweep.has_file(handle) || is_in_doubt()
        };
        !handles.is_empty() && handles.into_iter().all(may_be_closed)
    }
}

fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::POLLIN)
}
