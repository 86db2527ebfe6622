//! Between who reads the source and who takes the records: a queue that holds so many bytes. What finds no room is
//! counted by kind, and said at its place when there is room again.

use std::collections::BTreeSet;
use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use jiff::Timestamp;

use crate::ids::Stamp;
use crate::records::{Kind, Process, Record, Totals, VERSION, What};
use crate::sys::clock::{monotonic_ns, realtime_and_boottime_offsets};

/// A queue with room for all, until it is [limited](Entrance::limit).
pub fn queue() -> (Entrance, Exit) {
    let (to, from) = unbounded();
    let used = Arc::new(AtomicUsize::new(0));
    let entrance = Entrance {
        to,
        used: Arc::clone(&used),
        room: usize::MAX,
        seq: 0,
        totals: Totals::default(),
        missing: 0,
        kinds: BTreeSet::new(),
        realtime: realtime_and_boottime_offsets().0,
    };
    (entrance, Exit { from, used })
}

/// Where records are put.
#[derive(Debug)]
pub struct Entrance {
    to: Sender<Record>,
    used: Arc<AtomicUsize>,
    room: usize,
    seq: u64,
    totals: Totals,
    /// Records that found no room, and their kinds.
    missing: u64,
    kinds: BTreeSet<Kind>,
    /// What to add to a stamp for the time of the wall clock.
    realtime: i64,
}

/// Where records are taken.
#[derive(Debug)]
pub struct Exit {
    from: Receiver<Record>,
    used: Arc<AtomicUsize>,
}

impl Entrance {
    /// Puts a record, if there is room.
    pub fn put(&mut self, at: Stamp, what: What) {
        self.say_missing();
        if self.missing == 0 && self.has_room() {
            self.add(at, what);
        } else {
            self.miss(&what);
        }
    }

    /// Puts the last record, room or not.
    pub fn end(&mut self) {
        let now = Stamp(monotonic_ns());
        if self.missing > 0 {
            self.add_missing(now);
        }
        let totals = self.totals;
        self.add(now, What::End { totals });
    }

    /// From now on there is room for so many bytes.
    pub fn limit(&mut self, room: usize) {
        self.room = room;
    }

    /// Says what found no room, if there is some again. True if there still is none.
    pub fn say_missing(&mut self) -> bool {
        if self.missing > 0 && self.used.load(Ordering::Relaxed) <= self.room / 2 {
            self.add_missing(Stamp(monotonic_ns()));
        }
        self.missing > 0
    }

    /// The wall clock may have been set.
    pub fn read_clock(&mut self) {
        self.realtime = realtime_and_boottime_offsets().0;
    }

    fn has_room(&self) -> bool {
        self.used.load(Ordering::Relaxed) <= self.room
    }

    fn miss(&mut self, what: &What) {
        self.seq += 1;
        let (count, kind) = match what {
            What::Seen { .. } => (1, Kind::Seen),
            What::Fork { .. } => (1, Kind::Fork),
            What::Exec { .. } => (1, Kind::Exec),
            What::Exit { .. } => (1, Kind::Exit),
            What::ThreadCreate { .. } => (1, Kind::ThreadCreate),
            What::ThreadExit { .. } => (1, Kind::ThreadExit),
            What::Lost { count, kinds, .. } => {
                self.kinds.extend(kinds);
                (count.unwrap_or(1), Kind::Unknown)
            }
            What::Ready { .. } | What::End { .. } => (1, Kind::Unknown),
        };
        self.missing += count;
        self.kinds.insert(kind);
    }

    fn add_missing(&mut self, at: Stamp) {
        let kinds = std::mem::take(&mut self.kinds).into_iter().collect();
        let count = Some(std::mem::take(&mut self.missing));
        self.add(at, What::Lost { count, kinds, recovered: 0, complete: false });
    }

    fn add(&mut self, at: Stamp, what: What) {
        self.totals.add(&what);
        let time = i128::from(at.0) + i128::from(self.realtime);
        let time = Timestamp::from_nanosecond(time).unwrap_or_default();
        let record = Record { v: VERSION, seq: self.seq, time, mono_ns: at.0, what };
        self.seq += 1;
        self.used.fetch_add(size(&record.what), Ordering::Relaxed);
        // Who took them may be gone, which the poll of its output tells.
        let _ = self.to.send(record);
    }
}

impl Exit {
    /// The next record, which is waited for. `None`: there are no more.
    pub fn take(&mut self) -> Option<Record> {
        let record = self.from.recv().ok()?;
        self.used.fetch_sub(size(&record.what), Ordering::Relaxed);
        Some(record)
    }

    /// True if no record waits.
    pub fn is_empty(&self) -> bool {
        self.from.is_empty()
    }
}

/// Bytes that a record takes, about.
fn size(what: &What) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let list = |list: &Option<Vec<String>>| {
        let texts = list.iter().flatten().map(|text| size_of::<String>() + text.len());
        texts.sum::<usize>()
    };
    let process = |process: &Process| {
        [&process.entity_id, &process.comm, &process.executable, &process.cgroup]
            .map(text)
            .iter()
            .sum::<usize>()
            + list(&process.args)
            + list(&process.args_b64)
    };
    size_of::<Record>() + what.process().map_or(0, process)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fork() -> What {
        What::Fork { process: Process::default(), creator_tid: None }
    }

    #[test]
    fn what_finds_no_room_is_said_at_its_place_and_counted() {
        let (mut entrance, mut exit) = queue();
        entrance.limit(10 * size(&fork()));
        (0..20).for_each(|_| entrance.put(Stamp(1), fork()));
        entrance.put(Stamp(1), What::Exec { process: Process::default(), creator_tid: None });
        let taken: Vec<Record> = (0..11).filter_map(|_| exit.take()).collect();
        assert!(exit.is_empty(), "the others found no room");
        entrance.put(Stamp(2), fork());
        entrance.end();
        drop(entrance);
        let mut rest = Vec::from_iter(std::iter::from_fn(|| exit.take()));
        assert!(taken.iter().map(|record| record.seq).eq(0..11));
        let end = rest.pop().expect("the end");
        let totals = Totals { fork: 12, lost: 10, ..Totals::default() };
        assert_eq!((end.seq, end.what), (23, What::End { totals }));
        let kinds = vec![Kind::Fork, Kind::Exec];
        let lost = What::Lost { count: Some(10), kinds, recovered: 0, complete: false };
        assert_eq!((rest[0].seq, &rest[0].what), (21, &lost));
        assert_eq!((rest[1].seq, rest.len()), (22, 2));
    }

    #[test]
    fn a_stamp_is_a_time_of_the_wall_clock() {
        let (mut entrance, mut exit) = queue();
        entrance.put(Stamp(monotonic_ns()), fork());
        let record = exit.take().expect("a record");
        let away = Timestamp::now().as_nanosecond() - record.time.as_nanosecond();
        assert!((0..60_000_000_000).contains(&away), "{away} ns");
    }
}
