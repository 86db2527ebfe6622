//! The programs at work as a [`Source`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::abi::EventMask;
use crate::event::{Event, Input};
use crate::ids::{Tgid, Tid};
use crate::observe::Observer;

use super::super::{Interest, Mark, Source, SourceError};
use super::{BpfSource, Counters, Input as BpfInput, LostKind, TaskEvent};

/// Events for [`Interest::Events`].
const EVENTS: EventMask = EventMask(
    EventMask::THREAD_CREATE.0
        | EventMask::THREAD_EXIT.0
        | EventMask::PROCESS_FORK.0
        | EventMask::PROCESS_EXEC.0
        | EventMask::PROCESS_EXIT.0,
);

/// Events for [`Interest::End`].
const END: EventMask = EventMask(EventMask::THREAD_EXIT.0 | EventMask::PROCESS_EXEC.0);

/// Events from the source in the kernel.
#[derive(Debug)]
pub struct BpfEvents {
    source: BpfSource,
    /// How often a task is watched for its events, beside the first time, which its word tells.
    more: HashMap<Tid, u32>,
    /// How often for its end: monitors are.
    ends: HashMap<Tid, u32>,
    observer: Observer,
    /// What the observer's counters have of the source's.
    counted: Counters,
}

impl BpfEvents {
    /// Nothing is watched.
    pub fn new(source: BpfSource, observer: Observer) -> BpfEvents {
        let (more, ends, counted) = (HashMap::new(), HashMap::new(), Counters::default());
        BpfEvents { source, more, ends, observer, counted }
    }

    /// Passes on what the source has counted since.
    fn count(&mut self) {
        let (now, before) = (self.source.counters(), self.counted);
        self.counted = now;
        let counters = &self.observer.counters;
        counters.overflows.add_many(now.overflows - before.overflows);
        counters.exits_recovered.add_many(now.exits_recovered - before.exits_recovered);
        counters.execs_recovered.add_many(now.execs_recovered - before.execs_recovered);
        counters.unarmed.add_many(now.unarmed - before.unarmed);
        if now.unarmed > before.unarmed {
            self.observer.say(
                "too few descriptors for all targets: the exits of some can be reported a tenth of a second late: \
                 raise the limit of open files (ulimit -n, LimitNOFILE= of the unit)",
            );
        }
    }

    /// True if it is watched for its events. Its end alone is no fork.
    fn watches_events_of(&self, tid: Tid) -> bool {
        self.source.wanted(tid).intersects(EventMask::PROCESS_FORK)
    }

    fn event(&self, event: &TaskEvent) -> Event {
        self.observer.counters.events.add();
        Event {
            kind: event.kind,
            target: event.actor,
            subject: event.subject,
            tgid: event.tgid.unwrap_or(Tgid(event.actor.0)),
            uid: event.uid,
            status: event.status,
            at: event.at,
        }
    }
}

/// Counts one less; how many are left. `None`: there were none.
fn take_one(counts: &mut HashMap<Tid, u32>, tid: Tid) -> Option<u32> {
    let Entry::Occupied(mut entry) = counts.entry(tid) else { return None };
    *entry.get_mut() -= 1;
    let left = *entry.get();
    if left == 0 {
        entry.remove();
    }
    Some(left)
}

impl Source for BpfEvents {
    fn poll_fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [Some(self.source.poll_fd()), None]
    }

    fn deadline(&mut self) -> Option<Instant> {
        self.source.deadline()
    }

    fn next(&mut self) -> Result<Option<Input>, SourceError> {
        let Some(input) = self.source.next_input() else {
            self.count();
            return Ok(None);
        };
        Ok(Some(match input {
            BpfInput::Event(event) => Input::Event(self.event(&event)),
            // Nobody is followed.
            BpfInput::Member(_) => return self.next(),
            BpfInput::Lost { kind, count } => {
                self.observer.counters.events_lost.add_many(count);
                self.observer.say(match kind {
                    LostKind::Unknown => {
                        "the kernel has skipped BPF programs of ours, and events may be missing, nobody knows \
                         which: use --source connector if this comes again"
                    }
                    _ => {
                        "the ring buffer for events was full, and some were dropped (events_lost counts them): \
                         exits and execs are told all the same; forks and new threads are not"
                    }
                });
                Input::Lost(count)
            }
        }))
    }

    fn mark(&mut self) -> Mark {
        Mark(self.source.mark().0)
    }

    fn has_passed(&self, mark: Mark) -> bool {
        self.source.has_passed(super::Mark(mark.0))
    }

    fn watch(&mut self, tid: Tid, interest: Interest) {
        let watches_events = self.watches_events_of(tid);
        match interest {
            Interest::Events if watches_events => *self.more.entry(tid).or_default() += 1,
            Interest::Events => self.source.watch(tid, EVENTS),
            Interest::End => {
                let count = self.ends.entry(tid).or_default();
                *count += 1;
                if *count == 1 && !watches_events {
                    self.source.watch(tid, END);
                }
            }
        }
    }

    fn unwatch(&mut self, tid: Tid, interest: Interest) {
        match interest {
            Interest::Events => {
                if take_one(&mut self.more, tid).is_none() {
                    let left = if self.ends.contains_key(&tid) { END } else { EventMask::default() };
                    self.source.unwatch(tid, EVENTS.without(left));
                }
            }
            Interest::End => {
                if take_one(&mut self.ends, tid) == Some(0) && !self.watches_events_of(tid) {
                    self.source.unwatch(tid, END);
                }
            }
        }
    }

    fn commit(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    fn deaf_since(&self) -> Option<Instant> {
        None
    }

    fn reports_exit_when_deaf(&self, _: Tid) -> bool {
        false
    }

    fn blocked(&mut self, _task: Tid, _is_blocked: bool) {}

    fn idle(&mut self) -> Option<Duration> {
        self.source.idle();
        self.count();
        self.source.deadline().map(|at| at.saturating_duration_since(Instant::now()))
    }

    fn before_sleep(&mut self) {}

    fn after_sleep(&mut self, _other: BorrowedFd<'_>) {}
}
