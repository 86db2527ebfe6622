//! What has ended is swept up: the registrations of files, processes and threads go some at a time, since there may
//! be a million of them, and others have their turn in between. From the end itself on they count for nothing.

use std::collections::{HashSet, VecDeque};

use crate::ids::{HandleId, MonitorId};
use crate::node::Node;
use crate::registry::{Deregistered, Key, Keys};
use crate::source::Source;
use crate::system::System;

use super::Core;

/// So many registrations go in one turn.
pub(super) const SLICE: usize = 256;

/// Something that has ended, and its registrations that have not been looked at.
pub(super) enum Ended {
    File(HandleId, Keys),
    Process(Keys),
    Thread(MonitorId, Keys),
}

/// A registration that something has ended had, and what to do with it.
enum Swept {
    /// It loses this file.
    File(Key, HandleId),
    /// It ends.
    Process(Key),
    /// It ends once the last of its signals has been sent.
    Thread(Key),
}

/// After so many registrations have gone the table gives memory back.
const SHRINK_AFTER: usize = 1 << 16;

/// All that has ended, in the order in which it has.
#[derive(Default)]
pub(super) struct Sweep {
    /// Registrations that have gone since the table gave memory back.
    gone: usize,
    pub(super) left: VecDeque<Ended>,
    files: HashSet<HandleId>,
    threads: HashSet<MonitorId>,
}

impl Sweep {
    /// True if nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// True if this open file has been released.
    pub(super) fn has_file(&self, handle: HandleId) -> bool {
        !self.files.is_empty() && self.files.contains(&handle)
    }

    /// True if a registration through these open files has ended with the last of them.
    pub(super) fn has_all(&self, handles: &[HandleId]) -> bool {
        !self.files.is_empty() && !handles.is_empty() && handles.iter().all(|handle| self.has_file(*handle))
    }

    /// True if this registering thread has ended, and perhaps another has its number.
    pub(super) fn has_thread(&self, monitor: MonitorId) -> bool {
        self.has_threads() && self.threads.contains(&monitor)
    }

    /// True if any registering thread has ended of which something is left.
    pub(super) fn has_threads(&self) -> bool {
        !self.threads.is_empty()
    }

    fn next(&mut self) -> Option<Swept> {
        loop {
            let next = match self.left.front_mut()? {
                Ended::File(handle, keys) => keys.next().map(|key| Swept::File(key, *handle)),
                Ended::Process(keys) => keys.next().map(Swept::Process),
                Ended::Thread(_, keys) => keys.next().map(Swept::Thread),
            };
            if next.is_some() {
                return next;
            }
            match self.left.pop_front()? {
                Ended::File(handle, _) => drop(self.files.remove(&handle)),
                Ended::Process(_) => {}
                Ended::Thread(monitor, _) => drop(self.threads.remove(&monitor)),
            }
        }
    }
}

impl<N: Node, S: Source, Y: System> Core<N, S, Y> {
    /// The last descriptor of an open file is gone.
    pub(super) fn release(&mut self, handle: HandleId) {
        self.closings.end(handle);
        let keys = self.driver.release(handle);
        if keys.len() > 0 {
            self.sweep.files.insert(handle);
            self.sweep.left.push_back(Ended::File(handle, keys));
        }
    }

    /// The monitors' ends: of whole processes by their pidfds, whatever the source missed. False if there were none.
    pub(super) fn bury_monitors(&mut self) -> bool {
        let mut any = false;
        while let Some(dead) = self.monitors.take_exited() {
            for monitor in dead {
                self.sweep.left.push_back(Ended::Process(self.registry.take_keys_of(monitor)));
            }
            any = true;
        }
        any
    }

    /// A registering thread has ended, and its process lives: signals from before that still wait are owed to it.
    pub(super) fn thread_ended(&mut self, monitor: MonitorId) {
        if self.sweep.threads.insert(monitor) {
            self.sweep.left.push_back(Ended::Thread(monitor, self.registry.keys_of(monitor)));
        }
    }

    /// Sweeps up some registrations.
    pub(super) fn sweep_some(&mut self) {
        for _ in 0..self.slice {
            match self.sweep.next() {
                Some(Swept::File(key, handle)) if self.registry.leave(key, handle) => self.ended(key),
                Some(Swept::Process(key)) if self.registry.remove(key) => self.ended(key),
                Some(Swept::Thread(key)) => self.silence(key),
                Some(_) => {}
                None => return self.shrink(),
            }
            self.sweep.gone += 1;
        }
    }

    fn shrink(&mut self) {
        if self.sweep.gone > self.registry.len().max(SHRINK_AFTER) {
            self.sweep.gone = 0;
            self.registry.shrink();
        }
    }

    /// Sweeps up this registration, before it is asked for.
    pub(super) fn sweep_up(&mut self, key: Key) {
        let has_ended = !self.sweep.files.is_empty() && self.sweep.has_all(&self.registry.handles(key));
        if has_ended && self.registry.remove(key) {
            self.ended(key);
        }
    }

    fn silence(&mut self, key: Key) {
        self.registry.silence(key);
        if self.outbox.waits(key) {
            self.owing.insert(key);
        } else {
            self.end_silent(key);
        }
    }

    /// Ends the registrations of ended threads of which no signal waits any more.
    pub(super) fn end_paid(&mut self) {
        for key in self.outbox.take_paid() {
            // Another one may have come to wait since.
            if !self.outbox.waits(key) && self.owing.remove(&key) {
                self.end_silent(key);
            }
        }
    }

    /// Ends a registration without events.
    fn end_silent(&mut self, key: Key) {
        if self.registry.deregister(key, Default::default()) == Some(Deregistered::Removed) {
            self.ended(key);
        }
    }

    /// What must be undone when a registration has left the registry.
    pub(super) fn ended(&mut self, key: Key) {
        self.outbox.forget(key);
        self.owing.remove(&key);
        self.unwatch(key);
        self.monitors.let_go(key.monitor);
    }
}
