//! The source in the kernel: BPF programs at the births, execs and exits of all tasks.
//!
//! A **word** of each task id tells the programs what is wanted of the task. User space changes it in
//! memory that both share, so that to watch one more takes no system call, and tasks that nobody asked
//! for cost a look at their word and wake nobody. What is wanted comes through a **ring** as a record.
//! Both sides change words by atomic operations only: of an exit and a request to watch it exactly one
//! sees the other.
//!
//! What comes out are clean events: each once, with its uid, life and status, a task's events after its
//! birth; an exit when the process is dead ([`exits`]). Where the ring was full, the words know what was
//! lost ([`losses`]).

mod arguments;
mod clean;
mod event;
mod exits;
mod follow;
mod intake;
mod load;
mod losses;
mod record;
mod refusal;
mod words;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::abi::EventMask;
use crate::ids::Tid;
use crate::sys::bpf_memory::page_size;
use crate::sys::kernel::{Kernel, Version};

pub use arguments::ExecArguments;
pub use clean::BpfEvents;
pub use event::{Input, LostKind, Member, StartTime, TaskEvent, Usage};
pub use follow::FollowError;
pub(in crate::source) use load::map;
pub use refusal::Refusal;
pub(in crate::source) use words::MOST_PIDS;

use arguments::Arguments;
use exits::Exits;
use follow::Found;
use load::Loaded;
use losses::{Losses, PidMax};
use record::Record;
use words::bit;

/// Records that are read before the pidfds are looked at.
const BATCH: usize = 256;

/// What is watched for less time, or exits within it, gets no pidfd in advance.
const ARM_AFTER: Duration = Duration::from_millis(1);

/// Pidfds that one call of [`BpfSource::idle`] opens.
const ARMED_AT_ONCE: usize = 64;

/// What the owner may choose.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of the ring, which is made a power of two of pages; a record takes 72.
    pub ring: u32,
    /// That trees can be followed ([`BpfSource::follow`]), which takes Linux 5.17.
    pub follow: bool,
    /// That copies of the programs are attached, which see what a program misses while it is preempted.
    pub copies: bool,
    /// Bytes of the ring of arguments ([`BpfSource::take_arguments`]); 0: they are not wanted.
    pub arguments: u32,
}

impl Default for Options {
    fn default() -> Options {
        let copies = Kernel::running().version >= Version::PREEMPTIBLE_TRACEPOINTS;
        Options { ring: 4 << 20, follow: false, copies, arguments: 0 }
    }
}

/// A place in the stream of events: all that happened before [`BpfSource::mark`] was called lies before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// What the source has seen and done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records that were read.
    pub records: u64,
    /// Records that were found half-written, and waited for.
    pub waits: u64,
    /// Exits that were kept back until the process was dead.
    pub exits_held: u64,
    /// Such ones that had begun before they were watched.
    pub exits_late: u64,
    /// Such ones that were reported because all threads were found dead, with no word of the pidfd.
    pub exits_by_look: u64,
    /// Times that records were found to be lost.
    pub overflows: u64,
    /// Records that the ring had no room for.
    pub lost: u64,
    /// Exits that were found out without their record.
    pub exits_recovered: u64,
    /// Execs likewise.
    pub execs_recovered: u64,
    /// Watched processes without a pidfd, for want of descriptors.
    pub unarmed: u64,
    /// Times that the kernel did not run a program of ours.
    pub skipped: u64,
}

#[derive(Debug)]
enum Out {
    Input(Input),
    Passed(Mark),
}

/// The programs at work. All its methods belong to one thread, and none waits.
#[derive(Debug)]
pub struct BpfSource {
    options: Options,
    loaded: Loaded,
    exits: Exits,
    losses: Losses,
    arguments: Option<Arguments>,
    /// Births were lost, and living members of followed trees with them.
    to_search: bool,
    found: Found,
    /// The highest number that a task may have, and one more.
    highest: i32,
    pid_max: PidMax,
    page: u64,
    out: VecDeque<Out>,
    /// Marks that are not passed, with their places in the ring.
    marks: VecDeque<(Mark, u64)>,
    made: Mark,
    passed: Mark,
    /// From when on to open a pidfd of which process.
    to_arm: VecDeque<(Instant, Tid)>,
    counters: Counters,
}

impl BpfSource {
    /// Loads the programs; nothing is watched. It takes CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN; later
    /// calls take no capability for bpf(2), and make no such call. CAP_SYS_PTRACE for /proc.
    pub fn new(options: Options) -> Result<BpfSource, Refusal> {
        let page = page_size().map_err(Refusal::io("ask for the size of a page"))?;
        let mut loaded = Loaded::new(options)?;
        let mut pid_max = PidMax::open();
        let exits = Exits::new(loaded.ring.as_fd()).map_err(Refusal::io("poll the BPF ring buffer"))?;
        Ok(BpfSource {
            options,
            arguments: loaded.arguments.take().map(Arguments::new),
            loaded,
            exits,
            losses: Losses::default(),
            to_search: false,
            found: Found::default(),
            highest: pid_max.read(),
            pid_max,
            page: page.get() as u64,
            out: VecDeque::new(),
            marks: VecDeque::new(),
            made: Mark(0),
            passed: Mark(0),
            to_arm: VecDeque::new(),
            counters: Counters::default(),
        })
    }

