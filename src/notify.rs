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
use crate::ids::{Instance, Signal, Tid, Uid};
use crate::monitors::Monitors;
use crate::observe::Observer;
use crate::registry::Key;
use crate::sys::pidfd::QueuedSignal;
use crate::system::System;

/// The wait before a second try; it doubles up to [`LONGEST_WAIT`].
const SHORTEST_WAIT: Duration = Duration::from_micros(500);
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Signals that usually may wait for one monitor, of 16 bytes each and a key of as many.
pub const MOST_WAITING: usize = 1 << 18;

/// For all monitors together, so many times as many may wait.
const MONITORS: usize = 16;

/// The siginfo of a notification (docs/behaviour.md, fact 36).
pub fn siginfo(signal: Signal, event: EventMask, subject: Tid, uid: Uid) -> QueuedSignal {
    QueuedSignal { signo: signal.number(), pid: subject.0, uid: uid.0, value: event.0 }
}

/// Signals that wait for one monitor.
#[derive(Debug, Default)]
struct Waiting {
    signals: VecDeque<(Key, QueuedSignal)>,
    /// How many of them each registration has.
    of: HashMap<Key, usize>,
    /// The monitor's own queue was full at the last try.
    full: bool,
}

impl Waiting {
    fn push(&mut self, key: Key, signal: QueuedSignal) {
        self.signals.push_back((key, signal));
        *self.of.entry(key).or_insert(0) += 1;
    }

    /// Takes a signal out; tells its registration if that was the last of it.
    fn remove(&mut self, at: usize) -> Option<Key> {
        let (key, _) = self.signals.remove(at)?;
        let count = self.of.get_mut(&key)?;
        *count -= 1;
        (*count == 0).then(|| self.of.remove(&key))?;
        Some(key)
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
        let must_wait = |queue: &Waiting| queue.full || queue.of.contains_key(&key);
        let waits = held || self.waiting.get(&instance).is_some_and(must_wait);
        if !waits && self.try_send(monitors, instance, signal) {
            return;
        }
        let counters = &self.observer.counters;
        let queue = self.waiting.entry(instance).or_default();
        if queue.signals.len() >= self.most || self.in_all >= self.most.saturating_mul(MONITORS) {
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
        queue.push(key, signal);
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
        self.waiting.get(&key.monitor.instance).is_some_and(|queue| queue.of.contains_key(&key))
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
        let before = queue.signals.len();
        let mut at = 0;
        // What is held stays so for this time: else a later signal could overtake an earlier one.
        let mut skipped = HashSet::new();
        queue.full = false;
        while let Some((key, signal)) = queue.signals.get(at).copied() {
            if skipped.contains(&key) || held(key) {
                skipped.insert(key);
                at += 1;
            } else if self.try_send(monitors, instance, signal) {
                self.paid.extend(queue.remove(at));
            } else {
                queue.full = true;
                break;
            }
        }
        let sent = queue.signals.len() < before;
        self.in_all -= before - queue.signals.len();
        if !queue.signals.is_empty() {
            self.waiting.insert(instance, queue);
        }
        sent
    }

    /// The registrations are gone, and take their waiting signals along (promise P2).
    pub fn forget(&mut self, keys: &[Key]) {
        let mut affected = HashSet::new();
        for key in keys {
            let instance = key.monitor.instance;
            if self.waiting.get_mut(&instance).is_some_and(|queue| queue.of.remove(key).is_some()) {
                affected.insert(instance);
            }
        }
        for instance in affected {
            self.keep(instance, |queue, (key, _)| queue.contains_key(key));
        }
    }

    /// These events of the registration are no longer wanted.
    pub fn forget_events(&mut self, key: Key, events: EventMask) {
        let unwanted =
            |of: &Key, signal: &QueuedSignal| *of == key && events.intersects(EventMask(signal.value));
        self.keep(key.monitor.instance, |_, (of, signal)| !unwanted(of, signal));
    }

    /// Keeps those of a monitor's waiting signals that are wanted.
    fn keep(
        &mut self,
        instance: Instance,
        wanted: impl Fn(&HashMap<Key, usize>, &(Key, QueuedSignal)) -> bool,
    ) {
        let Some(mut queue) = self.waiting.remove(&instance) else { return };
        let of = std::mem::take(&mut queue.of);
        let before = queue.signals.len();
        queue.signals.retain(|waiting| wanted(&of, waiting));
        self.in_all -= before - queue.signals.len();
        for (key, _) in &queue.signals {
            *queue.of.entry(*key).or_insert(0) += 1;
        }
        if !queue.signals.is_empty() {
            self.waiting.insert(instance, queue);
        }
    }

    /// When [`retry`](Outbox::retry) wants to be called next.
    pub fn next_try(&self) -> Option<Instant> {
        self.next_try.filter(|_| !self.waiting.is_empty())
    }
}
