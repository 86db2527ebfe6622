//! The loop: the one place where source, device queue, registry and notify meet.
//!
//! Two rules make the promise about closing and deregistering exact (DESIGN, P2). Both queues are
//! filled before the system call that filled them returns, so:
//!
//! * before an event is signalled, the device queue is drained: a release in it means that close()
//!   may have returned;
//! * before a close or an ioctl is answered, the source is drained and what is found is signalled.
//!
//! They do not chase each other: draining the device applies releases and keeps every other request,
//! in order, for its turn; their callers wait anyway.

use std::collections::{HashMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::abi::{Command, EventMask};
use crate::driver::{Call, Driver};
use crate::event::{Event, Input, Kind};
use crate::ids::{HandleId, MonitorId, Signal, Stamp, Tgid, Tid, Uid};
use crate::monitors::Monitors;
use crate::node::{Answer, Caller, Node, NodeGone, Request};
use crate::notify::{Outbox, siginfo};
use crate::observe::Observer;
use crate::registry::{Deregistered, Key, Registered, Registry};
use crate::source::{Source, SourceError};
use crate::sys::clock::monotonic_ns;
use crate::targets::Targets;

/// Events that are handled before requests have their turn.
const BATCH: usize = 64;

/// How long an exit that is due may take to arrive; it took at most 15 µs (event-sources fact (e)).
const DUE_EXIT: Duration = Duration::from_millis(20);

/// How long a release may follow the exec that closed its file; the kernel makes it on the way back
/// to user mode.
const RELEASE_AFTER_EXEC: Duration = Duration::from_millis(20);

/// A close this much before an exec may be the exec's own.
const CLOSE_BEFORE_EXEC: Duration = Duration::from_millis(200);

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
    #[error("cannot wait for events: {0}")]
    Poll(Errno),
}

/// What the core's owner may choose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Send the two abort events, which the original declares and never sends.
    pub abort_events: bool,
}

/// The core: everything that happens happens here, on one thread.
pub struct Core<N, S> {
    node: N,
    source: S,
    driver: Driver,
    registry: Arc<Registry>,
    monitors: Monitors,
    targets: Targets,
    outbox: Outbox,
    /// Requests that were read while something else was in hand.
    waiting: VecDeque<Request>,
    /// When a descriptor of an open file was last closed.
    closed: HashMap<HandleId, Stamp>,
    observer: Observer,
    options: Options,
}

impl<N: Node, S: Source> Core<N, S> {
    /// A core at rest.
    pub fn new(
        node: N,
        source: S,
        driver: Driver,
        registry: Arc<Registry>,
        monitors: Monitors,
        observer: Observer,
        options: Options,
    ) -> Core<N, S> {
        Core {
            node,
            source,
            driver,
            registry,
            monitors,
            targets: Targets::default(),
            outbox: Outbox::new(observer.clone()),
            waiting: VecDeque::new(),
            closed: HashMap::new(),
            observer,
            options,
        }
    }

    /// Serves until `stop` is readable.
    pub fn run(&mut self, stop: BorrowedFd<'_>) -> Result<(), CoreError> {
        loop {
            self.work()?;
            if self.sleep(stop)? {
                return self.work();
            }
        }
    }

