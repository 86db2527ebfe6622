//! What monitors are owed, kept as plainly as it can be: a list of registrations, and a list of signals.
//!
//! The model sees each call begin and return, and each event as it happens. What lies clearly within a
//! registration's life is owed; what falls into a call that makes or ends it may come or not; nothing else may.

use std::collections::{BTreeMap, BTreeSet};

use crate::abi::EventMask;
use crate::event::Kind;
use crate::ids::Uid;
use crate::sys::pidfd::QueuedSignal;

/// A registering task: its process's life, and its number.
pub type Monitor = (usize, i32);

/// The uids of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uids {
    pub real: u32,
    pub effective: u32,
    pub saved: u32,
}

/// How a registration's open files stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// One of them is in a table of descriptors.
    Open,
    /// All that are left are being closed.
    Closing,
}

#[derive(Clone, Debug)]
struct Registration {
    events: EventMask,
    signal: i32,
    uids: Uids,
    files: BTreeSet<u64>,
    /// It was made again while its last file was being closed: it may be a new one, or the old.
    vague: bool,
}

/// A call under way.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub target: i32,
    pub events: EventMask,
    /// Of a REGISTER.
    pub signal: Option<i32>,
    pub file: u64,
    pub uids: Uids,
}

/// A signal that may be sent.
#[derive(Clone, Debug)]
struct Owed {
    monitor: Monitor,
    target: i32,
    bit: EventMask,
    subject: i32,
    uid: u32,
    signals: Vec<i32>,
    /// Of the registering process, at its last REGISTER; and whether they were good enough at the event.
    uids: Vec<Uids>,
    permitted: bool,
    must: bool,
    /// The monitor's queue was full: it need not be sent before the registration ends.
    late: bool,
    /// The open files of the registration.
    files: BTreeSet<u64>,
    /// The call that ends the registration, if one does.
    ended_by: Option<i32>,
}

/// All registrations, and all signals that have not been sent.
#[derive(Debug, Default)]
pub struct Model {
    registrations: BTreeMap<(Monitor, i32), Registration>,
    calls: BTreeMap<Monitor, (Call, bool)>,
    owed: Vec<Owed>,
    pub delivered: u64,
}

type Verdict = Result<(), String>;

impl Model {
    pub fn call_begins(&mut self, monitor: Monitor, call: Call) {
        let existed = self.registrations.contains_key(&(monitor, call.target));
        self.calls.insert(monitor, (call, existed));
    }

    /// The call has returned; `standing` tells of an open file.
    pub fn call_returns(
        &mut self,
        monitor: Monitor,
        succeeded: bool,
        standing: impl Fn(u64) -> Standing,
    ) -> Verdict {
        let Some((call, existed)) = self.calls.remove(&monitor) else { return Err("no call".into()) };
        let key = (monitor, call.target);
        if let Some(signal) = call.signal {
            if !succeeded {
                return Err(format!("REGISTER failed: of {} by {monitor:?}", call.target));
            }
            let new = Registration {
                events: EventMask::default(),
                signal,
                uids: call.uids,
                files: BTreeSet::new(),
                vague: false,
            };
            let registration = self.registrations.entry(key).or_insert(new);
            registration.vague |= existed && stands(registration, &standing) == Standing::Closing;
            registration.events |= call.events;
            registration.signal = signal;
            registration.uids = call.uids;
            registration.files.insert(call.file);
            for owed in self.owed.iter_mut().filter(|owed| (owed.monitor, owed.target) == key) {
                owed.files.insert(call.file);
                owed.must &= !registration.vague;
            }
            return Ok(());
        }
        if succeeded && !existed {
            return Err(format!(
                "DEREGISTER succeeded without a registration: of {} by {monitor:?}",
                call.target
            ));
        }
        let Some(registration) = self.registrations.get_mut(&key) else { return Ok(()) };
        if !succeeded {
            return match stands(registration, &standing) {
                Standing::Open if !registration.vague => {
                    Err(format!("DEREGISTER failed: of {} by {monitor:?}", call.target))
                }
                _ => Ok(()),
            };
        }
        registration.events = registration.events.without(call.events);
        let ends = registration.events.is_empty() && !registration.vague;
        if ends {
            self.registrations.remove(&key);
        }
        let of_call =
            |owed: &Owed| (owed.monitor, owed.target) == key && (ends || call.events.intersects(owed.bit));
        self.settle("DEREGISTER", of_call)
    }

