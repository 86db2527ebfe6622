//! Answers that are put off: each has a condition, on whose behalf its caller waits, and nobody else.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::abi::EventMask;
use crate::driver::Call;
use crate::ids::HandleId;
use crate::node::{Caller, Node, Ticket};
use crate::registry::Key;
use crate::source::Source;
use crate::system::System;

use super::{Core, CoreError};

/// An answer whose time has not come.
pub(super) enum PutOff {
    /// A DEREGISTER whose registration's signals are held: they are owed if it still stands.
    Deregister {
        /// Whom to answer.
        ticket: Ticket,
        /// The open file of the call.
        through: HandleId,
        /// The registration.
        key: Key,
        /// What it is to lose.
        events: EventMask,
    },
    /// A REGISTER of whose target no event comes yet.
    Register {
        /// Whom to answer.
        ticket: Ticket,
        /// The new registration.
        key: Key,
        /// What it asks for.
        events: EventMask,
    },
    /// A call that what is being swept up is in the way of: there is no room beside it, or it has the same name.
    Call {
        /// Whom to answer.
        ticket: Ticket,
        /// The open file of the call.
        through: HandleId,
        /// By whom.
        caller: Caller,
        /// What it asks for.
        call: Call,
    },
}

/// How long a REGISTER waits for a deaf source; one that has been deaf for as long is not waited for.
const DEAF: Duration = Duration::from_secs(2);

impl<N: Node, S: Source, Y: System> Core<N, S, Y> {
    /// Answers what can be answered by now. False if that was nothing.
    pub(super) fn answer_put_off(&mut self) -> Result<bool, CoreError> {
        let before = self.put_off.len();
        for put_off in std::mem::take(&mut self.put_off) {
            match put_off {
                PutOff::Deregister { ticket, through, key, events } => {
                    self.deregister_when_known(ticket, through, key, events);
                }
                PutOff::Register { ticket, key, events } => self.register_when_heard(ticket, key, events),
                PutOff::Call { ticket, through, caller, call } => self.call(ticket, through, caller, call)?,
            }
        }
        Ok(self.put_off.len() < before)
    }

    /// Answers a new REGISTER once events come. If they do not come in time it succeeds where the exit of the
    /// target can be told without them.
    pub(super) fn register_when_heard(&mut self, ticket: Ticket, key: Key, events: EventMask) {
        let Some(since) = self.source.deaf_since() else { return self.answer(ticket, Ok(())) };
        if self.system.now().saturating_duration_since(since) < DEAF {
            self.put_off.push(PutOff::Register { ticket, key, events });
            return;
        }
        let told =
            events.intersects(EventMask::PROCESS_EXIT) && self.source.reports_exit_when_deaf(key.target);
        let outcome = if told { "its exit alone is told until then" } else { "REGISTER fails with EIO" };
        self.observer.say(format_args!(
            "thread {} registers {}, and the kernel sends no events (its count of listeners is too low, which is \
             being mended): {outcome}",
            key.monitor.tid, key.target
        ));
        if !told {
            self.registry.deregister(key, !EventMask::default());
            self.ended(key);
        }
        self.answer(ticket, if told { Ok(()) } else { Err(Errno::EIO) });
    }

    /// When an answer is due although nothing happens.
    pub(super) fn next_answer(&self) -> Option<Instant> {
        let waits = self.put_off.iter().any(|put_off| matches!(put_off, PutOff::Register { .. }));
        self.source.deaf_since().filter(|_| waits).map(|since| since + DEAF)
    }
}
