//! What targets did while no notices came.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::event::{Event, Input, Kind};
use crate::ids::Tid;

use super::census::Missed;
use super::exits::LATE_EXIT;
use super::{Connector, Out};

/// Targets that are looked at before everything else has its turn.
const SLICE: usize = 64;

/// Where a resync stands. It looks at each target in /proc, and compares.
#[derive(Debug)]
pub struct Recovery {
    requested: bool,
    /// Earliest begin of the next one; limits their share of the time.
    next: Instant,
    begun: Instant,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Rest,
    /// Targets that are still to be looked at, and what the others did.
    Look(Vec<Tid>, Vec<Missed>),
    /// What notices may still come of.
    Wait(Vec<Missed>, Instant),
    /// What is to be reported.
    Report(VecDeque<Missed>),
    /// Targets whose state is still to be taken from /proc.
    Refresh(Vec<Tid>),
}

impl Recovery {
    /// Nothing is missing.
    pub fn new() -> Recovery {
        let now = Instant::now();
        Recovery { requested: false, next: now, begun: now, step: Step::Rest }
    }

    /// Notices are missing.
    pub fn request(&mut self) {
        self.requested = true;
    }

    /// True while notices are missing and what they would have said is not found out.
    pub fn is_incomplete(&self) -> bool {
        self.requested || !matches!(self.step, Step::Rest)
    }

    /// True if it is under way, or its time has come.
    pub fn is_due(&self, now: Instant) -> bool {
        !matches!(self.step, Step::Rest) || self.requested && now >= self.next
    }

    /// When there is something to do for it.
    pub fn next_step(&self) -> Option<Instant> {
        match &self.step {
            Step::Rest => self.requested.then_some(self.next),
            Step::Wait(_, until) => Some(*until),
            Step::Look(..) | Step::Report(_) | Step::Refresh(_) => Some(Instant::now()),
        }
    }
}

impl Connector {
    /// Goes on with the resync, if notices are missing: a slice of it. To be called when nothing is missing
    /// that only waits in the queue.
    pub(super) fn recover(&mut self) {
        let now = Instant::now();
        match std::mem::replace(&mut self.recovery.step, Step::Rest) {
            Step::Rest if self.recovery.is_due(now) => {
                self.recovery.requested = false;
                self.recovery.begun = now;
                self.recovery.step = Step::Look(self.targets.all(), Vec::new());
            }
            Step::Rest => {}
            Step::Look(mut left, mut missed) => {
                let slice = left.split_off(left.len().saturating_sub(SLICE));
                missed.extend(slice.into_iter().filter_map(|tid| self.targets.missed(tid)));
                self.recovery.step = if !left.is_empty() {
                    Step::Look(left, missed)
                } else if missed.is_empty() {
                    Step::Refresh(self.targets.all())
                } else {
                    Step::Wait(missed, now + LATE_EXIT)
                };
            }
            Step::Wait(mut missed, until) if now >= until => {
                missed.sort_by_key(|missed| missed.kind != Kind::ThreadExit);
                self.recovery.step = Step::Report(missed.into());
            }
            Step::Wait(missed, until) => self.recovery.step = Step::Wait(missed, until),
            Step::Report(mut missed) => {
                let slice = missed.len().min(SLICE);
                missed.drain(..slice).for_each(|missed| self.report_if_missed(missed));
                self.recovery.step =
                    if missed.is_empty() { Step::Refresh(self.targets.all()) } else { Step::Report(missed) };
            }
            Step::Refresh(mut left) => {
                let slice = left.split_off(left.len().saturating_sub(SLICE));
                slice.into_iter().for_each(|tid| self.targets.refresh(tid));
                if left.is_empty() {
                    self.end_recovery(now);
                } else {
                    self.recovery.step = Step::Refresh(left);
                }
            }
        }
    }

    fn report_if_missed(&mut self, missed: Missed) {
        // An exec that is under way has changed the program already. Its notice will come.
        let is_under_way = missed.kind == Kind::ProcessExec && self.blocked.contains(&missed.target);
        if self.targets.missed(missed.target) != Some(missed) || is_under_way {
            return;
        }
        self.report_missed(missed);
        if missed.kind == Kind::ProcessExec {
            self.observer.counters.execs_recovered.add();
        } else {
            self.targets.told_instead(missed.target);
            self.observer.counters.exits_recovered.add();
        }
    }

    fn end_recovery(&mut self, now: Instant) {
        let dropped = self.socket.take_dropped();
        if dropped > 0 {
            self.observer.counters.events_lost.add_many(dropped);
            self.observer.say(
                "the kernel dropped events, since its queue for us was full (events_lost counts them): exits, \
                 and execs of another program, are told all the same; forks and new threads are not",
            );
        }
        self.out.push_back(Out::Input(Input::Lost(dropped)));
        // Half of the time is for everything else.
        let took: Duration = now - self.recovery.begun;
        self.recovery.next = now + took;
    }

    /// A birth proves that the number's last owner has ended. While notices are missing, that of its end may
    /// be among them, and afterwards nobody could find it out.
    pub(super) fn report_lost_end(&mut self, birth: &Event) {
        if !self.recovery.is_incomplete() {
            return;
        }
        let Some(missed) = self.targets.replaced(birth.subject, birth.at) else { return };
        self.report_missed(missed);
        self.targets.told_instead(missed.target);
        self.observer.counters.exits_recovered.add();
    }
}

#[cfg(test)]
mod tests {
    use super::super::notice::Notice;
    use super::super::targets::tests::{end, event, exit_of, fork_of, watched};
    use super::super::{Interest, ProcConnector, Source};
    use super::*;
    use crate::observe::Observer;

    /// A source without a socket, which watches this task.
    fn source(tid: Tid) -> Connector {
        let socket = ProcConnector::new(4096);
        let mut source = Connector::new(socket, false, Observer::silent()).expect("descriptors");
        source.watch(tid, Interest::Events);
        source.targets.add(tid);
        source.added.clear();
        source
    }

    fn reported(source: &mut Connector) -> Vec<Kind> {
        let out = source.out.drain(..);
        let events = out.filter_map(|out| match out {
            Out::Input(Input::Event(event)) => Some(event.kind),
            _ => None,
        });
        events.collect()
    }

    #[test]
    fn after_an_overflow_a_birth_reports_the_lost_end_of_the_numbers_last_owner() {
        let (child, tid, _) = watched();
        let mut source = source(tid);
        source.take(Notice::Overflow);
        end(child);
        source.take(Notice::Event(fork_of(tid)));
        assert_eq!(reported(&mut source), [Kind::ProcessExit]);
        source.take(Notice::Event(exit_of(tid)));
        assert_eq!(reported(&mut source), [Kind::ProcessExit], "the new owner's");
    }

    #[test]
    fn a_birth_before_the_task_was_looked_at_is_that_of_the_task_itself() {
        let birth = event(Kind::ProcessFork, Tid(1), Tid(1));
        let (child, tid, _) = watched();
        let mut source = source(tid);
        source.take(Notice::Overflow);
        source.take(Notice::Event(Event { subject: tid, ..birth }));
        assert_eq!(reported(&mut source), []);
        end(child);
    }

    #[test]
    fn without_an_overflow_the_notice_of_the_end_may_come_after_the_birth() {
        let (child, tid, _) = watched();
        let mut source = source(tid);
        end(child);
        source.take(Notice::Event(fork_of(tid)));
        assert_eq!(reported(&mut source), []);
        source.take(Notice::Event(exit_of(tid)));
        assert_eq!(reported(&mut source), [Kind::ProcessExit]);
    }
}
