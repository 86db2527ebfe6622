//! The core's requests: what clients ask, answered by the driver's rules.

use nix::errno::Errno;

use crate::abi::{Command, EventMask};
use crate::driver::Call;
use crate::ids::{HandleId, Tgid, Tid};
use crate::node::{Answer, Caller, Node, Request, Ticket};
use crate::registry::{Deregistered, Key, Registered};
use crate::remedy::remedy;
use crate::source::{Interest, Source};
use crate::system::System;

use super::put_off::PutOff;
use super::{Core, CoreError, Doubt};

impl<N: Node, S: Source, Y: System> Core<N, S, Y> {
    pub(super) fn serve(&mut self, request: Request) -> Result<(), CoreError> {
        match request {
            Request::Open { ticket } => {
                let opened = self.driver.open();
                self.node.answer(ticket, opened.map_or_else(Answer::Failed, Answer::Opened));
            }
            Request::Ioctl { ticket, handle, caller, command, argument } => {
                self.closings.past(caller.tid);
                self.closings.called(handle, caller.tid);
                match Call::decode(command, argument) {
                    Ok(call) => self.call(ticket, handle, caller, call)?,
                    Err(errno) => self.answer(ticket, Err(errno)),
                }
            }
            Request::Close { ticket, handle, by } => {
                if self.registry.has_handle(handle) {
                    self.drain_source()?;
                    self.send_waiting(Some(handle));
                    let monitors = &self.monitors;
                    self.closings.begin(handle, by, |monitor| monitors.is_alive(monitor));
                } else {
                    self.closings.begin_unregistered(handle, by);
                }
                self.source.blocked(by, false);
                self.node.answer(ticket, Answer::Done);
            }
            Request::Release { ticket, handle } => {
                self.drain_source()?;
                // What is held because an exec may have closed the file stays held: it has.
                self.send_waiting(None);
                self.release(handle);
                if let Some(ticket) = ticket {
                    self.node.answer(ticket, Answer::Done);
                }
            }
        }
        Ok(())
    }

    /// Answers a call.
    pub(super) fn answer(&mut self, ticket: Ticket, result: Result<(), Errno>) {
        self.node.answer(ticket, result.map_or_else(Answer::Failed, |()| Answer::Done));
    }

    pub(super) fn call(
        &mut self,
        ticket: Ticket,
        through: HandleId,
        caller: Caller,
        call: Call,
    ) -> Result<(), CoreError> {
        // Events that came before this call belong to the registration as it was.
        self.drain_source()?;
        self.bury_monitors();
        // An ended thread's registrations go before another with its number is served.
        let known = if self.sweep.has_threads() { self.monitors.known(caller) } else { None };
        if known.is_some_and(|monitor| self.sweep.has_thread(monitor)) {
            self.put_off.push(PutOff::Call { ticket, through, caller, call });
            return Ok(());
        }
        match call {
            Call::Register(command) => self.register(ticket, through, caller, command),
            Call::Deregister(command) => {
                self.deregister(ticket, through, caller, command);
                Ok(())
            }
        }
    }

    fn register(
        &mut self,
        ticket: Ticket,
        through: HandleId,
        caller: Caller,
        command: Command,
    ) -> Result<(), CoreError> {
        let monitor = match self.monitors.enrol(caller) {
            Ok(monitor) => monitor,
            Err(errno) => {
                let remedy = remedy(errno);
                self.observer
                    .say(format_args!("cannot watch over monitor {}: {errno}: {remedy}", caller.tid));
                self.answer(ticket, Err(Errno::ENOMEM));
                return Ok(());
            }
        };
        let key = Key { monitor, target: Tid(command.pid) };
        self.sweep_up(key);
        let credentials = self.monitors.credentials(monitor, caller);
        let registered = self.driver.register(through, monitor, credentials, command);
        if registered.is_err() && !self.sweep.is_empty() {
            self.monitors.drop_if_unused(monitor.instance);
            self.put_off.push(PutOff::Call { ticket, through, caller, call: Call::Register(command) });
            return Ok(());
        }
        if registered.is_ok() {
            self.closings.used(through, monitor);
            // What an earlier thread with this number left behind is the caller's now.
            self.owing.remove(&key);
        }
        if registered != Ok(Registered::New) {
            self.monitors.drop_if_unused(monitor.instance);
            self.answer(ticket, registered.map(drop));
            return Ok(());
        }
        self.monitors.hold(monitor);
        self.watch(key);
        if let Err(error) = self.source.commit() {
            self.observer.say(error);
            self.registry.deregister(key, !EventMask::default());
            self.unwatch(key);
            self.monitors.let_go(monitor);
            self.answer(ticket, Err(Errno::EIO));
            return Ok(());
        }
        self.register_when_heard(ticket, key, command.events);
        Ok(())
    }

    fn deregister(&mut self, ticket: Ticket, through: HandleId, caller: Caller, command: Command) {
        let Some(monitor) = self.monitors.known(caller) else {
            return self.answer(ticket, Err(Errno::EINVAL));
        };
        let key = Key { monitor, target: Tid(command.pid) };
        if self.owing.contains(&key) {
            // An earlier thread's with this number, which only waits for its last signals.
            self.answer(ticket, Err(Errno::EINVAL));
        } else {
            self.deregister_when_known(ticket, through, key, command.events);
        }
    }

    /// DEREGISTER, once it is known whether the registration still stands, if it is owed signals: the files that
    /// it was made through may all be closed by now, other than the one of the call.
    pub(super) fn deregister_when_known(
        &mut self,
        ticket: Ticket,
        through: HandleId,
        key: Key,
        events: EventMask,
    ) {
        self.sweep_up(key);
        let doubt = Doubt {
            open: Some(through),
            ..Doubt::new(&self.registry, &self.closings, &self.monitors, &self.sweep)
        };
        if self.outbox.waits(key) && doubt.holds(key) {
            self.put_off.push(PutOff::Deregister { ticket, through, key, events });
            return;
        }
        self.outbox.retry_monitor(&self.monitors, key.monitor.instance, |key| doubt.holds(key));
        let result = self.driver.deregister(key, events);
        match result {
            Ok(Deregistered::Removed) => self.ended(key),
            Ok(Deregistered::Kept) => self.outbox.forget_events(key, events),
            Err(_) => {}
        }
        self.answer(ticket, result.map(drop));
    }

    /// Sends the signals that wait and can be sent by now; a task may wait in a call on `open`.
    pub(super) fn send_waiting(&mut self, open: Option<HandleId>) {
        let doubt = Doubt { open, ..Doubt::new(&self.registry, &self.closings, &self.monitors, &self.sweep) };
        self.outbox.retry_all(&self.monitors, |key| doubt.holds(key));
    }

    /// The tasks that a registration wants to hear of: the target; and the monitor, whose end, or
    /// whose process's exec, may end it.
    fn tasks_of(&self, key: Key) -> [(Tid, Interest); 3] {
        let monitor = key.monitor.tid;
        let leader = self.monitors.last_tgid(key.monitor.instance).map_or(monitor, Tgid::leader);
        [(key.target, Interest::Events), (monitor, Interest::End), (leader, Interest::End)]
    }

    pub(super) fn watch(&mut self, key: Key) {
        for (tid, interest) in self.tasks_of(key) {
            self.source.watch(tid, interest);
        }
    }

    pub(super) fn unwatch(&mut self, key: Key) {
        for (tid, interest) in self.tasks_of(key) {
            self.source.unwatch(tid, interest);
        }
    }
}
