//! Event sources: where the news of tasks comes from.
//!
//! The contract. A source hears of the tasks that it is told to watch, and
//!
//! * **in time**: once [`Source::commit`] has returned, every event of a watched task is in the
//!   source's queue before the system call that caused it returns to its caller;
//! * **in order**: [`Source::next`] hands one task's events over in the order in which they
//!   happened, and a child's events after the fork that made it;
//! * **honestly**: where events were dropped, [`Input::Lost`] stands in their place, or [`Input::Deaf`]
//!   after them, within a second, whether or not more events come;
//! * **quietly**: while nothing is watched it costs the machine nothing, after a short lingering;
//!   events of tasks that are not watched do not wake the reader where the kernel can tell.
//!
//! The reader may rely on nothing else: events of tasks that are not watched may come too, and two
//! tasks' events in any order.

pub mod bpf;
mod decode;
mod exit_warning;
mod filter;
mod proc_connector;
mod sieve;

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;

use crate::event::Input;
use crate::ids::Tid;

pub use decode::{Malformed, Message, decode};
pub use exit_warning::ExitWarning;
pub use proc_connector::{ProcConnector, RECEIVE_BUFFER};

/// A queue of events. All its methods belong to one thread, and none waits.
pub trait Source {
    /// What to poll for reading; `None` while nothing can come.
    fn poll_fd(&self) -> Option<BorrowedFd<'_>>;

    /// The next input; `None` when the queue is empty.
    fn next(&mut self) -> Result<Option<Input>, SourceError>;

    /// Watch this task from the next [`commit`](Source::commit) on. Counted: as many
    /// [`unwatch`](Source::unwatch) calls take it back.
    fn watch(&mut self, tid: Tid);

    /// Takes one [`watch`](Source::watch) back.
    fn unwatch(&mut self, tid: Tid);

    /// Puts all `watch` calls into effect. On an error nothing more than before is heard.
    fn commit(&mut self) -> Result<(), SourceError>;

    /// Time for what can wait: to be called now and then, and before a sleep. Tells after how long, at the
    /// latest, it wants to be called again.
    fn idle(&mut self) -> Option<Duration>;

    /// The reader misses an event: to find out at the next [`idle`](Source::idle) whether events come.
    fn doubt(&mut self);

    /// How many events the kernel has dropped since the last call, because the queue was full.
    fn take_dropped(&mut self) -> u64;
}

/// Why events cannot be heard. Each is a sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The kernel was built without the connector.
    #[error(
        "this kernel has no proc connector: boot a kernel with CONFIG_CONNECTOR=y and CONFIG_PROC_EVENTS=y \
         (the kernels of Debian, Ubuntu, Fedora and RHEL have both)"
    )]
    NoConnector,
    /// The connector exists only in the initial network namespace.
    #[error(
        "the proc connector does not exist in this network namespace: run kmonitor on the host, \
         or in a container that shares the host's network, pid and user namespaces \
         (--network=host --pid=host --privileged)"
    )]
    NetworkNamespace,
    /// LISTEN is not even answered in a child pid or user namespace.
    #[error(
        "the kernel ignores our subscription to process events, as it does inside a container's pid or \
         user namespace: run kmonitor on the host, or in a container with --pid=host --network=host --privileged"
    )]
    Ignored,
    /// The kernel refused.
    #[error("the kernel refused the subscription to process events ({0}): run kmonitor as root")]
    Refused(Errno),
    /// Subscribed, and yet no event comes.
    #[error(
        "subscribed to process events, but the kernel sends none, not even of our own: its count of listeners \
         is broken (some program sends it invalid messages), and that could not be mended within {0:?}: end that \
         program, or reboot"
    )]
    Deaf(Duration),
    /// Another system call failed.
    #[error("cannot {action} the process event socket: {errno}")]
    Io {
        /// What we wanted.
        action: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
}
