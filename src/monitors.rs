//! The processes that registered: each held by a pidfd, so that no later owner of its pid can be
//! taken for it (rules R1-R3).

use std::collections::{BTreeMap, HashMap, VecDeque};

use nix::errno::Errno;

use crate::ids::{Instance, MonitorId, Tgid, Tid, Uid};
use crate::node::Caller;
use crate::registry::Credentials;
use crate::sys::pidfd::{QueuedSignal, Uids};
use crate::system::System;

/// Processes without registrations that are kept, since one that had some often has some again.
const MOST_UNUSED: usize = 16;

/// A process with registrations.
#[derive(Debug)]
struct Process<P> {
    tgid: Tgid,
    /// `None`: it has ended, and some of its registrations are still there.
    held: Option<P>,
    /// Its tasks that registered, with their number of registrations.
    tasks: BTreeMap<Tid, usize>,
}

/// All processes with registrations.
#[derive(Debug)]
pub struct Monitors<Y: System> {
    system: Y,
    processes: BTreeMap<Instance, Process<Y::Process>>,
    by_tgid: HashMap<Tgid, Instance>,
    /// Those that may have no registrations any more, the longest unused first.
    unused: VecDeque<Instance>,
    last: u64,
}

impl<Y: System> Monitors<Y> {
    /// Nobody.
    pub fn new(system: Y) -> Monitors<Y> {
        Monitors {
            system,
            processes: BTreeMap::new(),
            by_tgid: HashMap::new(),
            unused: VecDeque::new(),
            last: 0,
        }
    }

    /// The caller as a monitor, if its process is one. The caller waits in its request, so its ids
    /// cannot change hands meanwhile; processes that have ended must have been taken before.
    pub fn known(&self, caller: Caller) -> Option<MonitorId> {
        let tid = caller.tid;
        let instance = match self.by_tgid.get(&Tgid(tid.0)) {
            Some(instance) => *instance,
            None => *self.by_tgid.get(&Tgid(self.system.status(tid)?.tgid))?,
        };
        Some(MonitorId { instance, tid })
    }

    /// The caller as a monitor, made one if it was none. ESRCH: it has no process that we can see. EMFILE:
    /// there are no descriptors for more monitors.
    pub fn enrol(&mut self, caller: Caller) -> Result<MonitorId, Errno> {
        let tid = caller.tid;
        if let Some(instance) = self.by_tgid.get(&Tgid(tid.0)) {
            return Ok(MonitorId { instance: *instance, tid });
        }
        // That takes a fifth of the time that a look at /proc takes, but a main thread.
        let (tgid, mut held) = match self.system.process(tid) {
            Ok(held) => (Tgid(tid.0), held),
            Err(Errno::EINVAL | Errno::ENOENT) => {
                let tgid = Tgid(self.system.status(tid).ok_or(Errno::ESRCH)?.tgid);
                if let Some(instance) = self.by_tgid.get(&tgid) {
                    return Ok(MonitorId { instance: *instance, tid });
                }
                (tgid, self.system.process(tgid.leader())?)
            }
            Err(errno) => return Err(errno),
        };
        if !self.system.leaves_descriptors(&held) {
            self.drop_unused(0);
            held = self.system.process(tgid.leader())?;
            if !self.system.leaves_descriptors(&held) {
                return Err(Errno::EMFILE);
            }
        }
        self.last += 1;
        let instance = Instance(self.last);
        self.system.watch_exit(&held, instance)?;
        self.by_tgid.insert(tgid, instance);
        self.processes.insert(instance, Process { tgid, held: Some(held), tasks: BTreeMap::new() });
        Ok(MonitorId { instance, tid })
    }

    /// The credentials of a caller that is this monitor, to be kept with its registration.
    pub fn credentials(&self, monitor: MonitorId, caller: Caller) -> Credentials {
        if caller.uid == Uid::ROOT {
            return Credentials { real: Uid::ROOT, effective: Uid::ROOT };
        }
        // That of a main thread; each thread has its own.
        let of_process = || {
            let process = self.processes.get(&monitor.instance)?;
            let held = process.held.as_ref().filter(|_| process.tgid.leader() == caller.tid)?;
            self.system.real_uid(held)
        };
        let of_task = || self.system.status(caller.tid).map(|status| Uid(status.real_uid));
        let real = of_process().or_else(of_task).unwrap_or(caller.uid);
        Credentials { real, effective: caller.uid }
    }

    /// True if a process with these credentials may signal the monitor as it is now: root may, else
    /// one of the two uids must be the monitor's real or saved uid, as for `F_SETOWN` (rule R4).
    pub fn may_signal(&self, credentials: Credentials, instance: Instance) -> bool {
        if credentials.effective == Uid::ROOT {
            return true;
        }
        let Some((tgid, held)) = self.living(instance) else { return false };
        let of_leader = || {
            let now = self.system.status(tgid.leader())?;
            Some(Uids { real: now.real_uid, saved: now.saved_uid })
        };
        // This takes a tenth of the time that /proc takes.
        let now = self.system.uids(held).or_else(of_leader);
        let is_one = |uid: Uid| now.is_some_and(|now| [now.real, now.saved].contains(&uid.0));
        is_one(credentials.real) || is_one(credentials.effective)
    }

