//! Waiting for the end of any processes, with neither root nor a daemon.
//!
//! A process is found ([`select`], [`open`], [`from_pidfile`]), held by a pidfd, so that no later owner of its
//! pid is taken for it, and waited for ([`Waiting`]).

mod ending;
mod exit_events;
pub(crate) mod process;
mod selector;
mod target;
mod waiting;

pub use ending::Ending;
pub use exit_events::ExitEvents;
pub use selector::{Selector, cgroup, select};
pub use target::{Named, Target, TargetError, from_pidfile, open};
pub use waiting::{News, Waiting};
