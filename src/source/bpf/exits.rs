//! Exits that wait for their processes' death, and the pidfds that tell of it.
//!
//! The program sees an exit when it begins (docs/kernel-facts.md#exits-begin-long-before-death). It is
//! reported when memory, files and locks are given back: when the pidfd is readable.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::descriptors;
use crate::ids::{Tid, Uid};
use crate::sys::pidfd::PidFd;
use crate::sys::procfs;

use super::event::TaskEvent;
use super::words::{Words, bit};

/// A process whose last thread is traced has no end until its tracer looks. After this time its threads
/// are looked at instead.
const SECOND_LOOK: Duration = Duration::from_millis(100);

/// Descriptors that are left for everything else.
const SPARE: u64 = 64;

/// Dead processes that are found at a time.
const MOST_ENDED: usize = 1024;

/// What the poll says when it is the ring; no pid.
const RING: u64 = u64::MAX;

/// `PF_EXITING` (linux/sched.h)
const PF_EXITING: u32 = 0x4;

#[derive(Debug)]
struct Held {
    event: TaskEvent,
    /// `None` if there was no descriptor left.
    pidfd: Option<PidFd>,
    look_at: Instant,
    /// Its threads were found dead.
    is_dead: bool,
}

/// All exits that wait, and all pidfds.
#[derive(Debug)]
pub(super) struct Exits {
    poll: Epoll,
    held: HashMap<Tid, Held>,
    /// Of processes that have not begun to exit, as far as is known.
    armed: HashMap<Tid, PidFd>,
    /// When to look at which of the held ones; some have been released since.
    looks: VecDeque<(Instant, Tid)>,
    /// Held ones that were dead when their exit was read.
    dead: Vec<Tid>,
    /// Where the poll writes.
    ready: Vec<EpollEvent>,
    /// Of dead ones. To close a descriptor takes time, which others need not wait for.
    retired: Vec<PidFd>,
}

impl Exits {
    /// None yet; the poll is for the ring too.
    pub fn new(ring: BorrowedFd<'_>) -> Result<Exits, Errno> {
        let poll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        poll.add(ring, EpollEvent::new(EpollFlags::EPOLLIN, RING))?;
        Ok(Exits {
            poll,
            held: HashMap::new(),
            armed: HashMap::new(),
            looks: VecDeque::new(),
            dead: Vec::new(),
            ready: vec![EpollEvent::empty(); MOST_ENDED + 1],
            retired: Vec::new(),
        })
    }

