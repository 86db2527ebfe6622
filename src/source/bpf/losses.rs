//! What was lost because the ring was full, found out from the words.
//!
//! A program that has no room for a record sets a bit in the word concerned, and then counts. So an exit
//! and an exec of each number is found out; of births, and of what came twice between two looks, only the
//! count is known.

use std::fs::File;
use std::io::{Read, Seek};
use std::mem;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::event::Kind;
use crate::ids::{Tid, Uid};
use crate::sys::bpf_memory::MappedWords;
use crate::sys::procfs;

use super::event::{Input, LostKind, TaskEvent};
use super::intake::unrecorded;
use super::load::{CAUGHT, LOST_KINDS};
use super::words::{MOST_PIDS, bit};
use super::{BpfSource, Out, exits};

/// The kinds in the order of `enum lost`. The last, births that concern the new task's own number, are
/// nobody's events.
const KINDS: [Option<LostKind>; LOST_KINDS] = [
    Some(LostKind::Forks),
    Some(LostKind::ThreadCreates),
    Some(LostKind::Execs),
    Some(LostKind::Exits),
    Some(LostKind::ThreadExits),
    None,
];
/// In /proc/self/fdinfo of a program: how often it did not run, since it was running on the processor.
const SKIPPED: &str = "recursion_misses:";

/// To ask for that takes some microseconds.
const ASK_AGAIN: Duration = Duration::from_secs(1);

const EXECS: usize = 2;
const EXITS: usize = 3;
const THREAD_EXITS: usize = 4;

/// What is known of the counts of lost records.
#[derive(Debug, Default)]
pub(super) struct Losses {
    seen: [u32; LOST_KINDS],
    /// Lost and not found out; negative while a bit was found before its count.
    open: [i64; LOST_KINDS],
    skips: Skips,
    /// When that was last asked.
    asked: Option<Instant>,
}

impl Losses {
    /// True if there are more than before.
    pub fn any(&self, state: &MappedWords) -> bool {
        counts(state) != self.seen
    }

    /// Has the next look at the ring ask whether programs were skipped.
    pub fn ask_at_once(&mut self) {
        self.asked = None;
    }

    /// When to ask again whether programs were skipped.
    pub fn next_count(&self) -> Option<Instant> {
        self.asked.map(|asked| asked + ASK_AGAIN)
    }

    /// Takes note of the counts, and tells how many are new.
    fn count(&mut self, state: &MappedWords) -> u64 {
        let now = counts(state);
        let mut all = 0;
        for ((now, seen), open) in now.iter().zip(&mut self.seen).zip(&mut self.open) {
            let new = now.wrapping_sub(*seen);
            *seen = *now;
            *open += i64::from(new);
            all += u64::from(new);
        }
        all
    }
}

/// Events at which the kernel did not run a program, since it was running on that processor.
#[derive(Debug, Default)]
struct Skips {
    /// At which it did not run the first one, as of the last time that it was asked.
    of_first: u64,
    /// Of these, at which it ran a copy. The programs count that in 32 bits, of which these are the last.
    caught: u64,
    last_caught: u32,
    /// Those that are known to be missing.
    missing: u64,
}

impl Skips {
    /// Takes note of both counts as they are now. How many events are known to be missing since.
    ///
    /// With copies an event counts only if it was skipped before the last time: its copies may be about to run.
    fn count(&mut self, of_first: u64, caught: u32, copies: bool) -> u64 {
        let before = mem::replace(&mut self.of_first, of_first);
        self.caught += u64::from(caught.wrapping_sub(self.last_caught));
        self.last_caught = caught;
        let missing = if copies { before } else { of_first }.saturating_sub(self.caught);
        let new = missing.saturating_sub(self.missing);
        self.missing += new;
        new
    }
}

fn counts(state: &MappedWords) -> [u32; LOST_KINDS] {
    std::array::from_fn(|at| state.get(at).map_or(0, |count| count.load(Ordering::SeqCst)))
}

/// How many numbers tasks may have, which root may change at any time.
#[derive(Debug)]
pub(super) struct PidMax(Option<File>);

impl PidMax {
    /// Opened once: the daemon's view of /proc has no such file later.
    pub fn open() -> PidMax {
        PidMax(File::open("/proc/sys/kernel/pid_max").ok())
    }

    /// The number by now.
    pub fn read(&mut self) -> i32 {
        let mut text = String::new();
        let read = self.0.as_mut().and_then(|file| {
            file.rewind().ok()?;
            file.read_to_string(&mut text).ok()
        });
        read.and_then(|_| text.trim().parse().ok()).unwrap_or(MOST_PIDS.get() as i32)
    }
}