    /// A task does something.
    pub fn event(
        &mut self,
        (kind, target, subject, uid): (Kind, i32, i32, u32),
        standing: impl Fn(u64) -> Standing,
        now: impl Fn(usize) -> Uids,
    ) {
        let mut keys: BTreeSet<_> = self.registrations.keys().copied().collect();
        keys.extend(self.calls.iter().map(|(monitor, (call, _))| (*monitor, call.target)));
        for (monitor, _) in keys.into_iter().filter(|(_, of)| *of == target) {
            let (mut signals, mut uids, mut must) = (Vec::new(), Vec::new(), false);
            let mut files = BTreeSet::new();
            if let Some(it) = self.registrations.get(&(monitor, target)) {
                files.clone_from(&it.files);
                if it.events.intersects(kind.bit()) {
                    signals.push(it.signal);
                    uids.push(it.uids);
                    must = stands(it, &standing) == Standing::Open && !it.vague;
                }
            }
            if let Some((call, _)) = self.calls.get(&monitor)
                && call.target == target
            {
                let concerned = call.events.intersects(kind.bit());
                match call.signal {
                    // Also without a new event: the next signal may have the new number already.
                    Some(signal) if concerned || !signals.is_empty() => {
                        signals.push(signal);
                        uids.push(call.uids);
                        files.insert(call.file);
                    }
                    Some(_) => {}
                    None => must &= !concerned,
                }
            }
            must &= signals.iter().all(|signal| (1..=64).contains(signal));
            signals.retain(|signal| (1..=64).contains(signal));
            let permitted = |uids: &Uids| permits(*uids, now(monitor.0));
            must &= uids.iter().all(permitted);
            let permitted = uids.iter().any(permitted);
            if !signals.is_empty() {
                let bit = kind.bit();
                let (late, ended_by) = (false, None);
                self.owed.push(Owed {
                    monitor,
                    target,
                    bit,
                    subject,
                    uid,
                    signals,
                    uids,
                    must,
                    late,
                    ended_by,
                    permitted,
                    files,
                });
            }
        }
    }

    /// A process has begun another program, and that closes these files for good: what is registered through no other
    /// is not to tell the new program of this (docs/behaviour.md, fact J2).
    pub fn exec_closes(&mut self, life: usize, uid: u32, files: &BTreeSet<u64>) {
        let ends = |owed: &Owed| {
            let closed = !owed.files.is_empty() && owed.files.is_subset(files);
            closed && (owed.monitor.0, owed.uid) == (life, uid)
        };
        self.owed.retain(|owed| !ends(owed));
    }

    /// The event with this uid is lost in the kernel, and the source will say that something is.
    pub fn is_lost(&mut self, uid: u32) {
        self.owed.retain(|owed| owed.uid != uid);
    }

    /// A signal has come to a process.
    pub fn signal(&mut self, life: usize, signal: QueuedSignal, now: Uids) -> Verdict {
        // Of an event of a call's own time the source need not know the uid.
        let fits = |owed: &Owed| {
            owed.monitor.0 == life
                && owed.signals.contains(&signal.signo)
                && (owed.subject, owed.bit.0) == (signal.pid, signal.value)
                && (owed.uid == signal.uid || !owed.must && signal.uid == Uid::OVERFLOW.0)
        };
        let Some(at) = self.owed.iter().position(fits) else {
            return Err(format!("nobody is owed this: {signal:?} to process life {life}"));
        };
        if let Some(overtaken) = self.overtaken(at) {
            return Err(format!(
                "out of order: {signal:?} to process life {life} comes before {overtaken:?}"
            ));
        }
        let sent = self.owed.remove(at);
        if !sent.permitted && !sent.uids.iter().any(|uids| permits(*uids, now)) {
            return Err(format!("forbidden: {signal:?} to process life {life}"));
        }
        self.delivered += 1;
        // What may have come before it has not come.
        let mut place = 0;
        self.owed.retain(|owed| {
            place += 1;
            place > at || (owed.monitor, owed.target) != (sent.monitor, sent.target)
        });
        Ok(())
    }

