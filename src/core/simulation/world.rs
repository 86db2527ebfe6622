//! A toy kernel: tasks that live, watch and end at random, and the two queues that the core reads.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Weak;
use std::time::Duration;

use crate::event::{Event, Kind};
use crate::ids::{Instance, Stamp, Tgid, Tid, Uid};
use crate::node::Request;
use crate::source::Interest;

use super::model::{Model, Standing, Uids};
use super::parts::{Carrier, Doing, Item, OpenFile, Process, SourceSide, Task};
use super::tape::Tape;

/// The numbers that tasks can have, given out in turn: few, so that they are used again soon, and yet not before the
/// core can have heard of what their last owners did. The first is init's.
const NUMBERS: i32 = 40;

/// The same in some runs, where threads of one process come to have the same number.
const FEW_NUMBERS: i32 = 20;

/// How many tasks there are at most.
const MOST_TASKS: usize = 12;
pub const INIT: i32 = 1;

/// For how long an exec can be in doubt, in nanoseconds.
const DOUBT: u64 = 50_000_000;

/// Everything outside the core.
pub struct World {
    pub tape: Tape,
    pub carrier: Carrier,
    /// The source loses events now and then.
    pub lossy: bool,
    /// The highest number that a task can have.
    pub numbers: i32,
    /// Signals that a process's queue holds.
    pub room: usize,
    pub now: u64,
    pub tasks: BTreeMap<i32, Task>,
    pub processes: Vec<Process>,
    pub files: BTreeMap<u64, OpenFile>,
    pub requests: VecDeque<Request>,
    pub last_request: u64,
    last_number: i32,
    /// Numbers that threads left behind when an exec gave them that of their process, which is told here too, and the
    /// place of that exec among what the source makes. A new thread of the same process with such a number, before the
    /// core has heard of the exec, would pass for the old one: that takes 32,000 births within a millisecond or so, and
    /// is left out.
    pub left_by_exec: Vec<(i32, i32, u64)>,
    /// Whose ends the core wants to hear of, for as long as it holds the process.
    pub watched: Vec<(Weak<()>, usize, Instance)>,
    pub source: SourceSide,
    pub model: Model,
    /// The uid of the last event.
    pub events: u32,
    /// Steps that are left before everything comes to rest.
    pub steps_left: u32,
    pub steps: u64,
    /// How often the core has turned to this world since it was last about to sleep.
    pub looks: u32,
    /// Everybody is to end.
    pub ending: bool,
    /// Nothing happens any more unless the core does something.
    pub at_rest: bool,
    pub log: Vec<String>,
    pub fault: Option<String>,
}

impl World {
    pub fn new(mut tape: Tape, steps: u32) -> World {
        let carrier = if tape.choose(2) == 0 { Carrier::Fuse } else { Carrier::Cuse };
        let kind = tape.choose(4);
        let (lossy, numbers) = (kind == 3, if kind == 2 { FEW_NUMBERS } else { NUMBERS });
        let room = [1000, 5, 2][tape.choose(3)];
        let mut world = World {
            tape,
            carrier,
            lossy,
            numbers,
            room,
            now: 1_000_000_000,
            tasks: BTreeMap::new(),
            processes: Vec::new(),
            files: BTreeMap::new(),
            requests: VecDeque::new(),
            last_request: 0,
            last_number: INIT,
            left_by_exec: Vec::new(),
            watched: Vec::new(),
            source: SourceSide::default(),
            model: Model::default(),
            events: 0,
            steps_left: steps,
            steps: 0,
            looks: 0,
            ending: false,
            at_rest: false,
            log: vec![format!("{carrier:?}, room for {room} signals, lossy: {lossy}, {numbers} numbers")],
            fault: None,
        };
        world.process(INIT, Uids { real: 0, effective: 0, saved: 0 }, Vec::new());
        world
    }

