//! Who watches whom: the table of registrations.
//!
//! The table is keyed by the target's task id, since every event asks it one question: who wants
//! this kind of event of this task? Two indexes, by monitor and by open file, make their ends
//! cheap. The core thread alone changes the table; other threads may look at any time, which is
//! what the concurrent map is for. No guard is held while another map is entered.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::abi::EventMask;
use crate::ids::{HandleId, MonitorId, Tid, Uid};
use crate::memory;

/// The credentials of a monitor at the time of its REGISTER, kept as for `F_SETOWN`: they must
/// still be good enough to signal the monitor as it is when the event comes (rule R4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Real uid.
    pub real: Uid,
    /// Effective uid.
    pub effective: Uid,
}

/// What one monitor wants of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Who is told.
    pub monitor: MonitorId,
    /// Of which events; may be empty or hold unknown bits (docs/behaviour.md, facts 18, 20).
    pub events: EventMask,
    /// By which signal number; may be one that cannot be sent (docs/behaviour.md, fact 17).
    pub signal: i32,
    /// The monitor's credentials when it last registered.
    pub credentials: Credentials,
    /// The open files it was made through; it ends with the last of them (rule R1).
    handles: Vec<HandleId>,
}

/// A registration's name: there is at most one per monitor and target (docs/behaviour.md, fact 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Who is told.
    pub monitor: MonitorId,
    /// About whom.
    pub target: Tid,
}

/// Registrations of an open file that is released.
pub type Released = std::collections::hash_set::IntoIter<Key>;

/// What a REGISTER did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// There is a new registration.
    New,
    /// An existing one has more events and a new signal (docs/behaviour.md, fact 16).
    Changed,
}

/// What a DEREGISTER did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deregistered {
    /// The registration has events left and stays.
    Kept,
    /// It is gone (docs/behaviour.md, fact 19).
    Removed,
}

/// How many registrations there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// In all.
    pub total: usize,
    /// Of one monitor task.
    pub per_monitor: usize,
    /// Of one user, by the real uid; root has no such limit.
    pub per_user: usize,
    /// Of all, these are kept for root.
    pub for_root: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::of(1 << 20)
    }
}

impl Limits {
    /// So many in all; nobody but root has them all.
    pub fn of(total: usize) -> Limits {
        Limits { total, per_monitor: total.min(1 << 18), per_user: total.div_ceil(2), for_root: total / 16 }
    }

    /// As many as usual, or as may take half of so many bytes.
    pub fn within(memory: u64) -> Limits {
        let fitting = usize::try_from(memory / 2 / BYTES_EACH as u64).unwrap_or(usize::MAX);
        Limits::of(Limits::default().total.min(fitting))
    }
}

/// What a registration takes at most, of a target and a monitor of its own: entries in all tables, and two
/// pidfds in the kernel, which its memory cgroup counts.
const BYTES_EACH: usize = 2048;

/// What the tables may ask for, of each registration that they have, before one more is in them.
const GROWTH: usize = 512;

/// How many new registrations come between two looks whether there is memory for more.
const LOOK_EVERY: usize = 256;

/// The table would grow past its [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A registration, as a look at the whole table finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Who is told.
    pub monitor: Tid,
    /// Its real uid when it last registered.
    pub real_uid: Uid,
    /// About whom.
    pub target: Tid,
    /// Of which events.
    pub events: EventMask,
    /// By which signal number.
    pub signal: i32,
}

/// Who looks at the whole table holds one part of it at a time, for some 60 µs if it has a million registrations.
const PARTS: usize = 4096;

/// The table of registrations.
#[derive(Debug)]
pub struct Registry {
    targets: DashMap<Tid, Vec<Registration>>,
    by_monitor: DashMap<MonitorId, HashSet<Tid>>,
    by_handle: DashMap<HandleId, HashSet<Key>>,
    /// How many each user has.
    by_user: DashMap<Uid, usize>,
    count: AtomicUsize,
    limits: Limits,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::new(Limits::default())
    }
}

