//! Following trees of tasks, also such that are there already.
//!
//! A new task is followed because its creator is. The members that a tree has when somebody begins to follow
//! it are searched, in passes over all tasks until one finds nobody new; and while that lasts, the programs
//! see to it that nobody slips through by a birth, or by the end of a parent (`../programs/follow.h`).

use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering;

use crate::ids::Tid;
use crate::remedy;

use super::event::{Input, Member, StartTime};
use super::words::bit;
use super::{BpfSource, Out, load};

/// Why a tree cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The source was made without [`Options::follow`](super::Options::follow).
    #[error("the BPF programs were loaded without those that follow: report this, please")]
    NotLoaded,
    /// Nobody has the number, or its owner is exiting.
    #[error("there is no process {0}: choose one that is there")]
    NoProcess(Tid),
    /// The iterator failed.
    #[error("cannot look for the tasks of a tree by BPF_ITER_CREATE: {}: {}", .0, remedy::of(.0))]
    Iterator(io::Error),
}

impl BpfSource {
    /// All events of the process are wanted, and of all its descendants, those that there are and those to
    /// come. Each that is there is delivered as [`Input::Member`] before any event of its own.
    pub fn follow(&mut self, process: Tid) -> Result<(), FollowError> {
        if self.loaded.members.is_none() {
            return Err(FollowError::NotLoaded);
        }
        let first = self.out.len();
        let result = self.search(Some(process));
        let found = self
            .out
            .range(first..)
            .any(|out| matches!(out, Out::Input(Input::Member(member)) if member.tid == process));
        result.and(if found { Ok(()) } else { Err(FollowError::NoProcess(process)) })
    }

    /// Events of this task are not wanted any more, unless they are watched; its descendants stay followed.
    pub fn unfollow(&mut self, tid: Tid) {
        self.loaded.words.clear(tid, bit::FOLLOW | bit::KNOWN);
    }

    /// Looks for living members whose births were lost.
    pub(super) fn search_again(&mut self) {
        if self.loaded.members.is_some() {
            // What cannot be found now may be seen at its next event.
            let _ = self.search(None);
        }
    }

    fn search(&mut self, process: Option<Tid>) -> Result<(), FollowError> {
        self.set_scanning(true);
        let result = self.find_members(process);
        self.set_scanning(false);
        self.read_until(self.loaded.ring.written(), usize::MAX);
        result
    }

    fn find_members(&mut self, process: Option<Tid>) -> Result<(), FollowError> {
        loop {
            let before = self.members();
            // In each pass: a task that can be seen may not have had its birth, which takes it away.
            if let Some(process) = process
                && self.loaded.words.set(process, bit::FOLLOW) & bit::EXITING != 0
            {
                self.unfollow(process);
                return Ok(());
            }
            if let Some(iterator) = &self.loaded.members {
                iterator.run().map_err(FollowError::Iterator)?;
            }
            self.read_until(self.loaded.ring.written(), usize::MAX);
            if self.members() == before {
                return Ok(());
            }
        }
    }

    /// How many members have been found since the start.
    fn members(&self) -> u32 {
        self.loaded.state.get(load::MEMBERS).map_or(0, |count| count.load(Ordering::SeqCst))
    }

    fn set_scanning(&self, on: bool) {
        if let Some(scanning) = self.loaded.state.get(load::SCANNING) {
            scanning.store(on.into(), Ordering::SeqCst);
        }
    }
}

/// Members that were found, until their births are told of, or their ends.
#[derive(Debug, Default)]
pub(super) struct Found(HashMap<Tid, StartTime>);

impl Found {
    /// A member was found. False: not for the first time.
    pub fn is_new(&mut self, member: &Member) -> bool {
        self.0.insert(member.tid, member.start) != Some(member.start)
    }

    /// A birth is told of. True: of a task that was found before. The kernel shows a task some moments before it runs
    /// the program that tells of the birth; more, if another task has the processor then.
    pub fn takes_birth(&mut self, task: Tid, start: StartTime) -> bool {
        self.0.remove(&task) == Some(start)
    }

    /// An end is told of.
    pub fn takes_end(&mut self, task: Tid) {
        self.0.remove(&task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Stamp, Tgid, Uid};

    #[test]
    fn a_task_is_told_of_once_whether_it_is_found_or_born() {
        let (tid, start) = (Tid(7), StartTime(1));
        let later = StartTime(2);
        let member = |start| Member { tid, tgid: Tgid(7), parent: Tgid(1), uid: Uid(0), start, at: Stamp(0) };
        let mut found = Found::default();
        assert!(!found.takes_birth(tid, start), "nobody has found it");
        assert!(found.is_new(&member(start)) && !found.is_new(&member(start)));
        assert!(found.takes_birth(tid, start) && !found.takes_birth(tid, start));
        assert!(found.is_new(&member(start)));
        assert!(!found.takes_birth(tid, later), "the number has another owner");
        assert!(found.is_new(&member(later)));
        found.takes_end(tid);
        assert!(!found.takes_birth(tid, later) && found.0.is_empty());
    }
}
