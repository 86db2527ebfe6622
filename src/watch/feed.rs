//! The contract of feeds.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::records::SourceName;

use super::input::Input;
use super::{Scope, WatchError};

/// Tells whether a process is known, and not known to have ended.
pub type Lives<'a> = &'a dyn Fn(i32) -> bool;

/// A source of events, as the book wants them: each once; of a process nothing before it was seen or forked; an
/// exit when the process is dead, as far as the source knows.
pub trait Feed {
    /// Where the events come from.
    fn name(&self) -> SourceName;

    /// Begins to watch. Who is there is told first, then what happens.
    fn begin(&mut self, scope: &Scope, follow: bool) -> Result<(), WatchError>;

    /// The next news; `None`: there is none for now.
    fn next(&mut self, lives: Lives) -> Result<Option<Input>, WatchError>;

    /// What to poll for reading.
    fn poll_fd(&self) -> Option<BorrowedFd<'_>>;

    /// When to ask for news although the descriptor is not readable.
    fn deadline(&mut self) -> Option<Instant>;

    /// How long not to look for news after there was some: each look costs those who are watched. `None`: what has
    /// happened must be looked at soon, or it is gone.
    fn rest(&self) -> Option<Duration>;
}
