//! The world as the core sees it: a node, a source and a system. Whenever the core asks one of them, the others
//! may go on for some steps first.

use std::cell::{RefCell, RefMut};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFd;

use crate::event::Input;
use crate::ids::{Instance, Stamp, Tgid, Tid, Uid};
use crate::node::{Answer, Node, NodeGone, Request, Ticket};
use crate::source::{Interest, Mark, Source, SourceError};
use crate::sys::pidfd::{QueuedSignal, Uids};
use crate::sys::procfs::{self, FileId, Scheduling, TaskStatus};
use crate::system::System;

use super::parts::{Carrier, Doing, Item};
use super::world::World;

/// How often the core turns to the world at most before it sleeps: 1,250 times in 7,000 runs.
const MOST_LOOKS: u32 = 1_000_000;

/// A handle on the world.
#[derive(Clone)]
pub struct Toy {
    pub world: Rc<RefCell<World>>,
    /// What is polled; never looked at.
    nothing: Rc<File>,
    node: FileId,
    begin: Instant,
}

/// A process that the core holds.
pub struct Held {
    life: usize,
    token: Rc<()>,
}

impl Toy {
    pub fn new(world: World) -> Toy {
        let null = Path::new("/dev/null");
        Toy {
            world: Rc::new(RefCell::new(world)),
            nothing: Rc::new(File::open(null).expect("/dev/null opens")),
            node: procfs::file(null).expect("/dev/null is there"),
            begin: Instant::now(),
        }
    }

    fn look(&self) -> RefMut<'_, World> {
        let mut world = self.world.borrow_mut();
        world.looks += 1;
        if world.looks > MOST_LOOKS {
            world.judge(Err("the core turns in a circle".into()));
            drop(world);
            // Nothing else ends it; and shrinking makes it turn often, which need not be printed each time.
            std::panic::resume_unwind(Box::new(()));
        }
        world
    }

    /// The same, after some steps of the others.
    fn later(&self) -> RefMut<'_, World> {
        let mut world = self.look();
        world.others_run();
        world
    }
}

impl Node for Toy {
    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.nothing.as_fd()
    }

    fn next(&mut self) -> Result<Option<Request>, NodeGone> {
        Ok(self.later().requests.pop_front())
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        let mut world = self.later();
        let asks =
            |doing: &Doing| matches!(doing, Doing::Asking { request, .. } if *request == ticket.unique);
        let Some(task) = world.tasks.values_mut().find(|task| asks(&task.doing)) else {
            return world.judge(Err(format!("request {} has been answered before", ticket.unique)));
        };
        if let Doing::Asking { call, .. } = std::mem::replace(&mut task.doing, Doing::Running) {
            task.doing = Doing::Answered { answer, call };
            task.asleep = false;
        }
        world.others_run();
    }

    fn answer_others(&mut self, _most: usize) -> bool {
        false
    }

    fn closes(&self) -> Option<FileId> {
        (self.look().carrier == Carrier::Fuse).then_some(self.node)
    }
}

impl Source for Toy {
    fn poll_fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [Some(self.nothing.as_fd()), None]
    }

    fn deadline(&mut self) -> Option<Instant> {
        None
    }

    /// One task's events in order, and a child's after its birth; else in any order.
    fn next(&mut self) -> Result<Option<Input>, SourceError> {
        self.look().source.in_hand = None;
        let mut world = self.later();
        if world.source.items.is_empty() || world.source.late {
            return Ok(None);
        }
        if world.tape.once_in(8) {
            world.source.late = true;
            return Ok(None);
        }
        let place = world.tape.choose(4);
        let items = &world.source.items;
        let at = if may_be_next(items.iter().map(|(_, item)| *item), place) { place } else { 0 };
        let (place, item) = world.source.items.remove(at).expect("it is one of them");
        world.source.in_hand = Some(place);
        world.say(match item {
            Item::Event(event) => format!("    the core hears of {} {:?}", event.target, event.kind),
            Item::Lost => "    the core hears of a loss".into(),
        });
        Ok(Some(match item {
            Item::Event(event) => Input::Event(event),
            Item::Lost => Input::Lost(1),
        }))
    }

    fn mark(&mut self) -> Mark {
        Mark(self.later().source.made)
    }

    fn has_passed(&self, mark: Mark) -> bool {
        self.look().source.items.iter().all(|(place, _)| *place > mark.0)
    }

    fn watch(&mut self, tid: Tid, interest: Interest) {
        *self.look().source.watched.entry((tid.0, interest)).or_insert(0) += 1;
    }

    fn unwatch(&mut self, tid: Tid, interest: Interest) {
        let mut world = self.look();
        let key = (tid.0, interest);
        let Some(count) = world.source.watched.get_mut(&key) else {
            return world.judge(Err(format!("{tid} is unwatched more often than watched")));
        };
        *count -= 1;
        if *count == 0 {
            world.source.watched.remove(&key);
            world.source.committed.remove(&key);
        }
    }

    fn commit(&mut self) -> Result<(), SourceError> {
        let mut world = self.later();
        world.source.committed = world.source.watched.clone();
        Ok(())
    }

    fn deaf_since(&self) -> Option<Instant> {
        None
    }

    fn reports_exit_when_deaf(&self, _tid: Tid) -> bool {
        false
    }

    fn blocked(&mut self, _task: Tid, _is_blocked: bool) {}

    fn idle(&mut self) -> Option<Duration> {
        None
    }

    fn before_sleep(&mut self) {}

    fn after_sleep(&mut self, _other: BorrowedFd<'_>) {}
}