    /// True if the registering task has not been released: to one that has, nothing is sent
    /// (docs/behaviour.md, fact 35).
    /// Its end may not have been heard of yet. A main thread's id lasts as long as its process.
    pub fn is_there(&self, monitor: MonitorId) -> bool {
        self.tgid(monitor.instance)
            .is_some_and(|tgid| tgid.leader() == monitor.tid || self.system.has_task(tgid, monitor.tid))
    }

    /// True if the monitor's process has not ended, and [`is_there`](Monitors::is_there) holds: its ids are its own.
    pub fn is_alive(&self, monitor: MonitorId) -> bool {
        self.is_there(monitor)
            && self.living(monitor.instance).is_some_and(|(_, held)| !self.system.has_exited(held))
    }

    /// Queues a signal to the monitor's process. ESRCH: it is gone. Else as [`System::signal`].
    pub fn signal(&self, instance: Instance, signal: QueuedSignal) -> Result<(), Errno> {
        let (_, held) = self.living(instance).ok_or(Errno::ESRCH)?;
        self.system.signal(held, signal)
    }

    /// The process of an instance, if its end has not been heard of.
    pub fn tgid(&self, instance: Instance) -> Option<Tgid> {
        self.living(instance).map(|(tgid, _)| tgid)
    }

    /// The same, for as long as there are registrations of it.
    pub fn last_tgid(&self, instance: Instance) -> Option<Tgid> {
        self.processes.get(&instance).map(|process| process.tgid)
    }

    fn living(&self, instance: Instance) -> Option<(Tgid, &Y::Process)> {
        let process = self.processes.get(&instance)?;
        Some((process.tgid, process.held.as_ref()?))
    }

    /// Counts a new registration of the monitor.
    pub fn hold(&mut self, monitor: MonitorId) {
        if let Some(process) = self.processes.get_mut(&monitor.instance) {
            *process.tasks.entry(monitor.tid).or_insert(0) += 1;
        }
    }

    /// Takes one registration of the monitor back. Without any its process is kept for some time.
    pub fn let_go(&mut self, monitor: MonitorId) {
        let Some(process) = self.processes.get_mut(&monitor.instance) else { return };
        if let Some(count) = process.tasks.get_mut(&monitor.tid) {
            *count -= 1;
            if *count == 0 {
                process.tasks.remove(&monitor.tid);
            }
        }
        self.drop_if_unused(monitor.instance);
    }

    /// The same of a process that was enrolled for a registration that failed.
    pub fn drop_if_unused(&mut self, instance: Instance) {
        let Some(process) = self.processes.get(&instance).filter(|process| process.tasks.is_empty()) else {
            return;
        };
        if process.held.is_none() {
            self.processes.remove(&instance);
        } else if !self.unused.contains(&instance) {
            self.unused.push_back(instance);
            self.drop_unused(MOST_UNUSED);
        }
    }

    /// Drops processes without registrations, but for so many.
    fn drop_unused(&mut self, kept: usize) {
        while self.unused.len() > kept
            && let Some(instance) = self.unused.pop_front()
        {
            if self.processes.get(&instance).is_some_and(|process| process.tasks.is_empty()) {
                self.end(instance);
            }
        }
    }

    /// Lets the process go: its number may be another's from now on. While there are registrations of it, its number is
    /// remembered with them.
    fn end(&mut self, instance: Instance) {
        let Some(process) = self.processes.get_mut(&instance) else { return };
        if process.held.take().is_some() {
            self.by_tgid.remove(&process.tgid);
        }
        if process.tasks.is_empty() {
            self.processes.remove(&instance);
        }
    }

    /// The registering tasks of some processes that have ended since the last call. None: all have been told.
    pub fn take_exited(&mut self) -> Option<Vec<MonitorId>> {
        let ended = self.system.exited();
        let tasks = ended.iter().flat_map(|instance| self.tasks_of(*instance, |_| true)).collect();
        ended.iter().for_each(|instance| self.end(*instance));
        (!ended.is_empty()).then_some(tasks)
    }

    /// The monitor that a task other than a main thread was, if it was one.
    pub fn thread(&self, tid: Tid, tgid: Tgid) -> Option<MonitorId> {
        let instance = *self.by_tgid.get(&tgid)?;
        let registered = self.processes.get(&instance)?.tasks.contains_key(&tid);
        (registered && tid != tgid.leader()).then_some(MonitorId { instance, tid })
    }

    /// All registering tasks of the process but its main thread: those that an exec ends.
    pub fn other_threads(&self, tgid: Tgid) -> Vec<MonitorId> {
        let Some(instance) = self.by_tgid.get(&tgid) else { return Vec::new() };
        self.tasks_of(*instance, |tid| tid != tgid.leader())
    }

    /// The registering tasks that have ended although their processes live.
    pub fn gone_threads(&self) -> Vec<MonitorId> {
        let living = self.processes.iter().filter(|(_, process)| process.held.is_some());
        let all = living.flat_map(|(instance, _)| self.tasks_of(*instance, |_| true));
        all.filter(|monitor| !self.is_there(*monitor)).collect()
    }

    fn tasks_of(&self, instance: Instance, wanted: impl Fn(Tid) -> bool) -> Vec<MonitorId> {
        let Some(process) = self.processes.get(&instance) else { return Vec::new() };
        let tids = process.tasks.keys().filter(|tid| wanted(**tid));
        tids.map(|tid| MonitorId { instance, tid: *tid }).collect()
    }
}
