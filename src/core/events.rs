//! The core's events: who is told of them.

use std::time::Instant;

use crate::abi::EventMask;
use crate::event::{Event, Input, Kind};
use crate::ids::{HandleId, Signal, Stamp, Uid};
use crate::node::Node;
use crate::notify::siginfo;
use crate::registry::Key;
use crate::source::Source;

use super::{CLOSE_BEFORE_EXEC, Core, CoreError, EXIT_AFTER_EXEC, held};

impl<N: Node, S: Source> Core<N, S> {
    pub(super) fn hear(&mut self, input: Input) -> Result<(), CoreError> {
        match input {
            Input::Event(event) => {
                self.observer.counters.events.add();
                self.hear_event(event)?;
            }
            Input::Uid { tid, real, at } => self.targets.set_uid(tid, real, at),
            Input::Lost => {
                self.observer.counters.overflows.add();
                self.missing = true;
            }
            Input::Deaf { mended } => {
                self.observer.counters.deafnesses.add();
                self.observer.say(if mended {
                    "the kernel had stopped sending process events, since some program upset its count of \
                     listeners, which is mended; what targets did meanwhile is looked for"
                } else {
                    "the kernel has stopped sending process events, since some program upsets its count of \
                     listeners again and again: only exits are told until that program ends"
                });
                self.missing = true;
            }
        }
        Ok(())
    }

    /// What becomes of an event, heard of or not.
    pub(super) fn hear_event(&mut self, event: Event) -> Result<(), CoreError> {
        if !self.targets.note(&event) {
            return Ok(());
        }
        if event.kind == Kind::ProcessExec {
            self.exec(&event)?;
        }
        if self.registry.has_target(event.target) {
            // An exec reports itself before it lets go of the files it closes.
            if event.kind != Kind::ProcessExec {
                self.closings.past(event.target);
            }
            self.take_requests()?;
            self.tell(&event);
        }
        if event.kind == Kind::ThreadExit
            && let Some(monitor) = self.monitors.thread(event.target, event.tgid)
        {
            self.remove_monitor(monitor);
        }
        Ok(())
    }

    /// What an exec did beside being one. It ended all other threads of its process. And it may have
    /// closed the file through which the process watches itself: then the release follows when it is
    /// back in user mode, and until that is known the new program must not be signalled (J2).
    fn exec(&mut self, event: &Event) -> Result<(), CoreError> {
        if self.registry.has_target(event.target) {
            self.hear_thread_exits(event)?;
        }
        // An exec that is told late has not ended the threads that there are now.
        for monitor in self.monitors.other_threads(event.tgid) {
            if !self.monitors.is_there(monitor) {
                self.remove_monitor(monitor);
            }
        }
        for handle in self.files_closed_by(event) {
            self.closings.begin(handle, event.target);
        }
        Ok(())
    }

    /// The kernel reports the end of a thread a moment after it has let the exec go on that waited
    /// for it, so that the exec may come first. Told is what happened first.
    fn hear_thread_exits(&mut self, exec: &Event) -> Result<(), CoreError> {
        let deadline = Instant::now() + EXIT_AFTER_EXEC;
        let mut due = self.targets.other_threads(exec.tgid);
        let mut at = 0;
        while !due.is_empty() {
            match self.held.get(at).copied() {
                Some(Input::Event(event))
                    if event.kind == Kind::ThreadExit && due.contains(&event.target) =>
                {
                    self.held.remove(at);
                    due.retain(|tid| *tid != event.target);
                    self.hear(Input::Event(event))?;
                }
                Some(_) => at += 1,
                None => match self.source.next()? {
                    Some(input) => self.held.push_back(input),
                    None => {
                        let left = deadline.saturating_duration_since(Instant::now());
                        if !self.wait_for_source(left)? {
                            break;
                        }
                    }
                },
            }
        }
        // The thread that made the exec has the process's id now, and its own is never reported.
        due.into_iter().for_each(|tid| self.targets.ended_unheard(tid));
        Ok(())
    }

    /// The open files through which a process watches itself, and which its exec may have closed.
    fn files_closed_by(&self, exec: &Event) -> Vec<HandleId> {
        let recent = Stamp(exec.at.0.saturating_sub(CLOSE_BEFORE_EXEC.as_nanos() as u64));
        let may_be_closed =
            |handle: &HandleId| !self.node.tells_closes() || self.closings.any_since(*handle, recent);
        let mut files = Vec::new();
        self.registry.for_each_match(exec.target, exec.kind.bit(), |registration| {
            if self.monitors.tgid(registration.monitor.instance) == Some(exec.tgid) {
                files.extend(registration.handles().iter().copied().filter(may_be_closed));
            }
        });
        files
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
        // A task that reports its own end was there when it did.
        told.retain(|(monitor, ..)| monitor.tid == event.target || self.monitors.is_there(*monitor));
        for (monitor, signal, credentials) in told {
            if self.monitors.may_signal(credentials, monitor.instance) {
                let key = Key { monitor, target: event.target };
                let held = held(&self.registry, &self.closings, key, None);
                self.outbox.send(&self.monitors, key, siginfo(signal, bit, event.subject, uid), held);
            } else {
                self.observer.counters.forbidden.add();
            }
        }
    }
}
