//! What the socket delivers, in the order in which the kernel queued it.

use crate::event::Event;
use crate::ids::{Stamp, Tid, Uid};

/// One piece of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A task did something.
    Event(Event),
    /// A task's real uid is this from now on.
    Uid {
        /// The task.
        tid: Tid,
        /// Its real uid.
        real: Uid,
        /// When it changed.
        at: Stamp,
    },
    /// The kernel dropped events here: the socket's queue was full.
    Overflow,
    /// The kernel had stopped sending events some time before.
    Deaf {
        /// It sends them again; else that is still being tried.
        mended: bool,
    },
}

impl Notice {
    /// When it happened, if the kernel says so.
    pub fn at(&self) -> Option<Stamp> {
        match self {
            Notice::Event(Event { at, .. }) | Notice::Uid { at, .. } => Some(*at),
            Notice::Overflow | Notice::Deaf { .. } => None,
        }
    }
}
