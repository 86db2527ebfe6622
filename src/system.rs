//! The kernel as the core sees it: a clock, tasks and what `/proc` tells of them, and signals.
//!
//! The core asks through a trait, so that it also runs on the toy kernel of its simulation.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;

use crate::descriptors;
use crate::ids::{Instance, Stamp, Tgid, Tid, Uid};
use crate::sys::clock::monotonic_ns;
use crate::sys::pidfd::{self, PidFd, QueuedSignal, Uids};
use crate::sys::procfs::{self, FileId, Scheduling, TaskStatus};

/// What the core asks of the kernel. Copies are one and the same. Only [`wait`](System::wait) waits.
pub trait System: Clone {
    /// A process, for as long as this is held: no later owner of its pid.
    type Process;

    /// The time, for what must be done later.
    fn now(&self) -> Instant;

    /// The time, by the clock of events.
    fn stamp(&self) -> Stamp;

    /// Waits until one of the descriptors is ready, or the time is over. A signal ends the wait.
    fn wait(&self, fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<(), Errno>;

    /// The process with this main thread. EINVAL or ENOENT: it is no main thread.
    fn process(&self, leader: Tid) -> Result<Self::Process, Errno>;

    /// True if there are as many descriptors beside this one as the daemon needs to serve.
    fn leaves_descriptors(&self, process: &Self::Process) -> bool;

    /// Has [`exited`](System::exited) tell the end of this process, for as long as it is held.
    fn watch_exit(&self, process: &Self::Process, instance: Instance) -> Result<(), Errno>;

    /// Readable while [`exited`](System::exited) has something to tell.
    fn exits_fd(&self) -> BorrowedFd<'_>;

    /// Some of the watched processes that have ended and are still held.
    fn exited(&self) -> Vec<Instance>;

    /// True if all threads of the process have ended.
    fn has_exited(&self, process: &Self::Process) -> bool;

    /// The uids of its main thread, if the kernel tells them of a process that is held.
    fn uids(&self, process: &Self::Process) -> Option<Uids>;

    /// The first of them.
    fn real_uid(&self, process: &Self::Process) -> Option<Uid> {
        self.uids(process).map(|uids| Uid(uids.real))
    }

    /// Queues a signal to the process. EAGAIN: its queue is full. ESRCH: it is gone. EPERM: we may not.
    fn signal(&self, process: &Self::Process, signal: QueuedSignal) -> Result<(), Errno>;

    /// What `/proc/TID/status` tells; `None` if there is no such task.
    fn status(&self, tid: Tid) -> Option<TaskStatus>;

    /// True if the process has this task, and it has not been released.
    fn has_task(&self, tgid: Tgid, tid: Tid) -> bool;

    /// How a task stands with the scheduler; `None` if it is gone, or the kernel does not count.
    fn scheduling(&self, tid: Tid) -> Option<Scheduling>;

    /// The file of a task's descriptor. ENOENT: it has none of this number, or is gone.
    fn descriptor(&self, tid: Tid, number: i32) -> Result<FileId, Errno>;
}

/// The kernel that we run on.
#[derive(Clone, Debug)]
pub struct Linux {
    exits: Arc<Epoll>,
}

impl Linux {
    /// EMFILE or ENOMEM: as `epoll_create1(2)`.
    pub fn new() -> Result<Linux, Errno> {
        Ok(Linux { exits: Arc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?) })
    }
}

impl System for Linux {
    type Process = PidFd;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn stamp(&self) -> Stamp {
        Stamp(monotonic_ns())
    }

    fn wait(&self, fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<(), Errno> {
        match ppoll(fds, timeout.map(TimeSpec::from), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn process(&self, leader: Tid) -> Result<PidFd, Errno> {
        PidFd::open(leader.0)
    }

    fn leaves_descriptors(&self, process: &PidFd) -> bool {
        descriptors::leaves(descriptors::RESERVED, process)
    }

    fn watch_exit(&self, process: &PidFd, instance: Instance) -> Result<(), Errno> {
        // Closing the pidfd takes it out of the set.
        self.exits.add(process, EpollEvent::new(EpollFlags::EPOLLIN, instance.0))
    }

    fn exits_fd(&self) -> BorrowedFd<'_> {
        self.exits.0.as_fd()
    }

    fn exited(&self) -> Vec<Instance> {
        let mut events = [EpollEvent::empty(); 16];
        let count = self.exits.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        events[..count].iter().map(|event| Instance(event.data())).collect()
    }

    fn has_exited(&self, process: &PidFd) -> bool {
        process.has_exited()
    }

    fn uids(&self, process: &PidFd) -> Option<Uids> {
        process.uids()
    }

    fn signal(&self, process: &PidFd, signal: QueuedSignal) -> Result<(), Errno> {
        process.send(signal)
    }

    fn status(&self, tid: Tid) -> Option<TaskStatus> {
        procfs::task_status(tid.0).ok()
    }

    fn has_task(&self, tgid: Tgid, tid: Tid) -> bool {
        pidfd::has_task(tgid.0, tid.0)
    }

    fn scheduling(&self, tid: Tid) -> Option<Scheduling> {
        procfs::scheduling(tid.0)
    }

    fn descriptor(&self, tid: Tid, number: i32) -> Result<FileId, Errno> {
        procfs::descriptor(tid.0, number)
    }
}