    /// A signal that must come before this one: an earlier one of the registration, or the birth of the target.
    fn overtaken(&self, at: usize) -> Option<&Owed> {
        let late = &self.owed[at];
        let files = |owed: &Owed| self.registrations.get(&(owed.monitor, owed.target)).map(|it| &it.files);
        let births = EventMask::PROCESS_FORK | EventMask::THREAD_CREATE;
        // A registration that is being made again may have another file by now, and no doubt about it.
        let is_renewed = |owed: &Owed| {
            let call = self.calls.get(&owed.monitor).map(|(call, _)| call);
            call.is_some_and(|call| call.target == owed.target && call.signal.is_some())
        };
        // What waits for room goes with a DEREGISTER, before that has returned.
        let may_be_forgotten = |owed: &Owed| {
            let call = self.calls.get(&owed.monitor).map(|(call, _)| call);
            let ends = |call: &Call| call.target == owed.target && call.events.intersects(owed.bit);
            owed.late && call.is_some_and(|call| call.signal.is_none() && ends(call))
        };
        self.owed[..at].iter().find(|owed| {
            let is_birth = owed.bit.intersects(births) && owed.subject == late.target;
            owed.must
                && !may_be_forgotten(owed)
                && owed.monitor == late.monitor
                && (owed.target == late.target
                    || is_birth && files(owed) == files(late) && !is_renewed(late) && !is_renewed(owed))
        })
    }

    /// A process's queue is full.
    pub fn full(&mut self, life: usize) {
        self.owed.iter_mut().filter(|owed| owed.monitor.0 == life).for_each(|owed| owed.late = true);
    }

    /// A process has changed its uids.
    pub fn uids_changed(&mut self, life: usize, now: Uids) {
        for owed in self.owed.iter_mut().filter(|owed| owed.monitor.0 == life) {
            owed.must &= owed.uids.iter().all(|uids| permits(*uids, now));
        }
    }

    /// The last descriptor of an open file is gone, by a call of this task that has not returned yet.
    pub fn file_ends(&mut self, file: u64, by: i32) {
        let calls = &self.calls;
        // The registration that is under way may have been made before this, or after.
        let renewal = |monitor: &Monitor, target: i32| {
            calls
                .get(monitor)
                .map(|(call, _)| call)
                .filter(|call| call.target == target && call.signal.is_some())
        };
        self.registrations.retain(|(monitor, target), registration| {
            let ends = registration.files.remove(&file) && registration.files.is_empty();
            registration.vague |= ends;
            !ends || renewal(monitor, *target).is_some()
        });
        for owed in &mut self.owed {
            if owed.files.remove(&file) && owed.files.is_empty() {
                match renewal(&owed.monitor, owed.target) {
                    Some(call) => {
                        owed.files.insert(call.file);
                        owed.must = false;
                    }
                    None => owed.ended_by = Some(by),
                }
            }
        }
    }

    /// A close, exec or exit of this task is over.
    pub fn close_returns(&mut self, by: i32, is_doubtful: impl Fn(usize) -> bool) -> Verdict {
        for owed in self.owed.iter_mut().filter(|owed| is_doubtful(owed.monitor.0)) {
            owed.late = true;
        }
        self.settle("a close", |owed| owed.ended_by == Some(by))
    }

    /// From now on nothing of this kind may come, and what must has come.
    fn settle(&mut self, call: &str, ended: impl Fn(&Owed) -> bool) -> Verdict {
        let missed = self.owed.iter().find(|owed| ended(owed) && owed.must && !owed.late).cloned();
        self.owed.retain(|owed| !ended(owed));
        missed.map_or(Ok(()), |missed| Err(format!("too late: {call} has returned before {missed:?}")))
    }

    /// A task has ended, or lost its number by an exec of its process.
    pub fn task_ends(&mut self, (life, tid): Monitor) {
        self.registrations.retain(|(monitor, _), _| *monitor != (life, tid));
        for owed in self.owed.iter_mut().filter(|owed| owed.monitor == (life, tid)) {
            // But for the news of its own end.
            owed.must &= owed.target == tid && owed.bit.intersects(EventMask::THREAD_EXIT);
        }
    }

    /// A process has ended.
    pub fn process_ends(&mut self, life: usize) {
        self.registrations.retain(|(monitor, _), _| monitor.0 != life);
        self.owed.retain(|owed| owed.monitor.0 != life);
    }

    /// Everything is at rest: what must has come.
    pub fn rest(&self) -> Verdict {
        self.owed
            .iter()
            .find(|owed| owed.must)
            .map_or(Ok(()), |missed| Err(format!("never sent: {missed:?}")))
    }
}

fn stands(registration: &Registration, standing: impl Fn(u64) -> Standing) -> Standing {
    let open = registration.files.iter().any(|file| standing(*file) == Standing::Open);
    if open { Standing::Open } else { Standing::Closing }
}

/// Rule R4.
fn permits(then: Uids, now: Uids) -> bool {
    then.effective == 0 || [then.real, then.effective].iter().any(|uid| [now.real, now.saved].contains(uid))
}
