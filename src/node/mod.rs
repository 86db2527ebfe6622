//! Nodes: the file in the file system that clients open, and the kernel's queue of what they do
//! with it.
//!
//! The contract. A node answers by itself whatever has nothing to do with registrations (stat, read,
//! seek, chmod, ...), when it is told that there is time. It hands over, in the order in which the kernel queued them, opens, ioctls,
//! closes and releases, and
//!
//! * a request with a [`Ticket`] has a caller who waits until it is answered, so each is answered
//!   exactly once;
//! * a [`Request::Release`] is in the queue before the call that dropped the last descriptor
//!   (close, exit, exec) returns;
//! * [`Node::next`] never waits and never fails because of what a client did.
//!
//! The reader may rely on nothing else; above all not on which carrier serves.

mod channel;
mod cuse;
mod device_node;
mod fuse;
mod inspect;
mod mount_point;
mod place;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
mod wire;

pub use inspect::{Found, Transport, inspect};
pub use place::{Carrier, Place, PlaceError, Served, serve};

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::abi::COMMAND_SIZE;
use crate::ids::{HandleId, Tid, Uid};
use crate::remedy::remedy;
use crate::sys::procfs::FileId;

/// Identifies a request that somebody waits for.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The request's number in the kernel's queue.
    pub(crate) unique: u64,
    /// The protocol gives a successful ioctl's reply a body.
    pub(crate) ioctl: bool,
}

/// The task that made a request, as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The calling task, in the daemon's pid namespace.
    pub tid: Tid,
    /// Its file system uid at the time of the call, which is its effective uid unless it said
    /// otherwise.
    pub uid: Uid,
}

/// What a client asks of the device.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// `open(2)`: to be answered with a handle.
    Open {
        /// Whom to answer.
        ticket: Ticket,
    },
    /// `ioctl(2)`.
    Ioctl {
        /// Whom to answer.
        ticket: Ticket,
        /// The open file.
        handle: HandleId,
        /// Who calls.
        caller: Caller,
        /// The whole 32-bit command.
        command: u32,
        /// The 12 bytes at the argument pointer; the error if they cannot be read (docs/behaviour.md, fact 9).
        argument: Result<[u8; COMMAND_SIZE], Errno>,
    },
    /// `close(2)` of one descriptor, which may or may not be the last. Not every carrier tells it.
    Close {
        /// Whom to answer.
        ticket: Ticket,
        /// The open file.
        handle: HandleId,
        /// The closing task; 0 for one outside our pid namespace.
        by: Tid,
    },
    /// The last descriptor of an open file is gone.
    Release {
        /// Whom to answer, if the carrier lets the close wait.
        ticket: Option<Ticket>,
        /// The open file, which no later request names.
        handle: HandleId,
    },
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Success; of an open, with its handle.
    Opened(HandleId),
    /// Success of anything else, with result 0.
    Done,
    /// Failure.
    Failed(Errno),
}

/// Who owns the node, and who may open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A node in service. All its methods belong to one thread.
pub trait Node {
    /// What to poll for reading.
    fn poll_fd(&self) -> BorrowedFd<'_>;

    /// The next request; `None` when the queue is empty.
    fn next(&mut self) -> Result<Option<Request>, NodeGone>;

    /// Answers a request.
    fn answer(&mut self, ticket: Ticket, answer: Answer);

    /// Answers at most so many of the requests that it has not handed over, and whose callers wait; false if there
    /// was none. Anybody can make them, also who may not open the node.
    fn answer_others(&mut self, most: usize) -> bool;

    /// The file that clients have open, if a [`Request::Close`] is handed over for each descriptor of it that is
    /// closed.
    fn closes(&self) -> Option<FileId>;
}

impl<N: Node + ?Sized> Node for Box<N> {
    fn poll_fd(&self) -> BorrowedFd<'_> {
        (**self).poll_fd()
    }

    fn next(&mut self) -> Result<Option<Request>, NodeGone> {
        (**self).next()
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        (**self).answer(ticket, answer);
    }

    fn answer_others(&mut self, most: usize) -> bool {
        (**self).answer_others(most)
    }

    fn closes(&self) -> Option<FileId> {
        (**self).closes()
    }
}

/// The node is served no longer.
#[derive(Debug, thiserror::Error)]
pub enum NodeGone {
    /// Somebody took the mount away (`umount`, or the connection was aborted).
    #[error("the node was taken away from under us (umount, or an aborted connection): start kmonitor again")]
    Removed,
    /// The kernel's queue cannot be read.
    #[error("cannot read requests from the kernel: {}: {}", .0, remedy(*.0))]
    Unreadable(Errno),
}
