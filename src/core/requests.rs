//! The core's requests: what clients ask, answered by the driver's rules.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::abi::{Command, EventMask};
use crate::driver::Call;
use crate::ids::{HandleId, MonitorId, Tgid, Tid};
use crate::monitors::Monitors;
use crate::node::{Answer, Caller, Node, Request};
use crate::registry::{Deregistered, Key, Registered};
use crate::remedy::remedy;
use crate::source::{Interest, Source};

use super::{Core, CoreError, held, wait};

/// How long the closers of a registration's files may take.
const SETTLED: Duration = Duration::from_millis(50);

impl<N: Node, S: Source> Core<N, S> {
    pub(super) fn serve(&mut self, request: Request) -> Result<(), CoreError> {
        let (ticket, answer) = match request {
            Request::Open { ticket } => (ticket, self.driver.open().map(Answer::Opened)),
            Request::Ioctl { ticket, handle, caller, command, argument } => {
                self.closings.past(caller.tid);
                let result = match Call::decode(command, argument) {
                    Ok(Call::Register(command)) => self.register(handle, caller, command)?,
                    Ok(Call::Deregister(command)) => self.deregister(handle, caller, command)?,
                    Err(errno) => Err(errno),
                };
                (ticket, result.map(|()| Answer::Done))
            }
            Request::Close { ticket, handle, by } => {
                if self.registry.has_handle(handle) {
                    self.drain_source()?;
                    self.send_waiting(Some(handle));
                    self.closings.begin(handle, by);
                }
                self.source.blocked(by, false);
                (ticket, Ok(Answer::Done))
            }
            Request::Release { ticket, handle } => {
                self.drain_source()?;
                // What is held because an exec may have closed the file stays held: it has.
                self.send_waiting(None);
                self.release(handle);
                let Some(ticket) = ticket else { return Ok(()) };
                (ticket, Ok(Answer::Done))
            }
        };
        self.node.answer(ticket, answer.unwrap_or_else(Answer::Failed));
        Ok(())
    }

    fn register(
        &mut self,
        handle: HandleId,
        caller: Caller,
        command: Command,
    ) -> Result<Result<(), Errno>, CoreError> {
        // Events that came before this call belong to the registration as it was.
        self.drain_source()?;
        while self.bury_monitors() {}
        let monitor = match self.monitors.enrol(caller) {
            Ok(monitor) => monitor,
            Err(errno) => {
                let remedy = remedy(errno);
                self.observer
                    .say(format_args!("cannot watch over monitor {}: {errno}: {remedy}", caller.tid));
                return Ok(Err(Errno::ENOMEM));
            }
        };
        let registered = self.driver.register(handle, monitor, Monitors::credentials(caller), command);
        if registered == Ok(Registered::New) {
            let key = Key { monitor, target: Tid(command.pid) };
            self.monitors.hold(monitor);
            self.watch(key);
            if let Err(error) = self.source.commit() {
                self.observer.say(error);
                self.registry.deregister(key, !EventMask::default());
                self.unwatch(key);
                self.monitors.let_go(monitor);
                return Ok(Err(Errno::EIO));
            }
        } else {
            self.monitors.drop_if_unused(monitor.instance);
        }
        Ok(registered.map(drop))
    }

    fn deregister(
        &mut self,
        handle: HandleId,
        caller: Caller,
        command: Command,
    ) -> Result<Result<(), Errno>, CoreError> {
        self.drain_source()?;
        while self.bury_monitors() {}
        let Some(monitor) = self.monitors.known(caller) else { return Ok(Err(Errno::EINVAL)) };
        let key = Key { monitor, target: Tid(command.pid) };
        self.settle(key, handle)?;
        self.send_waiting(Some(handle));
        let result = self.driver.deregister(monitor, command);
        match result {
            Ok(Deregistered::Removed) => self.ended(&[key]),
            Ok(Deregistered::Kept) => self.outbox.forget_events(key, command.events),
            Err(_) => {}
        }
        Ok(result.map(drop))
    }

    pub(super) fn release(&mut self, handle: HandleId) {
        self.closings.end(handle);
        let keys = self.driver.release(handle);
        self.ended(&keys);
    }

    /// Sends the signals that wait and can be sent by now; a task may wait in a call on `open`.
    fn send_waiting(&mut self, open: Option<HandleId>) {
        let (registry, closings) = (&self.registry, &self.closings);
        self.outbox.retry_all(&self.monitors, |key| held(registry, closings, key, open));
    }

    /// Waits until it is known whether the registration still stands: its open files may all be closed by
    /// now, other than the one of the call.
    fn settle(&mut self, key: Key, open: HandleId) -> Result<(), CoreError> {
        let deadline = Instant::now() + SETTLED;
        while held(&self.registry, &self.closings, key, Some(open)) && Instant::now() < deadline {
            let next = self.closings.next_look().unwrap_or(deadline).min(deadline);
            wait(&mut [], Some(next.saturating_duration_since(Instant::now())))?;
            self.take_requests()?;
        }
        Ok(())
    }

    /// What must be undone when registrations have left the registry.
    fn ended(&mut self, keys: &[Key]) {
        self.outbox.forget(keys);
        for key in keys {
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

    pub(super) fn remove_monitor(&mut self, monitor: MonitorId) {
        let keys = self.registry.remove_monitor(monitor);
        self.ended(&keys);
    }
}
