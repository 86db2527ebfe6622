//! From an event to a signal: the siginfo, the sending, and the signals that have to wait.
//!
//! A monitor whose signal queue is full gets its signals later, in their order; no system call tells
//! when there is room again (docs/kernel-facts.md#a-full-signal-queue), so sending is tried now and
//! then. Signals of a registration that may be going (see [`crate::closing`]) wait too. All this stays on the
//! core thread: a try does not block, and a waiting signal must go with its registration before DEREGISTER
//! returns.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::abi::EventMask;
use crate::ids::{Instance, MonitorId, Signal, Tid, Uid};
use crate::monitors::Monitors;
use crate::observe::Observer;
use crate::registry::Key;
use crate::sys::pidfd::QueuedSignal;
use crate::system::System;

/// The wait before a second try; it doubles up to [`LONGEST_WAIT`].
const SHORTEST_WAIT: Duration = Duration::from_micros(500);
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Signals that usually may wait for one monitor, of 32 bytes each.
pub const MOST_WAITING: usize = 1 << 18;

/// Signals of lines that are gone which may be left beside as many as are to be sent.
const LEFT_OVER: usize = 64;

/// For all monitors together, so many times as many may wait.
const MONITORS: usize = 16;

/// The siginfo of a notification (docs/behaviour.md, fact 36).
pub fn siginfo(signal: Signal, event: EventMask, subject: Tid, uid: Uid) -> QueuedSignal {
    QueuedSignal { signo: signal.number(), pid: subject.0, uid: uid.0, value: event.0 }
}

/// A registration of one process: the registering task, and the target.
type Name = (Tid, Tid);

fn name(key: Key) -> Name {
    (key.monitor.tid, key.target)
}

/// Signals of a registration that wait.
#[derive(Debug)]
struct Line {
    /// No other line ever has it, also none of a later registration of the same name.
    id: u64,
    count: usize,
}

/// Signals that wait for one process.
#[derive(Debug, Default)]
struct Waiting {
    /// In their order, each with its line's id. Of lines that are gone nothing is sent.
    signals: VecDeque<(u64, Name, QueuedSignal)>,
    lines: HashMap<Name, Line>,
    last_id: u64,
    /// How many of them are to be sent.
    count: usize,
    /// The process's own queue was full at the last try.
    full: bool,
}

impl Waiting {
    fn push(&mut self, name: Name, signal: QueuedSignal) {
        let line = self.lines.entry(name).or_insert_with(|| {
            self.last_id += 1;
            Line { id: self.last_id, count: 0 }
        });
        line.count += 1;
        self.signals.push_back((line.id, name, signal));
        self.count += 1;
    }

    fn is_in_line(&self, id: u64, name: Name) -> bool {
        self.lines.get(&name).is_some_and(|line| line.id == id)
    }

    /// So many signals of a line have been taken out; true if there is no other.
    fn taken(&mut self, name: Name, count: usize) -> bool {
        let Some(line) = self.lines.get_mut(&name) else { return false };
        (line.count, self.count) = (line.count - count, self.count - count);
        line.count == 0 && self.lines.remove(&name).is_some()
    }

    /// Nothing of this line is sent. Its signals are taken out when there are many, or when it is their turn.
    fn forget(&mut self, name: Name) -> usize {
        let Some(line) = self.lines.remove(&name) else { return 0 };
        self.count -= line.count;
        if self.signals.len() > 2 * self.count + LEFT_OVER {
            let lines = &self.lines;
            self.signals.retain(|(id, name, _)| lines.get(name).is_some_and(|line| line.id == *id));
        }
        line.count
    }
}

/// Sends signals, and keeps those that cannot be sent yet.
#[derive(Debug)]
pub struct Outbox<Y> {
    system: Y,
    waiting: BTreeMap<Instance, Waiting>,
    next_try: Option<Instant>,
    wait: Duration,
    /// Signals that may wait for one monitor.
    most: usize,
    /// Signals that wait.
    in_all: usize,
    /// Registrations of which none waits any more.
    paid: Vec<Key>,
    observer: Observer,
}

impl<Y: System> Outbox<Y> {
    /// Nothing waits. For one monitor, `most` signals may; later ones are lost.
    pub fn new(system: Y, most: usize, observer: Observer) -> Outbox<Y> {
        Outbox {
            system,
            waiting: BTreeMap::new(),
            next_try: None,
            wait: SHORTEST_WAIT,
            most,
            in_all: 0,
            paid: Vec::new(),
            observer,
        }
    }

    /// Sends a signal to the registration's monitor, behind those of the registration that wait
    /// already. A `held` one must wait for now.
    pub fn send(&mut self, monitors: &Monitors<Y>, key: Key, signal: QueuedSignal, held: bool) {
        let instance = key.monitor.instance;
        let must_wait = |queue: &Waiting| queue.full || queue.lines.contains_key(&name(key));
        let waits = held || self.waiting.get(&instance).is_some_and(must_wait);
        if !waits && self.try_send(monitors, instance, signal) {
            return;
        }
        let counters = &self.observer.counters;
        let queue = self.waiting.entry(instance).or_default();
        if queue.count >= self.most || self.in_all >= self.most.saturating_mul(MONITORS) {
            counters.dropped.add();
            self.observer.say(format_args!(
                "too many signals wait for monitors that take none ({} for one, or {MONITORS} times as many in \
                 all): later ones are lost (have the monitors take theirs, raise their RLIMIT_SIGPENDING, or \
                 raise --max-waiting)",
                self.most
            ));
            return;
        }
        queue.full |= !waits;
        if queue.full {
            counters.delayed.add()
        } else {
            counters.held.add()
        }
        self.in_all += 1;
        queue.push(name(key), signal);
        let soon = self.system.now() + SHORTEST_WAIT;
        self.wait = SHORTEST_WAIT;
        self.next_try = Some(self.next_try.map_or(soon, |at| at.min(soon)));
    }

