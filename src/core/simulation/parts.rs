//! What the toy kernel is made of: tasks, processes, open files, and what the source has to tell.

use std::collections::{BTreeMap, VecDeque};

use crate::event::Event;
use crate::node::Answer;
use crate::source::Interest;
use crate::sys::pidfd::QueuedSignal;

use super::model::Uids;

/// How the device is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Each close is reported and waits; the release that may follow does not.
    Fuse,
    /// Only the last close is reported, and waits.
    Cuse,
}

/// What a task is in the middle of.
#[derive(Clone, Debug)]
pub enum Doing {
    /// Its program.
    Running,
    /// A system call that the core answers.
    Asking { request: u64, call: Call },
    /// It has the answer, and has not run since.
    Answered { answer: Answer, call: Call },
    /// An exec that waits for the other threads to end.
    Exec { keeps_files: bool, sets_uid: bool },
    /// It lets go of files that it has closed.
    Letting { files: Vec<u64>, after: After },
    /// It has ended, and its number is taken.
    Zombie,
}

/// A call that waits for the core.
#[derive(Clone, Debug)]
pub enum Call {
    Open,
    Ioctl {
        file: u64,
    },
    /// One of several closes.
    Close {
        closed: u64,
        left: Vec<u64>,
        files: Vec<u64>,
        after: After,
    },
    /// The last close, where the core answers it.
    Release {
        file: u64,
        files: Vec<u64>,
        after: After,
    },
}

/// What comes after the closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Return,
    Exec,
    Exit,
}

/// A task.
#[derive(Debug)]
pub struct Task {
    pub life: usize,
    pub doing: Doing,
    pub asleep: bool,
    /// It has had no processor since it last slept.
    pub off: bool,
    pub run_time: u64,
    pub turns: u64,
    /// It has been killed.
    pub doomed: bool,
    /// Tells it from other threads of its process.
    pub place: i32,
}

impl Task {
    /// `turns` are like no other task's: that a number comes back while a closer with as many is looked for, as it
    /// easily would here, takes 32,000 forks in the tenth of a second between two looks.
    pub fn new(life: usize, turns: u64, place: i32) -> Task {
        Task {
            life,
            doing: Doing::Running,
            asleep: false,
            off: true,
            run_time: 0,
            turns,
            doomed: false,
            place,
        }
    }

    pub fn ask(&mut self, request: u64, call: Call) {
        self.doing = Doing::Asking { request, call };
        self.sleep();
    }

    pub fn sleep(&mut self) {
        self.asleep = true;
        self.off = true;
    }

    pub fn runs(&mut self) {
        self.turns += u64::from(self.off);
        (self.off, self.asleep) = (false, false);
        self.run_time += 1000;
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.doing, Doing::Zombie)
    }
}

/// A process: one life of one number.
#[derive(Debug)]
pub struct Process {
    pub tgid: i32,
    pub uids: Uids,
    /// Its table of descriptors: the open file, and whether an exec closes it.
    pub table: Vec<Option<(u64, bool)>>,
    pub signals: VecDeque<QueuedSignal>,
    /// All its threads have ended.
    pub dead: bool,
    /// Nobody has its number any more.
    pub reaped: bool,
    /// The end of its main thread has been told.
    pub told: bool,
    /// When it last began another program.
    pub exec_at: u64,
    /// How many threads it has had.
    pub threads: i32,
}

/// An open file: how many have it, and in what way.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenFile {
    pub in_tables: usize,
    pub closing: usize,
    pub in_calls: usize,
}

/// The source's side: what it has to tell, and whom it watches.
#[derive(Debug, Default)]
pub struct SourceSide {
    pub watched: BTreeMap<(i32, Interest), u32>,
    pub committed: BTreeMap<(i32, Interest), u32>,
    pub items: VecDeque<(u64, Item)>,
    pub made: u64,
    /// It has more to tell, but not yet.
    pub late: bool,
    /// The place of the item that the core has in hand.
    pub in_hand: Option<u64>,
}

/// What the source tells.
#[derive(Clone, Copy, Debug)]
pub enum Item {
    Event(Event),
    Lost,
}
