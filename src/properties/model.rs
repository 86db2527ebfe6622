//! The rules of the original (docs/behaviour.md, facts 14-21, 30-33, with rules R1-R4) in their plainest form: a list of
//! registrations that is searched from end to end. The driver and its registry must agree with it.

use std::sync::Arc;

use nix::errno::Errno;

use crate::abi::{Command, EventMask};
use crate::driver::{Call, Driver};
use crate::ids::{HandleId, MonitorId, Tid};
use crate::registry::{Credentials, Deregistered, Key, Limits, Registered, Registry};

/// Something that happens to the device. `file` counts the open ones, round and round.
#[derive(Clone, Debug)]
pub enum Operation {
    Open,
    Ioctl {
        file: usize,
        monitor: MonitorId,
        credentials: Credentials,
        call: Call,
    },
    /// The last descriptor of a file goes.
    Release {
        file: usize,
    },
    MonitorEnds(MonitorId),
    /// A target that need not exist yet, or any more, does one of these things.
    Event(Tid, EventMask),
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    key: Key,
    events: EventMask,
    signal: i32,
    credentials: Credentials,
    files: Vec<HandleId>,
}

struct Model {
    limits: Limits,
    most_open: usize,
    open: Vec<HandleId>,
    entries: Vec<Entry>,
}

impl Model {
    fn file(&self, count: usize) -> Option<HandleId> {
        self.open.get(count.checked_rem(self.open.len())?).copied()
    }

    fn register(
        &mut self,
        file: HandleId,
        key: Key,
        credentials: Credentials,
        command: Command,
    ) -> Result<Registered, Errno> {
        let Command { events, signal, .. } = command;
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) {
            entry.events |= events;
            entry.signal = signal;
            entry.credentials = credentials;
            if !entry.files.contains(&file) {
                entry.files.push(file);
            }
            return Ok(Registered::Changed);
        }
        let of_monitor = self.entries.iter().filter(|entry| entry.key.monitor == key.monitor).count();
        if self.entries.len() == self.limits.total || of_monitor == self.limits.per_monitor {
            return Err(Errno::ENOMEM);
        }
        if credentials.real.0 != 0 {
            let of_user =
                self.entries.iter().filter(|entry| entry.credentials.real == credentials.real).count();
            let kept = self.limits.total.saturating_sub(self.entries.len()) <= self.limits.for_root;
            // A registration that another user makes anew is his.
            if kept || of_user >= self.limits.per_user {
                return Err(Errno::ENOMEM);
            }
        }
        self.entries.push(Entry { key, events, signal, credentials, files: vec![file] });
        Ok(Registered::New)
    }

    fn deregister(&mut self, key: Key, events: EventMask) -> Result<Deregistered, Errno> {
        let at = self.entries.iter().position(|entry| entry.key == key).ok_or(Errno::EINVAL)?;
        let left = &mut self.entries[at].events;
        *left = EventMask(left.0 & !events.0);
        if left.0 != 0 {
            return Ok(Deregistered::Kept);
        }
        self.entries.remove(at);
        Ok(Deregistered::Removed)
    }

    fn release(&mut self, file: HandleId) -> Vec<Key> {
        self.open.retain(|open| *open != file);
        for entry in &mut self.entries {
            entry.files.retain(|through| *through != file);
        }
        self.remove(|entry| entry.files.is_empty())
    }

    fn remove(&mut self, goes: impl Fn(&Entry) -> bool) -> Vec<Key> {
        let (gone, left) = self.entries.drain(..).partition(|entry| goes(entry));
        self.entries = left;
        Vec::from_iter(gone.iter().map(|entry| entry.key))
    }
}

