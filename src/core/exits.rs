//! The ends of processes, which the kernel lets others see a moment before it reports them.

use std::time::{Duration, Instant};

use crate::event::Kind;
use crate::ids::{Tgid, Tid};
use crate::node::Node;
use crate::source::Source;
use crate::targets::Missed;

use super::{Core, CoreError, readable, wait};

/// How long an exit that is due may take to be heard of; it took at most 15 µs (event-sources fact (e)).
pub(super) const DUE_EXIT: Duration = Duration::from_millis(20);

/// How long such an exit is looked for without sleeping: to sleep and wake costs more.
const SPIN: Duration = Duration::from_micros(20);

/// How long an exit that has begun is awaited awake. One that takes longer has much memory to give back, in
/// comparison with which the time to wake is small.
const LONGEST: Duration = Duration::from_micros(400);

impl<N: Node, S: Source> Core<N, S> {
    /// A target has begun to exit, on another processor: stays awake until it has ended, or there is
    /// something else to do, which it may be waiting for.
    pub(super) fn await_exit(&mut self, target: Tid) -> Result<(), CoreError> {
        let Some(exit) = self.targets.exit_fd(target) else { return Ok(()) };
        let news = [Some(exit), self.source.poll_fd(), Some(self.node.poll_fd())];
        let mut news: Vec<_> = news.into_iter().flatten().map(readable).collect();
        let (begin, mut awaited) = (Instant::now(), false);
        while !wait(&mut news, Some(Duration::ZERO))? && begin.elapsed() < LONGEST {
            awaited = true;
        }
        if news[0].any() != Some(true) {
            return Ok(());
        }
        if awaited {
            self.observer.counters.exits_awaited.add();
        }
        self.hear_exits(&[target])
    }

    /// Sees to the exits of targets that have ended and are not heard of yet. False if there were none.
    pub(super) fn hear_due_exits(&mut self) -> Result<bool, CoreError> {
        let due = self.targets.due();
        if !due.is_empty() {
            self.hear_exits(&due)?;
        }
        Ok(!due.is_empty())
    }

    /// Tells of targets that have ended, once all is told that they did before. Then waits a moment until
    /// their exits are heard of too: one that does not come was lost.
    fn hear_exits(&mut self, due: &[Tid]) -> Result<(), CoreError> {
        let begin = Instant::now();
        self.drain_queue()?;
        // Whether a signal ended them, only the source can tell.
        if !self.options.abort_events {
            due.iter().try_for_each(|target| self.tell_due_exit(*target))?;
        }
        for target in due {
            while self.targets.exit_is_unheard(*target) {
                let waited = begin.elapsed();
                if waited < SPIN {
                    std::hint::spin_loop();
                } else {
                    self.wait_for_source(DUE_EXIT.saturating_sub(waited))?;
                }
                self.drain_queue()?;
                if waited >= DUE_EXIT && self.targets.exit_is_unheard(*target) {
                    self.tell_due_exit(*target)?;
                    self.targets.told_instead(*target);
                    self.observer.counters.exits_recovered.add();
                    self.source.doubt();
                    break;
                }
            }
        }
        Ok(())
    }

    fn tell_due_exit(&mut self, target: Tid) -> Result<(), CoreError> {
        if !self.targets.exit_is_due(target) {
            return Ok(());
        }
        self.tell_unheard(Missed { kind: Kind::ProcessExit, target, tgid: Tgid(target.0) })?;
        self.targets.told_ahead(target);
        Ok(())
    }
}
