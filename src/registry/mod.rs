//! Who watches whom: the table of registrations.
//!
//! The table is keyed by the target's task id, since every event asks it one question: who wants
//! this kind of event of this task? An index by open file and monitor makes the ends of both cheap. There may be a
//! million registrations, mostly of one monitor through one file, and one of each target: what each of them takes
//! counts. The core thread alone changes the table; other threads may look at any time, which is
//! what the concurrent map is for. No guard is held while another map is entered.

mod keys;
mod limits;

use std::collections::{BTreeSet, HashMap, hash_map};
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use smallvec::{SmallVec, smallvec};

use crate::abi::EventMask;
use crate::ids::{HandleId, MonitorId, Tid, Uid};
use crate::sys::malloc;

pub use keys::Keys;
pub use limits::{Full, Limits};

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
    handles: Handles,
}

/// Open files: seldom more than one.
pub type Handles = SmallVec<[HandleId; 1]>;

/// Registrations of one target: seldom more than one. Boxed, so that what is free in the table is small.
type Registrations = Box<SmallVec<[Registration; 1]>>;

/// What a monitor task has.
#[derive(Debug, Default)]
struct Owned {
    count: usize,
    /// The open files that it has registered through.
    handles: Handles,
}

/// A registration's name: there is at most one per monitor and target (docs/behaviour.md, fact 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Who is told.
    pub monitor: MonitorId,
    /// About whom.
    pub target: Tid,
}

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
    targets: DashMap<Tid, Registrations>,
    /// The targets of each monitor through each open file. They end in the order of their numbers, in which most were
    /// made: neighbours in memory.
    by_handle: DashMap<HandleId, HashMap<MonitorId, BTreeSet<Tid>>>,
    by_monitor: DashMap<MonitorId, Owned>,
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
            by_handle: DashMap::new(),
            by_monitor: DashMap::new(),
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
        let is_it = |registration: &Registration| registration.monitor == key.monitor;
        self.targets.get(&key.target).is_some_and(|registrations| registrations.iter().any(is_it))
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
            self.make_room(key.monitor, credentials.real)?;
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
                None => {
                    let (monitor, handles) = (key.monitor, smallvec![through]);
                    registrations.push(Registration { monitor, events, signal, credentials, handles });
                }
            }
        }
        *self.by_user.entry(credentials.real).or_default() += 1;
        self.by_handle.entry(through).or_default().entry(key.monitor).or_default().insert(key.target);
        let mut owned = self.by_monitor.entry(key.monitor).or_default();
        if !owned.handles.contains(&through) {
            owned.handles.push(through);
        }
        if existed {
            return Ok(Registered::Changed);
        }
        owned.count += 1;
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(Registered::New)
    }

    /// DEREGISTER: takes `events` away; without any left the registration goes (docs/behaviour.md, fact 19). `None` if
    /// there is no such registration.
    pub fn deregister(&self, key: Key, events: EventMask) -> Option<Deregistered> {
        let ended = self.change(key, |registration| {
            registration.events = registration.events.without(events);
            registration.events.is_empty()
        });
        ended.map(|ended| if ended { Deregistered::Removed } else { Deregistered::Kept })
    }

    /// The last descriptor of an open file is gone: the registrations that were made through it, each for
    /// [`leave`](Registry::leave).
    pub fn release(&self, handle: HandleId) -> Keys {
        let monitors = self.by_handle.remove(&handle).map(|(_, monitors)| monitors).unwrap_or_default();
        for monitor in monitors.keys() {
            if let Some(mut owned) = self.by_monitor.get_mut(monitor) {
                owned.handles.retain(|through| *through != handle);
            }
        }
        monitors.into_iter().collect()
    }

    /// A registration loses an open file, which is released; true if there is no other, so that it has gone (rule R2).
    pub fn leave(&self, key: Key, handle: HandleId) -> bool {
        let ended = self.change(key, |registration| {
            // It may be a later one of the same name.
            registration.handles.retain(|through| *through != handle);
            registration.handles.is_empty()
        });
        ended == Some(true)
    }

    /// The registrations of a monitor task through files that are open. Some may be among them more than once.
    pub fn keys_of(&self, monitor: MonitorId) -> Keys {
        let handles = self.by_monitor.get(&monitor).map(|owned| owned.handles.clone()).unwrap_or_default();
        let targets = |handle| self.by_handle.get(&handle)?.get(&monitor).cloned();
        handles.into_iter().filter_map(|handle| Some((monitor, targets(handle)?))).collect()
    }

    /// The same of a monitor task that has ended, each for [`remove`](Registry::remove) (rule R2).
    pub fn take_keys_of(&self, monitor: MonitorId) -> Keys {
        let handles = match self.by_monitor.get_mut(&monitor) {
            Some(mut owned) => std::mem::take(&mut owned.handles),
            None => return Keys::default(),
        };
        let targets = |handle| {
            let Entry::Occupied(mut entry) = self.by_handle.entry(handle) else { return None };
            let targets = entry.get_mut().remove(&monitor);
            if entry.get().is_empty() {
                entry.remove();
            }
            targets
        };
        handles.into_iter().filter_map(|handle| Some((monitor, targets(handle)?))).collect()
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
    pub fn handles(&self, key: Key) -> Handles {
        let Some(registrations) = self.targets.get(&key.target) else { return Handles::new() };
        let registration = registrations.iter().find(|r| r.monitor == key.monitor);
        registration.map(|r| r.handles.clone()).unwrap_or_default()
    }

    /// True if any registration was made through this open file.
    pub fn has_handle(&self, handle: HandleId) -> bool {
        self.by_handle.contains_key(&handle)
    }

    /// Whether this monitor, whose real uid this is, may have one more.
    fn make_room(&self, monitor: MonitorId, real_uid: Uid) -> Result<(), Full> {
        let of_monitor = || self.by_monitor.get(&monitor).map_or(0, |owned| owned.count);
        let of_user = || self.by_user.get(&real_uid).map_or(0, |count| *count);
        self.limits.allow(self.len(), of_monitor, of_user, real_uid)
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
        self.change(key, |_| true).is_some()
    }

    /// The table was much larger than it is: gives memory back to the kernel. That takes some 25 ms after a million.
    pub fn shrink(&self) {
        self.targets.shrink_to_fit();
        malloc::trim();
    }

    /// Changes a registration, which ends if `change` says so; tells whether it has. `None`: there is none.
    fn change(&self, key: Key, change: impl FnOnce(&mut Registration) -> bool) -> Option<bool> {
        let removed = {
            let Entry::Occupied(mut entry) = self.targets.entry(key.target) else { return None };
            let registrations = entry.get_mut();
            let at = registrations.iter().position(|r| r.monitor == key.monitor)?;
            if !change(&mut registrations[at]) {
                return Some(false);
            }
            let removed = registrations.remove(at);
            if registrations.is_empty() {
                entry.remove();
            }
            removed
        };
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.discharge(removed.credentials.real);
        let mut unused = removed.handles;
        unused.retain(|handle| self.forget(key, *handle));
        if let Entry::Occupied(mut entry) = self.by_monitor.entry(key.monitor) {
            let owned = entry.get_mut();
            owned.count -= 1;
            owned.handles.retain(|handle| !unused.contains(handle));
            if owned.count == 0 {
                entry.remove();
            }
        }
        Some(true)
    }

    /// A registration is no longer one through this open file; true if its monitor has no other through it.
    fn forget(&self, key: Key, handle: HandleId) -> bool {
        let Entry::Occupied(mut monitors) = self.by_handle.entry(handle) else { return true };
        let hash_map::Entry::Occupied(mut targets) = monitors.get_mut().entry(key.monitor) else {
            return true;
        };
        targets.get_mut().remove(&key.target);
        let is_last = targets.get().is_empty();
        if is_last {
            targets.remove();
        }
        if monitors.get().is_empty() {
            monitors.remove();
        }
        is_last
    }
}