/// True if the item at this place may come before those that stand before it.
fn may_be_next(mut items: impl Iterator<Item = Item>, place: usize) -> bool {
    let before: Vec<Item> = items.by_ref().take(place).collect();
    let Some(Item::Event(late)) = items.next() else { return false };
    before.into_iter().all(|item| match item {
        Item::Event(early) => {
            early.target != late.target && early.subject != late.target && early.tgid != late.tgid
        }
        Item::Lost => false,
    })
}

impl System for Toy {
    type Process = Held;

    fn now(&self) -> Instant {
        self.begin + Duration::from_nanos(self.look().now)
    }

    fn stamp(&self) -> Stamp {
        Stamp(self.look().now)
    }

    fn wait(&self, _fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<(), Errno> {
        let mut world = self.look();
        world.source.late = false;
        for _ in 0..world.tape.choose(6) {
            world.step();
        }
        while !world.calls_the_core() {
            if world.tape.once_in(2)
                && let Some(timeout) = timeout
            {
                world.pass(timeout);
                return Ok(());
            }
            if !world.step() {
                world.pass(timeout.unwrap_or_default());
                world.at_rest = timeout.is_none();
                return Ok(());
            }
        }
        Ok(())
    }

    fn process(&self, leader: Tid) -> Result<Held, Errno> {
        let world = self.later();
        let task = world.tasks.get(&leader.0).ok_or(Errno::ESRCH)?;
        if world.processes[task.life].tgid != leader.0 {
            return Err(Errno::ENOENT);
        }
        Ok(Held { life: task.life, token: Rc::new(()) })
    }

    fn leaves_descriptors(&self, _process: &Held) -> bool {
        true
    }

    fn watch_exit(&self, process: &Held, instance: Instance) -> Result<(), Errno> {
        let watched = (Rc::downgrade(&process.token), process.life, instance);
        self.look().watched.push(watched);
        Ok(())
    }

    fn exits_fd(&self) -> BorrowedFd<'_> {
        self.nothing.as_fd()
    }

    fn exited(&self) -> Vec<Instance> {
        self.later().exited()
    }

    fn has_exited(&self, process: &Held) -> bool {
        self.later().processes[process.life].dead
    }

    fn real_uid(&self, process: &Held) -> Option<Uid> {
        let mut world = self.later();
        if world.tape.once_in(2) {
            return None;
        }
        let process = &world.processes[process.life];
        (!process.reaped).then_some(Uid(process.uids.real))
    }

    /// Older kernels tell nothing.
    fn uids(&self, _: &Held) -> Option<Uids> {
        None
    }

    fn signal(&self, process: &Held, signal: QueuedSignal) -> Result<(), Errno> {
        let mut world = self.later();
        let (life, room) = (process.life, world.room);
        let process = &mut world.processes[life];
        if process.reaped {
            return Err(Errno::ESRCH);
        }
        if process.dead {
            return Ok(());
        }
        if process.signals.len() >= room {
            world.model.full(life);
            return Err(Errno::EAGAIN);
        }
        process.signals.push_back(signal);
        let now = process.uids;
        world.say(format!("{signal:?} to process life {life}"));
        let verdict = world.model.signal(life, signal, now);
        world.judge(verdict);
        Ok(())
    }

    fn status(&self, tid: Tid) -> Option<TaskStatus> {
        let world = self.later();
        let task = world.tasks.get(&tid.0)?;
        let process = &world.processes[task.life];
        Some(TaskStatus {
            tgid: process.tgid,
            parent: 1,
            real_uid: process.uids.real,
            effective_uid: process.uids.effective,
            saved_uid: process.uids.saved,
            ended: task.has_ended(),
        })
    }

    fn has_task(&self, tgid: Tgid, tid: Tid) -> bool {
        let world = self.later();
        world.tasks.get(&tid.0).is_some_and(|task| world.processes[task.life].tgid == tgid.0)
    }

    fn scheduling(&self, tid: Tid) -> Option<Scheduling> {
        let world = self.later();
        let task = world.tasks.get(&tid.0)?;
        Some(Scheduling {
            asleep: task.asleep || task.has_ended(),
            run_time: task.run_time,
            turns: task.turns,
        })
    }

    fn descriptor(&self, tid: Tid, number: i32) -> Result<FileId, Errno> {
        let world = self.later();
        let task = world.tasks.get(&tid.0).filter(|task| !task.has_ended()).ok_or(Errno::ENOENT)?;
        let table = &world.processes[task.life].table;
        table.get(number as usize).copied().flatten().map(|_| self.node).ok_or(Errno::ENOENT)
    }
}
