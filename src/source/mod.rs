//! Event sources: where events of tasks come from.
//!
//! The contract. A source reports what the tasks do that it is told to watch, and
//!
//! * **in time**: once [`Source::commit`] has returned and the source is not deaf, every event of a watched task lies before each
//!   [`Mark`] that is made after the system call that caused it has returned;
//! * **in order**: [`Source::next`] reports one task's events in the order in which they happened, and a
//!   child's events after the fork that made it;
//! * **cleanly**: each event once, with what belongs to it, an exit when the process is dead;
//! * **honestly**: where events were lost and could not be found out otherwise, [`Input::Lost`] says so;
//! * **quietly**: events of tasks that are not watched do not wake the reader where the kernel can tell
//!   them apart.
//!
//! What a source must do to keep this is its own affair. The reader may rely on nothing else: events of
//! tasks that are not watched may come too, and two tasks' events in any order.

pub mod bpf;
mod choice;
mod connector;

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::event::Input;
use crate::ids::Tid;
use crate::remedy::remedy;

pub use choice::{Choice, OpenError, open};
pub use connector::{Connector, Malformed, Message, Notice, ProcConnector, RECEIVE_BUFFER, decode};

/// A place in the stream of inputs. Marks of one source are in the order in which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub(crate) u64);

/// What is wanted of a watched task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interest {
    /// Its events, all of them, with the uid.
    Events,
    /// Its end if it is not a main thread, and execs; without uid. If lost, [`Input::Lost`] is enough.
    End,
}

/// A stream of events. All its methods belong to one thread, and none waits.
pub trait Source {
    /// What to poll for reading.
    fn poll_fds(&self) -> [Option<BorrowedFd<'_>>; 2];

    /// When to call [`next`](Source::next) although none of the descriptors is readable.
    fn deadline(&mut self) -> Option<Instant>;

    /// The next input; `None`: there is none, until a descriptor is readable or the deadline has come.
    fn next(&mut self) -> Result<Option<Input>, SourceError>;

    /// Makes a mark behind everything that has happened by now.
    fn mark(&mut self) -> Mark;

    /// True once [`next`](Source::next) has returned everything that lies before the mark.
    fn has_passed(&self, mark: Mark) -> bool;

    /// Watch this task from the next [`commit`](Source::commit) on. Counted: as many
    /// [`unwatch`](Source::unwatch) calls take it back.
    fn watch(&mut self, tid: Tid, interest: Interest);

    /// Takes one [`watch`](Source::watch) of the same interest back.
    fn unwatch(&mut self, tid: Tid, interest: Interest);

    /// Puts all `watch` calls into effect. On an error nothing more than before is reported.
    fn commit(&mut self) -> Result<(), SourceError>;

    /// Since when the source knows that the kernel sends it nothing, if that is so. It is seeing to it in
    /// [`idle`](Source::idle).
    fn deaf_since(&self) -> Option<Instant>;

    /// True if the exit of this watched task is reported also by a deaf source.
    fn reports_exit_when_deaf(&self, tid: Tid) -> bool;

    /// This task waits, or waits no longer, for the reader's answer to a system call. What it is in the
    /// middle of, an exec that closes a file, has not happened yet.
    fn blocked(&mut self, task: Tid, is_blocked: bool);

    /// Does what can wait: to be called now and then, and before a sleep. Returns after how long, at the
    /// latest, it wants to be called again.
    fn idle(&mut self) -> Option<Duration>;

    /// The reader is about to poll the descriptors.
    fn before_sleep(&mut self);

    /// The reader has polled them. A source that expects an event any moment may spin for some
    /// microseconds, as long as `other` is not readable.
    fn after_sleep(&mut self, other: BorrowedFd<'_>);
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn poll_fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        (**self).poll_fds()
    }

    fn deadline(&mut self) -> Option<Instant> {
        (**self).deadline()
    }

    fn next(&mut self) -> Result<Option<Input>, SourceError> {
        (**self).next()
    }

    fn mark(&mut self) -> Mark {
        (**self).mark()
    }

    fn has_passed(&self, mark: Mark) -> bool {
        (**self).has_passed(mark)
    }

    fn watch(&mut self, tid: Tid, interest: Interest) {
        (**self).watch(tid, interest);
    }

    fn unwatch(&mut self, tid: Tid, interest: Interest) {
        (**self).unwatch(tid, interest);
    }

    fn commit(&mut self) -> Result<(), SourceError> {
        (**self).commit()
    }

    fn deaf_since(&self) -> Option<Instant> {
        (**self).deaf_since()
    }

    fn reports_exit_when_deaf(&self, tid: Tid) -> bool {
        (**self).reports_exit_when_deaf(tid)
    }

    fn blocked(&mut self, task: Tid, is_blocked: bool) {
        (**self).blocked(task, is_blocked);
    }

    fn idle(&mut self) -> Option<Duration> {
        (**self).idle()
    }

    fn before_sleep(&mut self) {
        (**self).before_sleep();
    }

    fn after_sleep(&mut self, other: BorrowedFd<'_>) {
        (**self).after_sleep(other);
    }
}

/// Why there are no events. Each is a sentence with the remedy.
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
    /// Requests are not even answered in a child pid or user namespace (docs/kernel-facts.md#namespaces).
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
         is too low, since some program sends it invalid messages: end that program"
    )]
    Deaf,
    /// Another system call failed.
    #[error("cannot {action} the process event socket: {errno}: {}", remedy(*errno))]
    Io {
        /// What we wanted.
        action: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
}