    /// A new process with one thread.
    pub fn process(&mut self, tgid: i32, uids: Uids, table: Vec<Option<(u64, bool)>>) {
        let life = self.processes.len();
        for (file, _) in table.iter().flatten() {
            self.file(*file).in_tables += 1;
        }
        let (signals, dead, reaped, told, exec_at, threads) = (VecDeque::new(), false, false, false, 0, 0);
        self.processes.push(Process { tgid, uids, table, signals, dead, reaped, told, exec_at, threads });
        self.new_task(tgid, life);
    }

    /// A new thread of a process.
    pub fn new_task(&mut self, tid: i32, life: usize) {
        self.steps += 1;
        self.processes[life].threads += 1;
        let place = self.processes[life].threads % 15;
        self.tasks.insert(tid, Task::new(life, self.steps << 32, place));
    }

    /// The next number that is free.
    pub fn free_number(&mut self) -> Option<i32> {
        if self.tasks.len() >= MOST_TASKS {
            return None;
        }
        let after = self.last_number;
        let first = self.source.items.front().map(|(place, _)| *place);
        let unheard = first.into_iter().chain(self.source.in_hand).min().unwrap_or(u64::MAX);
        self.left_by_exec.retain(|(.., place)| *place >= unheard);
        let is_left = |number: &i32| self.left_by_exec.iter().any(|(left, ..)| left == number);
        let numbers =
            || (INIT..=self.numbers).filter(|number| !self.tasks.contains_key(number) && !is_left(number));
        let free = numbers().find(|number| *number > after).or_else(|| numbers().next())?;
        self.last_number = free;
        Some(free)
    }

    /// The number of a task that lives, or of one of the next.
    pub fn any_number(&mut self) -> i32 {
        let mut numbers: Vec<i32> = self.tasks.keys().copied().collect();
        numbers.extend((1..=3).map(|next| self.last_number % self.numbers + next));
        numbers[self.tape.choose(numbers.len())]
    }

    pub fn file(&mut self, file: u64) -> &mut OpenFile {
        self.files.entry(file).or_default()
    }

    pub fn task(&mut self, tid: i32) -> &mut Task {
        self.tasks.get_mut(&tid).expect("a task that acts is there")
    }

    pub fn owner(&mut self, tid: i32) -> &mut Process {
        let life = self.tasks[&tid].life;
        &mut self.processes[life]
    }

    /// The threads of a process that have not ended.
    pub fn threads(&self, life: usize) -> Vec<i32> {
        let of_process = self.tasks.iter().filter(|(_, task)| task.life == life && !task.has_ended());
        of_process.map(|(tid, _)| *tid).collect()
    }

    pub fn say(&mut self, line: String) {
        if self.log.len() < 100_000 {
            self.log.push(line);
        }
    }

    /// Keeps the first fault.
    pub fn judge(&mut self, verdict: Result<(), String>) {
        if let Err(fault) = verdict {
            self.say(format!("FAULT: {fault}"));
            self.fault.get_or_insert(fault);
        }
    }

    /// Lets the others go on for some steps, as they may at any time.
    pub fn others_run(&mut self) {
        while self.tape.once_in(4) && self.step() {}
    }

    /// One task does one thing; false if none can.
    pub fn step(&mut self) -> bool {
        let calm = self.steps_left == 0;
        let able: Vec<i32> = self.tasks.keys().copied().filter(|tid| self.is_able(*tid, calm)).collect();
        if able.is_empty() {
            return false;
        }
        let tid = able[self.tape.choose(able.len())];
        self.steps += 1;
        self.steps_left = self.steps_left.saturating_sub(1);
        self.now += 10_000;
        if self.tasks[&tid].has_ended() {
            self.reap(tid);
            return true;
        }
        self.task(tid).runs();
        match std::mem::replace(&mut self.task(tid).doing, Doing::Running) {
            Doing::Running => self.act(tid, calm),
            Doing::Answered { answer, call } => self.answered(tid, answer, call),
            Doing::Exec { keeps_files, sets_uid } => self.exec_alone(tid, keeps_files, sets_uid),
            Doing::Letting { files, after } => self.let_go(tid, files, after),
            Doing::Asking { .. } | Doing::Zombie => unreachable!("it cannot run"),
        }
        true
    }

