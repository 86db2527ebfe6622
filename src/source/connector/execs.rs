//! The ends of the threads that an exec ended.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::event::{Event, Kind};
use crate::ids::Tid;

use super::Connector;
use super::notice::Notice;

/// How long the ends of the threads that an exec ended may follow it.
const EXIT_AFTER_EXEC: Duration = Duration::from_millis(20);

/// An exec that waits for them. The kernel reports the end of a thread a moment after it has let the exec
/// go on that waited for it, so that the exec may come first
/// (docs/kernel-facts.md#threads-that-an-exec-ended).
#[derive(Debug)]
pub struct Exec {
    event: Event,
    /// Threads whose ends are still to come; that of the one that made the exec never does.
    threads: Vec<Tid>,
    deadline: Instant,
    /// What came after it.
    behind: VecDeque<Notice>,
}

impl Exec {
    /// When it is reported at the latest.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Connector {
    /// Reports an exec of a watched process, now or when its other threads have ended.
    pub(super) fn begin_exec(&mut self, event: Event) {
        let threads = self.targets.other_threads(event.tgid);
        if threads.is_empty() {
            return self.deliver(event);
        }
        let deadline = Instant::now() + EXIT_AFTER_EXEC;
        self.exec = Some(Exec { event, threads, deadline, behind: VecDeque::new() });
    }

    /// Keeps a notice until the exec before it is reported; gives it back if it is not to be kept.
    pub(super) fn hold_behind_exec(&mut self, notice: Notice) -> Option<Notice> {
        let Some(exec) = &mut self.exec else { return Some(notice) };
        match notice {
            Notice::Event(event)
                if event.kind == Kind::ThreadExit && exec.threads.contains(&event.target) =>
            {
                exec.threads.retain(|tid| *tid != event.target);
                let is_complete = exec.threads.is_empty();
                self.handle(notice);
                if is_complete {
                    self.end_exec();
                }
            }
            _ => exec.behind.push_back(notice),
        }
        None
    }

    /// Reports an exec that has waited long enough.
    pub(super) fn end_exec_in_time(&mut self) {
        while self.exec.as_ref().is_some_and(|exec| exec.deadline <= Instant::now()) {
            self.end_exec();
        }
    }

    fn end_exec(&mut self) {
        let Some(exec) = self.exec.take() else { return };
        // The thread that made the exec has the process's id now, and its own is never reported.
        exec.threads.into_iter().for_each(|tid| self.targets.ended_unheard(tid));
        self.deliver(exec.event);
        exec.behind.into_iter().for_each(|notice| self.take(notice));
    }
}