    /// Sleeps until there is something to do; true if that is to stop.
    fn sleep(&mut self, stop: BorrowedFd<'_>) -> Result<bool, CoreError> {
        let idle = self.source.idle()?;
        let retry = self.outbox.next_try().map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = [idle, retry].into_iter().flatten().min();
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = vec![readable(stop), readable(self.node.poll_fd()), readable(self.monitors.poll_fd())];
        fds.extend(self.source.poll_fd().map(readable));
        wait(&mut fds, timeout)?;
        Ok(fds[0].any().unwrap_or(false))
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
            self.take_requests()?;
            while let Some(request) = self.waiting.pop_front() {
                self.serve(request)?;
                busy = true;
            }
            busy |= self.bury_monitors();
            self.outbox.retry(&self.monitors);
            if !busy {
                return Ok(());
            }
        }
    }

    /// Reads the device queue to its end. Releases take effect at once, everything else waits its
    /// turn.
    fn take_requests(&mut self) -> Result<(), NodeGone> {
        while let Some(request) = self.node.next()? {
            match request {
                Request::Release { ticket, handle } => {
                    self.release(handle);
                    if let Some(ticket) = ticket {
                        self.node.answer(ticket, Answer::Done);
                    }
                }
                other => self.waiting.push_back(other),
            }
        }
        Ok(())
    }

    fn serve(&mut self, request: Request) -> Result<(), CoreError> {
        let (ticket, answer) = match request {
            Request::Open { ticket } => (ticket, self.driver.open().map(Answer::Opened)),
            Request::Ioctl { ticket, handle, caller, command, argument } => {
                let result = match Call::decode(command, argument) {
                    Ok(Call::Register(command)) => self.register(handle, caller, command)?,
                    Ok(Call::Deregister(command)) => self.deregister(caller, command)?,
                    Err(errno) => Err(errno),
                };
                (ticket, result.map(|()| Answer::Done))
            }
            Request::Close { ticket, handle } => {
                let targets = self.registry.targets_through(handle);
                if !targets.is_empty() {
                    self.drain_source(&targets)?;
                    self.closed.insert(handle, Stamp(monotonic_ns()));
                }
                (ticket, Ok(Answer::Done))
            }
            Request::Release { handle, .. } => return Ok(self.release(handle)),
        };
        self.node.answer(ticket, answer.unwrap_or_else(Answer::Failed));
        Ok(())
    }

    fn register(
        &mut self,
        handle: HandleId,
        caller: Caller,
        command: Command,
    ) -> Result<Result<(), Errno>, CoreError> {
        // Events that came before this call belong to the registration as it was.
        self.drain_source(&[])?;
        self.bury_monitors();
        let monitor = match self.monitors.enrol(caller) {
            Ok(monitor) => monitor,
            Err(errno) => {
                self.observer.say(format_args!("cannot watch over monitor {}: {errno}", caller.tid));
                return Ok(Err(Errno::ENOMEM));
            }
        };
        let registered = self.driver.register(handle, monitor, Monitors::credentials(caller), command);
        if registered == Ok(Registered::New) {
            let key = Key { monitor, target: Tid(command.pid) };
            self.monitors.hold(monitor);
            self.watch(key);
            if let Err(error) = self.source.commit() {
                self.observer.say(error);
                self.registry.deregister(key, !EventMask::default());
                self.unwatch(key);
                self.monitors.let_go(monitor);
                return Ok(Err(Errno::EIO));
            }
            self.targets.add(key.target);
        } else {
            self.monitors.drop_if_unused(monitor.instance);
        }
        Ok(registered.map(drop))
    }

    fn deregister(&mut self, caller: Caller, command: Command) -> Result<Result<(), Errno>, CoreError> {
        let target = Tid(command.pid);
        self.drain_source(&[target])?;
        self.bury_monitors();
        let Some(monitor) = self.monitors.known(caller) else { return Ok(Err(Errno::EINVAL)) };
        let result = self.driver.deregister(monitor, command);
        if result == Ok(Deregistered::Removed) {
            self.ended(Key { monitor, target });
        }
        Ok(result.map(drop))
    }

    fn release(&mut self, handle: HandleId) {
        self.closed.remove(&handle);
        for key in self.driver.release(handle) {
            self.ended(key);
        }
    }

    /// What must be undone when a registration has left the registry.
    fn ended(&mut self, key: Key) {
        self.outbox.retry_one(&self.monitors, key.monitor.instance);
        self.outbox.forget(key);
        self.targets.remove(key.target);
        self.unwatch(key);
        self.monitors.let_go(key.monitor);
    }

    /// The tasks that a registration wants to hear of: the target; and the monitor, whose end, or
    /// whose process's exec, may end it.
    fn tasks_of(&self, key: Key) -> [Tid; 3] {
        let monitor = key.monitor.tid;
        let leader = self.monitors.tgid(key.monitor.instance).map_or(monitor, Tgid::leader);
        [key.target, monitor, leader]
    }

    fn watch(&mut self, key: Key) {
        for tid in self.tasks_of(key) {
            self.source.watch(tid);
        }
    }

    fn unwatch(&mut self, key: Key) {
        for tid in self.tasks_of(key) {
            self.source.unwatch(tid);
        }
    }

    /// The monitors' ends: of whole processes by their pidfds, whatever the source missed.
    fn bury_monitors(&mut self) -> bool {
        let dead = self.monitors.take_exited();
        for monitor in &dead {
            self.remove_monitor(*monitor);
        }
        !dead.is_empty()
    }

    fn remove_monitor(&mut self, monitor: MonitorId) {
        for key in self.registry.remove_monitor(monitor) {
            self.ended(key);
        }
    }

    /// Handles every event that was queued when this was called, and waits a moment for the exits of
    /// `dying` targets whose waiters the kernel may have let go before it reported them.
    fn drain_source(&mut self, dying: &[Tid]) -> Result<(), CoreError> {
        self.drain_queue()?;
        let deadline = Instant::now() + DUE_EXIT;
        for target in dying {
            while self.targets.exit_is_due(*target) {
                let left = deadline.saturating_duration_since(Instant::now());
                let Some(source) = self.source.poll_fd() else { return Ok(()) };
                if !wait(&mut [PollFd::new(source, PollFlags::POLLIN)], Some(left))? && left.is_zero() {
                    self.targets.give_up_exit(*target);
                    self.observer.counters.exits_missing.add();
                    break;
                }
                self.drain_queue()?;
            }
        }
        Ok(())
    }

    /// The queue is first in, first out, so an event that is younger than this call ends it.
    fn drain_queue(&mut self) -> Result<(), CoreError> {
        let called = Stamp(monotonic_ns());
        while let Some(input) = self.source.next()? {
            self.hear(input)?;
            if matches!(input, Input::Event(Event { at, .. }) | Input::Uid { at, .. } if at > called) {
                break;
            }
        }
        Ok(())
    }

    fn hear(&mut self, input: Input) -> Result<(), NodeGone> {
        match input {
            Input::Event(event) => {
                self.observer.counters.events.add();
                self.targets.note(&event);
                if event.kind == Kind::ProcessExec {
                    self.exec(&event)?;
                }
                if self.registry.has_target(event.target) {
                    self.take_requests()?;
                    self.tell(&event);
                }
                if event.kind == Kind::ThreadExit
                    && let Some(monitor) = self.monitors.thread(event.target, event.tgid)
                {
                    self.remove_monitor(monitor);
                }
            }
            Input::Uid { tid, real, at } => self.targets.set_uid(tid, real, at),
            Input::Lost => {
                self.observer.counters.overflows.add();
                self.observer.say("the kernel dropped process events: its queue for us was full");
            }
        }
        Ok(())
    }

    /// An exec has ended all other threads of its process. And it may have closed the file through
    /// which the process watches itself: the new program must not be signalled (J2).
    fn exec(&mut self, event: &Event) -> Result<(), NodeGone> {
        for monitor in self.monitors.other_threads(event.tgid) {
            self.remove_monitor(monitor);
        }
        let deadline = Instant::now() + RELEASE_AFTER_EXEC;
        while self.may_have_closed_itself(event) {
            self.take_requests()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.may_have_closed_itself(event) {
                break;
            }
            // An error here is one for the next read to tell.
            let _ = wait(&mut [PollFd::new(self.node.poll_fd(), PollFlags::POLLIN)], Some(left));
        }
        Ok(())
    }

    fn may_have_closed_itself(&self, exec: &Event) -> bool {
        let recent = exec.at.0.saturating_sub(CLOSE_BEFORE_EXEC.as_nanos() as u64);
        let mut found = false;
        self.registry.for_each_match(exec.target, exec.kind.bit(), |registration| {
            found |= self.monitors.tgid(registration.monitor.instance) == Some(exec.tgid)
                && registration.handles().iter().any(|h| self.closed.get(h).is_some_and(|at| at.0 > recent));
        });
        found
    }

    /// Signals an event to everybody who wants it.
    fn tell(&mut self, event: &Event) {
        if self.options.abort_events && event.killed_by.is_some() {
            self.signal(event, event.kind.abort_bit().unwrap_or_default());
        }
        self.signal(event, event.kind.bit());
    }

    fn signal(&mut self, event: &Event, bit: EventMask) {
        let mut told = Vec::new();
        self.registry.for_each_match(event.target, bit, |registration| {
            if let Some(signal) = Signal::new(registration.signal) {
                told.push((registration.monitor, signal, registration.credentials));
            }
        });
        if told.is_empty() {
            return;
        }
        let uid = self.targets.uid(event).unwrap_or_else(|| {
            self.observer.counters.uid_unknown.add();
            Uid::OVERFLOW
        });
        for (monitor, signal, credentials) in told {
            if self.monitors.may_signal(credentials, monitor.instance) {
                let key = Key { monitor, target: event.target };
                self.outbox.send(&self.monitors, key, siginfo(signal, bit, event.subject, uid));
            } else {
                self.observer.counters.forbidden.add();
            }
        }
    }
}

/// poll(2) that takes a signal for nothing; true if something is ready.
fn wait(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<bool, CoreError> {
    // Rounded up: woken a moment early, the loop would spin to the deadline.
    let timeout = timeout.map_or(PollTimeout::NONE, |time| {
        PollTimeout::try_from(time.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
    });
    match poll(fds, timeout) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(CoreError::Poll(errno)),
    }
}