impl Registration {
    /// The open files it was made through that are still open.
    pub fn handles(&self) -> &[HandleId] {
        &self.handles
    }
}

impl Registry {
    /// An empty table.
    pub fn new(limits: Limits) -> Registry {
        Registry {
            targets: DashMap::with_shard_amount(PARTS),
            by_monitor: DashMap::new(),
            by_handle: DashMap::new(),
            by_user: DashMap::new(),
            count: AtomicUsize::new(0),
            limits,
        }
    }

    /// All registrations, in no order. Those that are made or end meanwhile may be among them or not.
    pub fn list(&self) -> Vec<Listed> {
        let mut listed = Vec::with_capacity(self.len());
        for entry in &self.targets {
            listed.extend(entry.value().iter().map(|registration| Listed {
                monitor: registration.monitor.tid,
                real_uid: registration.credentials.real,
                target: *entry.key(),
                events: registration.events,
                signal: registration.signal,
            }));
        }
        listed
    }

    /// Number of tasks that have registrations.
    pub fn monitors(&self) -> usize {
        self.by_monitor.len()
    }

    /// Number of tasks that are watched.
    pub fn targets(&self) -> usize {
        self.targets.len()
    }

    /// Number of registrations.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// True if nobody watches anybody.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if anybody watches this task.
    pub fn has_target(&self, target: Tid) -> bool {
        self.targets.contains_key(&target)
    }

    /// True if this registration exists.
    pub fn contains(&self, key: Key) -> bool {
        self.by_monitor.get(&key.monitor).is_some_and(|targets| targets.contains(&key.target))
    }

    /// REGISTER: makes a registration, or adds `events` to an existing one and replaces its signal
    /// (docs/behaviour.md, fact 16). Either way it now also belongs to the open file `through`.
    pub fn register(
        &self,
        key: Key,
        events: EventMask,
        signal: i32,
        credentials: Credentials,
        through: HandleId,
    ) -> Result<Registered, Full> {
        let existed = self.contains(key);
        if !existed {
            if !self.has_room(key.monitor, credentials.real) {
                return Err(Full);
            }
            // A table that is full doubles, and the old half goes afterwards.
            if self.len() % LOOK_EVERY == LOOK_EVERY - 1
                && !memory::can_be_had((self.len() + LOOK_EVERY) * GROWTH)
            {
                return Err(Full);
            }
        }
        {
            let mut registrations = self.targets.entry(key.target).or_default();
            match registrations.iter_mut().find(|r| r.monitor == key.monitor) {
                Some(registration) => {
                    registration.events |= events;
                    registration.signal = signal;
                    self.discharge(registration.credentials.real);
                    registration.credentials = credentials;
                    if !registration.handles.contains(&through) {
                        registration.handles.push(through);
                    }
                }
                None => registrations.push(Registration {
                    monitor: key.monitor,
                    events,
                    signal,
                    credentials,
                    handles: vec![through],
                }),
            }
        }
        *self.by_user.entry(credentials.real).or_default() += 1;
        self.by_handle.entry(through).or_default().insert(key);
        if existed {
            return Ok(Registered::Changed);
        }
        self.by_monitor.entry(key.monitor).or_default().insert(key.target);
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(Registered::New)
    }

    /// DEREGISTER: takes `events` away; without any left the registration goes (docs/behaviour.md, fact 19). `None` if
    /// there is no such registration.
    pub fn deregister(&self, key: Key, events: EventMask) -> Option<Deregistered> {
        {
            let mut registrations = self.targets.get_mut(&key.target)?;
            let registration = registrations.iter_mut().find(|r| r.monitor == key.monitor)?;
            registration.events = registration.events.without(events);
            if !registration.events.is_empty() {
                return Some(Deregistered::Kept);
            }
        }
        self.remove(key);
        Some(Deregistered::Removed)
    }

    /// The last descriptor of an open file is gone: the registrations that were made through it, each for
    /// [`leave`](Registry::leave).
    pub fn release(&self, handle: HandleId) -> Released {
        self.by_handle.remove(&handle).map(|(_, keys)| keys).unwrap_or_default().into_iter()
    }