/// Has the driver and the model do the same, and compares their answers and all that can be asked of
/// the registry after each operation.
pub fn play(limits: Limits, most_open: usize, operations: &[Operation]) {
    let registry = Arc::new(Registry::new(limits));
    let mut driver = Driver::new(registry.clone(), most_open);
    let mut model = Model { limits, most_open, open: Vec::new(), entries: Vec::new() };
    let mut ever_open = Vec::new();
    let mut ever_named = Vec::new();
    for operation in operations {
        match *operation {
            Operation::Open => {
                let opened = driver.open();
                let full = model.open.len() == model.most_open;
                assert_eq!(opened.err(), full.then_some(Errno::ENOMEM));
                if let Ok(file) = opened {
                    assert!(!ever_open.contains(&file), "every open is a new one");
                    ever_open.push(file);
                    model.open.push(file);
                }
            }
            Operation::Ioctl { file, monitor, credentials, call } => {
                let Some(file) = model.file(file) else { continue };
                let (Call::Register(command) | Call::Deregister(command)) = call;
                let key = Key { monitor, target: Tid(command.pid) };
                if !ever_named.contains(&key) {
                    ever_named.push(key);
                }
                match call {
                    Call::Register(_) => assert_eq!(
                        driver.register(file, monitor, credentials, command),
                        model.register(file, key, credentials, command)
                    ),
                    Call::Deregister(_) => {
                        assert_eq!(
                            driver.deregister(key, command.events),
                            model.deregister(key, command.events)
                        )
                    }
                }
            }
            Operation::Release { file } => {
                let Some(file) = model.file(file) else { continue };
                let released = driver.release(file).filter(|key| registry.leave(*key, file)).collect();
                assert_eq!(sorted(released), sorted(model.release(file)));
                assert_eq!(driver.release(file).len(), 0, "nothing is released twice");
            }
            Operation::MonitorEnds(monitor) => {
                let gone = model.remove(|entry| entry.key.monitor == monitor);
                let keys = registry.take_keys_of(monitor);
                assert_eq!(sorted(keys.filter(|key| registry.remove(*key)).collect()), sorted(gone));
            }
            Operation::Event(target, events) => {
                assert_eq!(wanted(&registry, target, events), model.wanted(target, events));
            }
        }
        assert_eq!(driver.open_files(), model.open.len());
        model.compare(&registry, &ever_open, &ever_named);
    }
}

impl Model {
    fn wanted(&self, target: Tid, events: EventMask) -> Vec<Entry> {
        let wants = |entry: &&Entry| entry.key.target == target && entry.events.0 & events.0 != 0;
        let mut wanted: Vec<Entry> = self.entries.iter().filter(wants).cloned().collect();
        wanted.sort_unstable_by_key(|entry| order(&entry.key));
        wanted
    }

    fn compare(&self, registry: &Registry, files: &[HandleId], keys: &[Key]) {
        assert_eq!(registry.len(), self.entries.len());
        assert_eq!(registry.is_empty(), self.entries.is_empty());
        for file in files {
            let used = self.entries.iter().any(|entry| entry.files.contains(file));
            assert_eq!(registry.has_handle(*file), used, "{file:?}");
        }
        for key in keys {
            let entry = self.entries.iter().find(|entry| entry.key == *key);
            assert_eq!(registry.contains(*key), entry.is_some(), "{key:?}");
            assert_eq!(registry.handles(*key)[..], *entry.map_or(&[][..], |entry| &entry.files), "{key:?}");
            let watched = self.entries.iter().any(|entry| entry.key.target == key.target);
            assert_eq!(registry.has_target(key.target), watched, "{key:?}");
            let all = EventMask(!0);
            assert_eq!(wanted(registry, key.target, all), self.wanted(key.target, all));
        }
    }
}

fn wanted(registry: &Registry, target: Tid, events: EventMask) -> Vec<Entry> {
    let mut wanted = Vec::new();
    registry.for_each_match(target, events, |registration| {
        wanted.push(Entry {
            key: Key { monitor: registration.monitor, target },
            events: registration.events,
            signal: registration.signal,
            credentials: registration.credentials,
            files: registration.handles().to_vec(),
        });
    });
    wanted.sort_unstable_by_key(|entry| order(&entry.key));
    wanted
}

fn sorted(mut keys: Vec<Key>) -> Vec<Key> {
    keys.sort_unstable_by_key(order);
    keys
}

fn order(key: &Key) -> (u64, Tid, Tid) {
    (key.monitor.instance.0, key.monitor.tid, key.target)
}