    /// False if the signal must wait.
    fn try_send(&self, monitors: &Monitors<Y>, instance: Instance, signal: QueuedSignal) -> bool {
        match monitors.signal(instance, signal) {
            Ok(()) => self.observer.counters.signals.add(),
            Err(Errno::EAGAIN) => return false,
            // The monitor is gone, and its registrations are about to go.
            Err(Errno::ESRCH) => {}
            Err(errno) => {
                self.observer.counters.refused.add();
                self.observer.say(format_args!(
                    "the kernel does not let us signal a monitor, which misses an event: {errno} (EPERM: CAP_KILL is \
                     missing, or a security module forbids it)"
                ));
            }
        }
        true
    }

    /// Sends what can be sent by now, if it is time to try.
    pub fn retry(&mut self, monitors: &Monitors<Y>, held: impl FnMut(Key) -> bool) {
        if self.next_try.is_none_or(|at| self.system.now() < at) {
            return;
        }
        let any_sent = self.retry_all(monitors, held);
        self.wait = if any_sent { SHORTEST_WAIT } else { (self.wait * 2).min(LONGEST_WAIT) };
        self.next_try = (!self.waiting.is_empty()).then(|| self.system.now() + self.wait);
    }

    /// Sends what can be sent by now; true if that was anything.
    pub fn retry_all(&mut self, monitors: &Monitors<Y>, mut held: impl FnMut(Key) -> bool) -> bool {
        let instances: Vec<Instance> = self.waiting.keys().copied().collect();
        let mut any_sent = false;
        for instance in instances {
            any_sent |= self.retry_monitor(monitors, instance, &mut held);
        }
        any_sent
    }

    /// How many signals wait.
    pub fn in_all(&self) -> usize {
        self.in_all
    }

    /// True if signals of the registration wait.
    pub fn waits(&self, key: Key) -> bool {
        self.waiting.get(&key.monitor.instance).is_some_and(|queue| queue.lines.contains_key(&name(key)))
    }

    /// The registrations of which the last signal that waited was sent since the last call.
    pub fn take_paid(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.paid)
    }

    /// Sends what one monitor can take, the signals of each registration in their order; true if that
    /// was anything.
    pub fn retry_monitor(
        &mut self,
        monitors: &Monitors<Y>,
        instance: Instance,
        mut held: impl FnMut(Key) -> bool,
    ) -> bool {
        let Some(mut queue) = self.waiting.remove(&instance) else { return false };
        let (before, mut any_sent, mut kept) = (queue.count, false, Vec::new());
        // What is held stays so for this time: else a later signal could overtake an earlier one.
        let mut skipped = HashSet::new();
        queue.full = false;
        while let Some(waiting) = queue.signals.pop_front() {
            let (id, name @ (tid, target), signal) = waiting;
            if !queue.is_in_line(id, name) {
                continue;
            }
            let key = Key { monitor: MonitorId { instance, tid }, target };
            if skipped.contains(&name) || held(key) {
                skipped.insert(name);
                kept.push(waiting);
            } else if self.try_send(monitors, instance, signal) {
                any_sent = true;
                if queue.taken(name, 1) {
                    self.paid.push(key);
                }
            } else {
                queue.full = true;
                queue.signals.push_front(waiting);
                break;
            }
        }
        kept.into_iter().rev().for_each(|waiting| queue.signals.push_front(waiting));
        self.in_all -= before - queue.count;
        if queue.count > 0 {
            self.waiting.insert(instance, queue);
        }
        any_sent
    }

    /// The registration is gone, and takes its waiting signals along (promise P2).
    pub fn forget(&mut self, key: Key) {
        let instance = key.monitor.instance;
        let Some(queue) = self.waiting.get_mut(&instance) else { return };
        self.in_all -= queue.forget(name(key));
        if queue.count == 0 {
            self.waiting.remove(&instance);
        }
    }

    /// These events of the registration are no longer wanted.
    pub fn forget_events(&mut self, key: Key, events: EventMask) {
        let Some(queue) = self.waiting.get_mut(&key.monitor.instance) else { return };
        let Some(id) = queue.lines.get(&name(key)).map(|line| line.id) else { return };
        let before = queue.signals.len();
        queue.signals.retain(|(of, _, signal)| *of != id || !events.intersects(EventMask(signal.value)));
        let gone = before - queue.signals.len();
        queue.taken(name(key), gone);
        self.in_all -= gone;
        if queue.count == 0 {
            self.waiting.remove(&key.monitor.instance);
        }
    }

    /// When [`retry`](Outbox::retry) wants to be called next.
    pub fn next_try(&self) -> Option<Instant> {
        self.next_try.filter(|_| !self.waiting.is_empty())
    }
}