impl BpfSource {
    /// If records were lost: delivers what they told, as far as the words know.
    pub(super) fn recover(&mut self) {
        if !self.losses.any(&self.loaded.state) {
            return;
        }
        // What is in the ring came before.
        self.read_until(self.loaded.ring.written(), usize::MAX);
        self.counters.overflows += 1;
        self.counters.lost += self.losses.count(&self.loaded.state);
        // It may have been lowered since some got their numbers.
        self.highest = self.highest.max(self.pid_max.read());
        for number in 1..self.highest {
            let tid = Tid(number);
            if self.loaded.words.load(tid) & bit::LOST != 0 {
                let word = self.loaded.words.clear(tid, bit::LOST);
                let uid = procfs::real_uid(number).map(Uid);
                // Last: until then the number had no other owner.
                let uid = uid.filter(|_| (self.loaded.words.load(tid) ^ word) & bit::EXITING == 0);
                self.recover_one(tid, word, uid);
            }
        }
        for (kind, open) in KINDS.iter().zip(&mut self.losses.open) {
            let count = u64::try_from(*open).unwrap_or(0);
            *open = (*open).min(0);
            if let Some(kind) = kind.filter(|_| count > 0) {
                self.to_search |= matches!(kind, LostKind::Forks | LostKind::ThreadCreates);
                self.out.push_back(Out::Input(Input::Lost { kind, count }));
            }
        }
    }

    /// If the kernel has skipped programs (docs/kernel-facts.md#skipped-programs): what they would have
    /// reported is not known.
    pub(super) fn notice_skipped(&mut self) {
        let now = Instant::now();
        if self.losses.next_count().is_some_and(|next| now < next) {
            return;
        }
        self.losses.asked = Some(now);
        let caught = self.loaded.state.get(CAUGHT).map_or(0, |count| count.load(Ordering::SeqCst));
        let of_first = self.loaded.first.iter().filter_map(|program| procfs::fdinfo(program, SKIPPED)).sum();
        let count = self.losses.skips.count(of_first, caught, self.options.copies);
        if count > 0 {
            self.counters.skipped += count;
            self.to_search = true;
            self.out.push_back(Out::Input(Input::Lost { kind: LostKind::Unknown, count }));
        }
    }

    /// Delivers what was lost of this number's owner, as its word knows. `uid` is that of the task that has the number.
    pub(super) fn recover_one(&mut self, tid: Tid, word: u32, uid: Option<Uid>) {
        let followed = word & bit::FOLLOW != 0;
        // Who has not begun to exit has the number from the one that has.
        let uid_at_exit = uid.filter(|_| word & bit::EXITING != 0);
        if word & bit::LOST_BIRTH != 0 && word & bit::EXITING == 0 {
            self.end_wait(tid);
        }
        if word & bit::LOST_EXEC != 0 {
            self.recovered(EXECS, TaskEvent { uid, ..unrecorded(Kind::ProcessExec, tid, followed) });
        }
        if word & bit::LOST_THREAD_EXIT != 0 {
            let exit = unrecorded(Kind::ThreadExit, tid, followed);
            self.recovered(THREAD_EXITS, TaskEvent { tgid: None, uid: uid_at_exit, ..exit });
        }
        if word & bit::LOST_EXIT != 0 {
            let exit = TaskEvent { uid: uid_at_exit, ..unrecorded(Kind::ProcessExit, tid, followed) };
            let is_last_owners = word & bit::EXITING != 0 && self.exits.held(tid).is_none();
            if is_last_owners && word & bit::HOLD != 0 && exits::is_exiting(tid) {
                self.counters.exits_recovered += 1;
                self.losses.open[EXITS] -= 1;
                self.hold(exit, word & bit::PIDFD != 0);
            } else {
                self.exits.disarm(&self.loaded.words, tid);
                self.recovered(EXITS, exit);
            }
        }
    }

    fn recovered(&mut self, kind: usize, event: TaskEvent) {
        if kind == EXECS {
            self.counters.execs_recovered += 1;
        } else {
            self.counters.exits_recovered += 1;
        }
        self.losses.open[kind] -= 1;
        self.deliver(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_missing_if_no_copy_has_seen_it() {
        let mut skips = Skips::default();
        assert_eq!(
            [(0, 0), (3, 1), (4, 3), (4, 3), (9, 3)].map(|(all, caught)| skips.count(all, caught, true)),
            [0, 0, 0, 1, 0]
        );
        assert_eq!(skips.count(9, 3, true), 5);
        assert_eq!(skips.count(9, 3, true), 0);
        let mut skips = Skips { last_caught: u32::MAX, ..Skips::default() };
        assert_eq!(skips.count(2, 1, true), 0, "the count of the programs begins anew");
        assert_eq!(skips.count(2, 1, true), 0);
        assert_eq!(Skips::default().count(2, 0, false), 2);
    }

    #[test]
    fn the_largest_number_of_tasks_is_known_also_without_the_file() {
        let text = std::fs::read_to_string("/proc/sys/kernel/pid_max").expect("/proc is mounted");
        let mut opened = PidMax::open();
        for _ in 0..2 {
            assert_eq!(opened.read(), text.trim().parse::<i32>().expect("a number"));
        }
        assert_eq!(PidMax(None).read(), 4 << 20);
    }
}
