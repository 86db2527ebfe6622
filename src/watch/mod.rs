//! Watching processes: from a source of events to a stream of [records](crate::records).
//!
//! A feed ([`bpf`], [`connector`]) says in the same words what tasks do, whichever source tells it. The
//! [`Book`](book::Book) knows the processes that live, and makes records of that. A thread of its own reads the source
//! and never waits for who takes the records: the [queue](queue) between them holds so many bytes, and what
//! does not fit is counted and said at its place.

mod book;
mod bpf;
mod cgroups;
mod connector;
mod feed;
mod input;
mod living;
mod proc;
mod queue;
mod stream;

use std::io;

use crate::remedy;
use crate::source::bpf::{FollowError, Refusal};
use crate::source::{Choice, SourceError};
use crate::wait::Target;

pub use stream::{Control, Stream, start};

/// Bytes of records that may wait, usually.
pub const ROOM: usize = 64 << 20;

/// What is to be watched.
#[derive(Debug)]
pub enum Scope {
    /// All processes.
    All,
    /// These.
    Targets(Vec<Target>),
    /// A child of ours that has not begun to do anything.
    Child(i32),
}

/// Events that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    /// Forks.
    pub fork: bool,
    /// Execs.
    pub exec: bool,
    /// Exits of processes.
    pub exit: bool,
    /// New threads, and the ends of threads.
    pub thread: bool,
}

/// What is asked for.
#[derive(Debug)]
pub struct Request {
    /// What is to be watched.
    pub scope: Scope,
    /// With all descendants.
    pub follow: bool,
    /// Of these, the records are wanted.
    pub events: Events,
    /// The source of events.
    pub source: Choice,
    /// Bytes of records that may wait for who takes them.
    pub room: usize,
}

/// Why nothing can be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The programs in the kernel cannot be had, and nothing else is wanted.
    #[error("{0}; or use --source connector")]
    Bpf(#[from] Refusal),
    /// The proc connector cannot be had, or has failed.
    #[error(transparent)]
    Connector(#[from] SourceError),
    /// A target cannot be followed.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// Nobody is left of those that were to be watched.
    #[error("all that were to be watched have ended before it began: choose processes that are there")]
    AllEnded,
    /// A resource of our own.
    #[error("cannot watch: {error}: {}", remedy::of(error))]
    Resources {
        /// Why not.
        #[from]
        error: io::Error,
    },
}