    /// Readable when [`next_input`](BpfSource::next_input) has something, provided that it has returned `None` since.
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.exits.poll_fd()
    }

    /// When to call [`next_input`](BpfSource::next_input) and [`idle`](BpfSource::idle) again, though the descriptor is
    /// not readable.
    pub fn deadline(&mut self) -> Option<Instant> {
        if self.to_search {
            return Some(Instant::now());
        }
        // Where programs can be skipped, nothing else may wake us after it.
        let count = self.options.copies.then(|| self.losses.next_count()).flatten();
        let arm = self.to_arm.front().map(|(from, _)| *from);
        [self.exits.next_look(), arm, count].into_iter().flatten().min()
    }

    /// The next input. `None`: there is none, and the next one makes the descriptor readable.
    pub fn next_input(&mut self) -> Option<Input> {
        loop {
            match self.out.pop_front() {
                Some(Out::Input(input)) => return Some(input),
                Some(Out::Passed(mark)) => self.passed = mark,
                None if !self.fill() => return None,
                None => {}
            }
        }
    }

    /// A mark here. It is passed once [`next_input`](BpfSource::next_input) has delivered all that happened before,
    /// deaths of processes included.
    pub fn mark(&mut self) -> Mark {
        self.made.0 += 1;
        self.marks.push_back((self.made, self.loaded.ring.written()));
        self.made
    }

    /// True if all before the mark is delivered.
    pub fn has_passed(&self, mark: Mark) -> bool {
        self.passed >= mark
    }

    /// Events of these kinds of this task are wanted from now on, whoever owns the number. The end of a
    /// process that has begun to exit and is not dead is still to come. Numbers that no task can have are
    /// fine; nothing happens to them.
    pub fn watch(&mut self, tid: Tid, events: EventMask) {
        let events = words::events(events);
        let before = self.loaded.words.set(tid, events);
        if events & bit::PROCESS_ENDS == 0 {
            return;
        }
        let began = before & (bit::EXITING | bit::HOLD) == bit::EXITING | bit::HOLD;
        if began && before & bit::PROCESS_ENDS == 0 {
            self.hold_late(tid);
        } else if before & bit::PROCESS_ENDS == 0 && (1..self.highest).contains(&tid.0) {
            self.arm_later(tid);
        }
    }

    /// Which events of this task are wanted. None of one that no task can have.
    pub fn wanted(&self, tid: Tid) -> EventMask {
        EventMask((self.loaded.words.load(tid) & bit::EVENTS) as i32)
    }

    /// True if the owner of this number has begun to exit since the programs were loaded.
    pub fn has_begun_to_exit(&self, tid: Tid) -> bool {
        self.loaded.words.load(tid) & bit::EXITING != 0
    }

    /// Events of these kinds of this task are not wanted any more. Some may still come.
    pub fn unwatch(&mut self, tid: Tid, events: EventMask) {
        let events = words::events(events);
        let before = self.loaded.words.clear(tid, events);
        if before & !events & bit::PROCESS_ENDS == 0 {
            self.exits.disarm(&self.loaded.words, tid);
        }
    }

    /// Work that can wait until requests are answered.
    pub fn idle(&mut self) {
        self.exits.tidy();
        if std::mem::take(&mut self.to_search) {
            self.search_again();
        }
        let now = Instant::now();
        for _ in 0..ARMED_AT_ONCE {
            if self.to_arm.front().is_none_or(|(from, _)| *from > now) {
                break;
            }
            let Some((_, tid)) = self.to_arm.pop_front() else { break };
            let word = self.loaded.words.load(tid);
            if word & bit::PROCESS_ENDS != 0 && word & bit::EXITING == 0 {
                let armed = self.exits.arm(&self.loaded.words, tid);
                self.counters.unarmed += u64::from(armed == Err(Errno::EMFILE));
            }
        }
    }

    /// Opens a pidfd of the process when there is time.
    fn arm_later(&mut self, process: Tid) {
        self.to_arm.push_back((Instant::now() + ARM_AFTER, process));
    }

    /// What has been seen and done so far.
    pub fn counters(&self) -> Counters {
        Counters { waits: self.loaded.ring.waits(), ..self.counters }
    }

    /// Reads more into the empty `out`. False: there is no more, and the programs know that we sleep.
    fn fill(&mut self) -> bool {
        let written = self.loaded.ring.written();
        let pause = self.marks.front().map_or(written, |(_, place)| written.min(*place));
        // Marks lie in order, so that this one is reached first.
        self.read_until(pause.max(self.loaded.ring.read()), BATCH);
        let reached = self.loaded.ring.read();
        self.report_the_dead();
        self.recover();
        self.notice_skipped();
        while let Some((mark, _)) = self.marks.front().filter(|(_, place)| *place <= reached) {
            self.out.push_back(Out::Passed(*mark));
            self.marks.pop_front();
        }
        !self.out.is_empty() || !self.is_drained() || !self.rest()
    }

    fn is_drained(&self) -> bool {
        self.loaded.ring.read() == self.loaded.ring.written()
    }

    /// Has the next record wake us. False: there is one already.
    fn rest(&mut self) -> bool {
        let Some(asleep) = self.loaded.state.get(load::ASLEEP) else { return true };
        asleep.swap(1, Ordering::SeqCst);
        self.is_drained() && !self.losses.any(&self.loaded.state)
    }

    /// Reads records that begin before `place`, and at most so many.
    fn read_until(&mut self, place: u64, most: usize) {
        for _ in 0..most {
            match self.loaded.ring.next(place, Record::read) {
                Some(record) => self.handle(record),
                None => return,
            }
        }
    }
}