    fn is_able(&self, tid: i32, calm: bool) -> bool {
        let task = &self.tasks[&tid];
        match task.doing {
            Doing::Running if self.ending && tid == INIT => {
                self.processes[task.life].table.iter().any(Option::is_some)
            }
            Doing::Running => !calm || task.doomed || !task.asleep || self.has_signals(task.life),
            Doing::Answered { .. } | Doing::Letting { .. } => true,
            Doing::Exec { .. } => task.doomed || self.threads(task.life).len() == 1,
            Doing::Asking { .. } => false,
            Doing::Zombie => !calm && self.processes[task.life].dead,
        }
    }

    pub fn has_signals(&self, life: usize) -> bool {
        !self.processes[life].signals.is_empty()
    }

    /// The number of a process that has ended becomes free.
    fn reap(&mut self, tid: i32) {
        self.owner(tid).reaped = true;
        self.tasks.remove(&tid);
        self.say(format!("{tid} is reaped"));
    }

    /// A task does something that events are made of.
    pub fn happens(&mut self, kind: Kind, target: i32, subject: i32) {
        // Not a uid that the task has, but one that tells this event from all others.
        self.events += 1;
        let uid = self.events;
        let tgid = Tgid(self.processes[self.tasks[&target].life].tgid);
        self.say(format!("{target} {kind:?} of {subject}"));
        if kind == Kind::ProcessExec {
            self.owner(target).exec_at = self.now;
        }
        let World { model, files, processes, .. } = self;
        let standing = |file: u64| standing(files, file);
        model.event((kind, target, subject, uid), standing, |life| processes[life].uids);
        let at = Stamp(self.now);
        let mut event = Event {
            kind,
            target: Tid(target),
            subject: Tid(subject),
            tgid,
            uid: Some(Uid(uid)),
            status: None,
            at,
        };
        let is_end = matches!(kind, Kind::ThreadExit | Kind::ProcessExec);
        let watched = |interest| self.source.committed.contains_key(&(target, interest));
        if !watched(Interest::Events) {
            if watched(Interest::End) && is_end {
                event.uid = None;
            } else if !self.tape.once_in(8) {
                return;
            }
        }
        self.source.made += 1;
        let item = if self.lossy && self.tape.once_in(8) {
            self.say("... which is lost, and the source says so".into());
            self.model.is_lost(uid);
            Item::Lost
        } else {
            Item::Event(event)
        };
        self.source.items.push_back((self.source.made, item));
    }

    /// A close, exec or exit of this task is over.
    pub fn close_returns(&mut self, tid: i32) {
        // Over CUSE a close right after the exec of a process that watches itself looks like the exec's own close
        // (docs/faults.md).
        let (now, carrier, processes) = (self.now, self.carrier, &self.processes);
        let is_doubtful = |life: usize| carrier == Carrier::Cuse && now < processes[life].exec_at + DOUBT;
        let verdict = self.model.close_returns(tid, is_doubtful);
        self.judge(verdict);
    }

    /// The time goes by.
    pub fn pass(&mut self, time: Duration) {
        self.now += time.as_nanos() as u64;
    }

    /// The watched processes that have ended.
    pub fn exited(&self) -> Vec<Instance> {
        let held = self.watched.iter().filter(|(token, ..)| token.strong_count() > 0);
        held.filter(|(_, life, _)| self.processes[*life].dead).map(|(.., instance)| *instance).collect()
    }

    /// True if something waits for the core.
    pub fn calls_the_core(&self) -> bool {
        !self.requests.is_empty() || !self.source.items.is_empty() || !self.exited().is_empty()
    }
}

/// How an open file stands.
pub fn standing(files: &BTreeMap<u64, OpenFile>, file: u64) -> Standing {
    let is_open = files.get(&file).is_some_and(|file| file.in_tables > 0);
    if is_open { Standing::Open } else { Standing::Closing }
}
