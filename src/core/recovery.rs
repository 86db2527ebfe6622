//! What the core does when the source has lost events.

use std::time::Instant;

use crate::event::{Event, Kind};
use crate::ids::Stamp;
use crate::node::{Node, Request};
use crate::source::Source;
use crate::sys::clock::monotonic_ns;
use crate::targets::Missed;

use super::exits::DUE_EXIT;
use super::{Core, CoreError};

/// Events that are heard before the rest must wait until the recovery is done.
const MOST_HEARD: usize = 1 << 20;

impl<N: Node, S: Source> Core<N, S> {
    /// If events were lost: signals what targets did meanwhile and can be known, and counts the rest.
    /// False if there was nothing to do, or it is too early: half of the time is for everything else.
    pub(super) fn recover(&mut self) -> Result<bool, CoreError> {
        let begin = Instant::now();
        if !self.missing || begin < self.next_census {
            return Ok(false);
        }
        self.missing = false;
        if let Some(priority) = &mut self.priority {
            priority.step_back();
        }
        // Nothing is missed that only waits in the queue.
        self.hear_all()?;
        let missed = self.targets.missed();
        if !missed.is_empty() {
            self.hear_until(Instant::now() + DUE_EXIT)?;
            self.take_requests()?;
        }
        for missed in missed {
            if self.targets.is_missed(&missed) && !self.is_in_exec(&missed) {
                self.tell_unheard(missed)?;
                if missed.kind == Kind::ProcessExec {
                    self.observer.counters.execs_recovered.add();
                } else {
                    self.targets.told_instead(missed.target);
                    self.observer.counters.exits_recovered.add();
                }
            }
        }
        for monitor in self.monitors.gone_threads() {
            self.remove_monitor(monitor);
        }
        self.targets.refresh();
        let dropped = self.source.take_dropped();
        if dropped > 0 {
            self.observer.counters.events_lost.add_many(dropped);
            self.observer.say(
                "the kernel dropped events, since its queue for us was full (events_lost counts them): exits, \
                 and execs of another program, are told all the same; forks and new threads are not",
            );
        }
        self.next_census = Instant::now() + begin.elapsed();
        Ok(true)
    }

    /// True if the exec is under way: it has changed the program, and waits for us to close a file. It
    /// will be heard of.
    fn is_in_exec(&self, missed: &Missed) -> bool {
        let closes = |request: &Request| matches!(request, Request::Close { by, .. } if *by == missed.target);
        missed.kind == Kind::ProcessExec
            && (self.closer == Some(missed.target) || self.waiting.iter().any(closes))
    }

    fn hear_all(&mut self) -> Result<(), CoreError> {
        for _ in 0..MOST_HEARD {
            let Some(input) = self.next_input()? else { break };
            self.hear(input)?;
        }
        Ok(())
    }

    fn hear_until(&mut self, deadline: Instant) -> Result<(), CoreError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.wait_for_source(left)?;
            self.hear_all()?;
        }
    }

    /// Tells what a target has done, and what the source has not told.
    pub(super) fn tell_unheard(&mut self, missed: Missed) -> Result<(), CoreError> {
        let Missed { kind, target, tgid } = missed;
        let at = Stamp(monotonic_ns());
        self.hear_event(Event { kind, target, subject: target, tgid, killed_by: None, at })
    }
}