    /// Readable when the ring is, or a pidfd.
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.poll.0.as_fd()
    }

    /// When to look at those whose pidfds say nothing.
    pub fn next_look(&mut self) -> Option<Instant> {
        while let Some((at, tid)) = self.looks.front() {
            if self.held.get(tid).is_some_and(|held| held.look_at == *at) {
                return Some(*at);
            }
            self.looks.pop_front();
        }
        None
    }

    /// Keeps back the exit of a process that has begun to exit. `armed`: its pidfd was polled by then.
    pub fn hold(&mut self, words: &Words, event: TaskEvent, armed: bool) {
        let tid = event.subject;
        let (mut pidfd, mut is_dead) = (None, false);
        match self.armed.remove(&tid) {
            Some(polled) if armed => pidfd = Some(polled),
            old => {
                old.into_iter().for_each(|old| self.retire(old));
                match self.open(tid) {
                    Ok(opened) => pidfd = Some(opened),
                    // EINVAL: a thread has its number.
                    Err(errno) => is_dead = matches!(errno, Errno::ESRCH | Errno::EINVAL | Errno::ENOENT),
                }
            }
        }
        // Else the pidfd is that of the number's next owner.
        is_dead |= words.load(tid) & bit::EXITING == 0;
        let look_at = Instant::now() + SECOND_LOOK;
        if is_dead {
            self.dead.push(tid);
        } else {
            self.looks.push_back((look_at, tid));
        }
        self.held.insert(tid, Held { event, pidfd, look_at, is_dead });
    }

    /// The waiting exit of this number's owner.
    pub fn held(&mut self, tid: Tid) -> Option<&mut TaskEvent> {
        self.held.get_mut(&tid).map(|held| &mut held.event)
    }

    /// The owner of the number is dead: its exit, if it waits.
    pub fn release(&mut self, words: &Words, tid: Tid) -> Option<TaskEvent> {
        let held = self.held.remove(&tid)?;
        words.clear(tid, bit::HELD);
        let status = held.event.status.or_else(|| status(held.pidfd.as_ref()?, tid));
        held.pidfd.into_iter().for_each(|pidfd| self.retire(pidfd));
        Some(TaskEvent { status, ..held.event })
    }

    /// The process that had this number and whose pidfd was polled, if it is dead: its exit has no record, as
    /// the ring was read since. Its user, if he can be known, and its status.
    pub fn unrecorded(&mut self, words: &Words, tid: Tid) -> Option<(Option<Uid>, Option<ExitStatus>)> {
        let pidfd = self.armed.get(&tid).filter(|pidfd| pidfd.has_exited())?;
        let uid = procfs::real_uid(tid.0).map(Uid);
        // Last: until then the number was this process's.
        let known = (uid.filter(|_| !pidfd.is_reaped()), status(pidfd, tid));
        self.disarm(words, tid);
        // Else it is found by that.
        (words.load(tid) & bit::LOST_EXIT == 0).then_some(known)
    }

    /// The same as [`release`](Exits::release), if the owner is dead, of those that [`ended`](Exits::ended) and
    /// [`ended_quietly`](Exits::ended_quietly) have found; the number may have a new owner.
    pub fn release_dead(&mut self, words: &Words, tid: Tid) -> Option<TaskEvent> {
        let held = self.held.get(&tid)?;
        let is_dead = held.is_dead || held.pidfd.as_ref().is_some_and(PidFd::has_exited);
        if is_dead { self.release(words, tid) } else { None }
    }

    /// The processes among all that have ended, or some of them if there are very many.
    pub fn ended(&mut self) -> Vec<Tid> {
        let mut ended = mem::take(&mut self.dead);
        if !self.held.is_empty() || !self.armed.is_empty() {
            let count = self.poll.wait(&mut self.ready, EpollTimeout::ZERO).unwrap_or(0);
            let pidfds = self.ready[..count].iter().filter(|event| event.data() != RING);
            ended.extend(pidfds.map(|event| Tid(event.data() as i32)));
        }
        ended
    }

    /// Those that have ended although their pidfds do not say so.
    pub fn ended_quietly(&mut self, words: &Words, now: Instant) -> Vec<Tid> {
        let mut ended = Vec::new();
        while self.next_look().is_some_and(|at| at <= now) {
            let Some((_, tid)) = self.looks.pop_front() else { break };
            let Some(held) = self.held.get_mut(&tid) else { continue };
            if words.load(tid) & bit::EXITING == 0 || is_dead(tid) {
                held.is_dead = true;
                ended.push(tid);
            } else {
                held.look_at = now + SECOND_LOOK;
                self.looks.push_back((held.look_at, tid));
            }
        }
        ended
    }

    /// Opens a pidfd of a process before it exits, so that its exit is reported after one wake-up. ESRCH and
    /// the like: no process has the number. EMFILE: there are too few descriptors.
    pub fn arm(&mut self, words: &Words, tid: Tid) -> Result<(), Errno> {
        if self.armed.contains_key(&tid) || self.held.contains_key(&tid) {
            return Ok(());
        }
        let pidfd = self.open(tid)?;
        let before = words.set(tid, bit::PIDFD);
        // While it lives the number has no other owner, so the bit is in its own word.
        let is_late = before & bit::EXITING != 0 || pidfd.has_exited();
        self.armed.insert(tid, pidfd);
        if is_late {
            self.disarm(words, tid);
        }
        Ok(())
    }

    /// Takes that back.
    pub fn disarm(&mut self, words: &Words, tid: Tid) {
        if let Some(pidfd) = self.armed.remove(&tid) {
            words.clear(tid, bit::PIDFD);
            self.retire(pidfd);
        }
    }

    fn retire(&mut self, pidfd: PidFd) {
        let _ = self.poll.delete(&pidfd);
        self.retired.push(pidfd);
    }

    /// Closes the pidfds of the dead.
    pub fn tidy(&mut self) {
        self.retired.clear();
    }

    /// Opens a pidfd and polls it. EMFILE: what is left is needed elsewhere.
    fn open(&self, tid: Tid) -> Result<PidFd, Errno> {
        let pidfd = PidFd::open(tid.0)?;
        if !descriptors::leaves(SPARE, &pidfd) {
            return Err(Errno::EMFILE);
        }
        self.poll.add(&pidfd, EpollEvent::new(EpollFlags::EPOLLIN, tid.0 as u32 as u64))?;
        Ok(pidfd)
    }
}

/// True if the process has begun to exit and is not dead.
///
/// The word alone does not tell: a new task can be seen a moment before its birth has changed it
/// (docs/kernel-facts.md#births).
pub(super) fn is_exiting(tid: Tid) -> bool {
    let Ok(pidfd) = PidFd::open(tid.0) else { return false };
    let exiting = procfs::task_stat(tid.0, tid.0).is_some_and(|stat| stat.flags & PF_EXITING != 0);
    // Last: until then the number was this process's.
    exiting && !pidfd.has_exited()
}

/// How the dead process ended: the kernel tells it of one that was waited for, and /proc of one that was not.
fn status(pidfd: &PidFd, tid: Tid) -> Option<ExitStatus> {
    let of_zombie = || {
        let stat = procfs::process_stat(tid.0)?;
        // Last: until then the number was this process's.
        (stat.state == b'Z' && !pidfd.is_reaped()).then(|| ExitStatus::from_raw(stat.exit_code))
    };
    pidfd.exit_status().or_else(of_zombie)
}

/// True if none of the process's threads is left but as a zombie.
fn is_dead(tid: Tid) -> bool {
    let threads = match fs::read_dir(format!("/proc/{tid}/task")) {
        Ok(threads) => threads,
        Err(error) => return error.kind() == io::ErrorKind::NotFound,
    };
    let ids = threads.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut stats = ids.filter_map(|id| procfs::task_stat(tid.0, id));
    stats.all(|stat| matches!(stat.state, b'Z' | b'X'))
}