    /// A registration loses an open file, which is released; true if there is no other, so that it has gone (rule R2).
    pub fn leave(&self, key: Key, handle: HandleId) -> bool {
        {
            let Some(mut registrations) = self.targets.get_mut(&key.target) else { return false };
            let of_key = registrations.iter_mut().find(|r| r.monitor == key.monitor);
            let Some(registration) = of_key else { return false };
            // It may be a later one of the same name.
            registration.handles.retain(|through| *through != handle);
            if !registration.handles.is_empty() {
                return false;
            }
        }
        self.remove(key)
    }

    /// The targets of a monitor task.
    pub fn targets_of(&self, monitor: MonitorId) -> HashSet<Tid> {
        self.by_monitor.get(&monitor).map(|targets| targets.clone()).unwrap_or_default()
    }

    /// The monitor task has ended: its targets, each for [`remove`](Registry::remove) (rule R2).
    pub fn take_targets_of(&self, monitor: MonitorId) -> HashSet<Tid> {
        self.by_monitor.remove(&monitor).map(|(_, targets)| targets).unwrap_or_default()
    }

    /// The registration stays, without events.
    pub fn silence(&self, key: Key) {
        if let Some(mut registrations) = self.targets.get_mut(&key.target) {
            let of_key = registrations.iter_mut().filter(|r| r.monitor == key.monitor);
            of_key.for_each(|r| r.events = EventMask::default());
        }
    }

    /// Calls `f` for each registration that wants one of `events` of `target`.
    pub fn for_each_match(&self, target: Tid, events: EventMask, mut f: impl FnMut(&Registration)) {
        if let Some(registrations) = self.targets.get(&target) {
            registrations.iter().filter(|r| r.events.intersects(events)).for_each(&mut f);
        }
    }

    /// The open files of a registration; none if there is no such registration.
    pub fn handles(&self, key: Key) -> Vec<HandleId> {
        let Some(registrations) = self.targets.get(&key.target) else { return Vec::new() };
        let registration = registrations.iter().find(|r| r.monitor == key.monitor);
        registration.map_or(Vec::new(), |r| r.handles.clone())
    }

    /// True if any registration was made through this open file.
    pub fn has_handle(&self, handle: HandleId) -> bool {
        self.by_handle.contains_key(&handle)
    }

    /// True if this monitor, whose real uid this is, may have one more.
    fn has_room(&self, monitor: MonitorId, real_uid: Uid) -> bool {
        let Limits { total, per_monitor, per_user, for_root } = self.limits;
        let of_monitor = self.by_monitor.get(&monitor).map_or(0, |targets| targets.len());
        let of_user = || self.by_user.get(&real_uid).map_or(0, |count| *count);
        let (total, per_user) = match real_uid {
            Uid::ROOT => (total, usize::MAX),
            _ => (total.saturating_sub(for_root), per_user),
        };
        self.len() < total && of_monitor < per_monitor && of_user() < per_user
    }

    /// This user has one less.
    fn discharge(&self, real_uid: Uid) {
        if let Entry::Occupied(mut entry) = self.by_user.entry(real_uid) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    /// Ends a registration; false if there is none.
    pub fn remove(&self, key: Key) -> bool {
        let mut removed = None;
        if let Entry::Occupied(mut entry) = self.targets.entry(key.target) {
            let registrations = entry.get_mut();
            let at = registrations.iter().position(|r| r.monitor == key.monitor);
            removed = at.map(|at| registrations.remove(at));
            if registrations.is_empty() {
                entry.remove();
            }
        }
        let Some(removed) = removed else { return false };
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.discharge(removed.credentials.real);
        for handle in removed.handles {
            if let Entry::Occupied(mut entry) = self.by_handle.entry(handle) {
                entry.get_mut().remove(&key);
                if entry.get().is_empty() {
                    entry.remove();
                }
            }
        }
        if let Entry::Occupied(mut entry) = self.by_monitor.entry(key.monitor) {
            entry.get_mut().remove(&key.target);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
        true
    }
}
