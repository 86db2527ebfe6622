//! The core's events: who is told of them.

use std::collections::BTreeSet;

use crate::abi::EventMask;
use crate::event::{Event, Input, Kind};
use crate::ids::{HandleId, Signal, Stamp, Uid};
use crate::node::Node;
use crate::notify::siginfo;
use crate::registry::Key;
use crate::source::Source;
use crate::system::System;

use super::{CLOSE_BEFORE_EXEC, Core, CoreError, Doubt};

impl<N: Node, S: Source, Y: System> Core<N, S, Y> {
    pub(super) fn hear(&mut self, input: Input) -> Result<(), CoreError> {
        match input {
            Input::Event(event) => self.hear_event(&event)?,
            // The end of a registering thread may be among what is lost. Or it is still to come, with what that thread
            // asked for itself.
            Input::Lost(_) => {
                let gone = self.monitors.gone_threads();
                let mut all = self.gone.take().map_or(BTreeSet::new(), |(_, all)| all);
                all.extend(gone);
                self.gone = Some((self.source.mark(), all));
            }
        }
        Ok(())
    }

    /// Ends the registrations of threads whose ends were lost, once all that came before has been heard.
    pub(super) fn end_gone_threads(&mut self) {
        let Some((_, gone)) = self.gone.take_if(|(mark, _)| self.source.has_passed(*mark)) else { return };
        for monitor in gone {
            if !self.monitors.is_there(monitor) {
                self.thread_ended(monitor);
            }
        }
    }

    fn hear_event(&mut self, event: &Event) -> Result<(), CoreError> {
        if event.kind == Kind::ProcessExec {
            self.exec(event);
        }
        if self.registry.has_target(event.target) {
            // An exec reports itself before it lets go of the files it closes.
            if event.kind != Kind::ProcessExec {
                self.closings.past(event.target);
            }
            self.take_requests()?;
            // What was held comes first: it may be the birth of this target.
            if self.closings.have_cleared() {
                self.send_waiting(None);
            }
            self.tell(event);
        }
        if event.kind == Kind::ThreadExit
            && let Some(monitor) = self.monitors.thread(event.target, event.tgid)
        {
            self.thread_ended(monitor);
        }
        Ok(())
    }

    /// What an exec did beside being one. It ended all other threads of its process. And it may have
    /// closed the file through which the process watches itself: then the release follows when it is
    /// back in user mode, and until that is known the new program must not be signalled (docs/behaviour.md, fact J2).
    fn exec(&mut self, event: &Event) {
        // An exec that is told late has not ended the threads that there are now.
        for monitor in self.monitors.other_threads(event.tgid) {
            if !self.monitors.is_there(monitor) {
                self.thread_ended(monitor);
            }
        }
        for handle in self.files_closed_by(event) {
            let monitors = &self.monitors;
            self.closings.begin_by_exec(handle, event.target, |monitor| monitors.is_alive(monitor));
        }
    }

    /// The open files through which a process watches itself, and which its exec may have closed.
    fn files_closed_by(&self, exec: &Event) -> Vec<HandleId> {
        let recent = Stamp(exec.at.0.saturating_sub(CLOSE_BEFORE_EXEC.as_nanos() as u64));
        let may_be_closed = |handle: &HandleId| {
            let may_be = self.node.closes().is_none() || self.closings.any_since(*handle, recent);
            may_be && !self.sweep.has_file(*handle)
        };
        let mut files = Vec::new();
        self.registry.for_each_match(exec.target, exec.kind.bit(), |registration| {
            if self.monitors.tgid(registration.monitor.instance) == Some(exec.tgid) {
                files.extend(registration.handles().iter().copied().filter(may_be_closed));
            }
        });
        files
    }

    /// Signals an event to everybody who wants it.
    pub(super) fn tell(&mut self, event: &Event) {
        if self.options.abort_events && event.killed_by().is_some() {
            self.signal(event, event.kind.abort_bit().unwrap_or_default());
        }
        self.signal(event, event.kind.bit());
    }

    fn signal(&mut self, event: &Event, bit: EventMask) {
        let mut told = Vec::new();
        self.registry.for_each_match(event.target, bit, |registration| {
            let has_ended =
                self.sweep.has_all(registration.handles()) || self.sweep.has_thread(registration.monitor);
            if !has_ended && let Some(signal) = Signal::new(registration.signal) {
                told.push((registration.monitor, signal, registration.credentials));
            }
        });
        if told.is_empty() {
            return;
        }
        let uid = event.uid.unwrap_or_else(|| {
            self.observer.counters.uid_unknown.add();
            Uid::OVERFLOW
        });
        // A task that reports its own end was there when it did. An exec that is not over has taken the number from a
        // thread, whose next owner may be any process's.
        told.retain(|(monitor, ..)| {
            let is_own =
                monitor.tid == event.target && self.monitors.tgid(monitor.instance) == Some(event.tgid);
            is_own || self.monitors.is_there(*monitor)
        });
        for (monitor, signal, credentials) in told {
            if self.monitors.may_signal(credentials, monitor.instance) {
                let key = Key { monitor, target: event.target };
                let held = Doubt::new(&self.registry, &self.closings, &self.monitors, &self.sweep).holds(key);
                self.outbox.send(&self.monitors, key, siginfo(signal, bit, event.subject, uid), held);
            } else {
                self.observer.counters.forbidden.add();
            }
        }
    }
}
