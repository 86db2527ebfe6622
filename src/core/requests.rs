//! The core's requests: what clients ask, answered by the driver's rules.

use nix::errno::Errno;

use crate::abi::{Command, EventMask};
use crate::driver::Call;
use crate::ids::{HandleId, MonitorId, Tgid, Tid};
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
                    Ok(Call::Register(command)) => self.register(ticket, handle, caller, command)?,
                    Ok(Call::Deregister(command)) => self.deregister(ticket, handle, caller, command)?,
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

    fn register(
        &mut self,
        ticket: Ticket,
        through: HandleId,
        caller: Caller,
        command: Command,
    ) -> Result<(), CoreError> {
        // Events that came before this call belong to the registration as it was.
        self.drain_source()?;
        while self.bury_monitors() {}
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
        let registered =
            self.driver.register(through, monitor, self.monitors.credentials(monitor, caller), command);
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

    fn deregister(
        &mut self,
        ticket: Ticket,
        through: HandleId,
        caller: Caller,
        command: Command,
    ) -> Result<(), CoreError> {
        self.drain_source()?;
        while self.bury_monitors() {}
        match self.monitors.known(caller) {
            Some(monitor) => {
                let key = Key { monitor, target: Tid(command.pid) };
                if self.owing.contains(&key) {
                    // An earlier thread's with this number, which only waits for its last signals.
                    self.answer(ticket, Err(Errno::EINVAL));
                } else {
                    self.deregister_when_known(ticket, through, key, command.events);
                }
            }
            None => self.answer(ticket, Err(Errno::EINVAL)),
        }
        Ok(())
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
        let doubt =
            Doubt { open: Some(through), ..Doubt::new(&self.registry, &self.closings, &self.monitors) };
        if self.outbox.waits(key) && doubt.holds(key) {
            self.put_off.push(PutOff::Deregister { ticket, through, key, events });
            return;
        }
        self.outbox.retry_monitor(&self.monitors, key.monitor.instance, |key| doubt.holds(key));
        let result = self.driver.deregister(key, events);
        match result {
            Ok(Deregistered::Removed) => self.ended(&[key]),
            Ok(Deregistered::Kept) => self.outbox.forget_events(key, events),
            Err(_) => {}
        }
        self.answer(ticket, result.map(drop));
    }

    pub(super) fn release(&mut self, handle: HandleId) {
        self.closings.end(handle);
        let keys = self.driver.release(handle);
        self.ended(&keys);
    }

    /// Sends the signals that wait and can be sent by now; a task may wait in a call on `open`.
    pub(super) fn send_waiting(&mut self, open: Option<HandleId>) {
        let doubt = Doubt { open, ..Doubt::new(&self.registry, &self.closings, &self.monitors) };
        self.outbox.retry_all(&self.monitors, |key| doubt.holds(key));
    }

    /// What must be undone when registrations have left the registry.
    pub(super) fn ended(&mut self, keys: &[Key]) {
        self.outbox.forget(keys);
        for key in keys {
            self.owing.remove(key);
            self.unwatch(*key);
            self.monitors.let_go(key.monitor);
        }
    }

    /// The tasks that a registration wants to hear of: the target; and the monitor, whose end, or
    /// whose process's exec, may end it.
    fn tasks_of(&self, key: Key) -> [(Tid, Interest); 3] {
        let monitor = key.monitor.tid;
        let leader = self.monitors.tgid(key.monitor.instance).map_or(monitor, Tgid::leader);
        [(key.target, Interest::Events), (monitor, Interest::End), (leader, Interest::End)]
    }

    fn watch(&mut self, key: Key) {
        for (tid, interest) in self.tasks_of(key) {
            self.source.watch(tid, interest);
        }
    }

    fn unwatch(&mut self, key: Key) {
        for (tid, interest) in self.tasks_of(key) {
            self.source.unwatch(tid, interest);
        }
    }

    /// The monitors' ends: of whole processes by their pidfds, whatever the source missed.
    pub(super) fn bury_monitors(&mut self) -> bool {
        let dead = self.monitors.take_exited();
        for monitor in &dead {
            self.remove_monitor(*monitor);
        }
        !dead.is_empty()
    }

    fn remove_monitor(&mut self, monitor: MonitorId) {
        let keys = self.registry.remove_monitor(monitor);
        self.ended(&keys);
    }

    /// A registering thread has ended, and its process lives: signals from before that still wait are owed to it.
    pub(super) fn thread_ended(&mut self, monitor: MonitorId) {
        for key in self.registry.silence(monitor) {
            if self.outbox.waits(key) {
                self.owing.insert(key);
            } else {
                self.end_silent(key);
            }
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
        if self.registry.deregister(key, EventMask::default()) == Some(Deregistered::Removed) {
            self.ended(&[key]);
        }
    }
}
