//! Who has an open file for certain, so that somebody else's close cannot be the last.
//!
//! A task that calls through a file has it in its table of descriptors. The kernel reports each close of a
//! descriptor, and the closer waits for our answer; so the file stays in that table until a close is reported
//! by a task with that very table. Whether two tasks have one table (`CLONE_FILES`) no call tells that could
//! not wait for an exec. But a descriptor of the node in one of them and not in the other shows that they have
//! two; it cannot vanish between two looks, since then its close is waiting for us too.

use nix::errno::Errno;

use crate::ids::{MonitorId, Tid};
use crate::sys::procfs::FileId;
use crate::system::System;

/// More than these are not remembered: each is looked at when somebody closes the file.
const MOST: usize = 8;

/// Descriptors of a task among which one of the node is looked for; each look takes a microsecond or two.
const MOST_DESCRIPTORS: i32 = 128;

/// A monitor in whose table the file is.
#[derive(Debug)]
struct Holder {
    monitor: MonitorId,
    /// A descriptor of the node in that table, once it was looked for.
    descriptor: Option<i32>,
}

/// Those who have one open file for certain.
#[derive(Debug, Default)]
pub struct Holders(Vec<Holder>);

impl Holders {
    /// True if nobody has it for certain.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The monitor calls through the file. `closers` are in a close of it, and not known to be past that.
    pub fn add(
        &mut self,
        system: &impl System,
        monitor: MonitorId,
        node: FileId,
        closers: impl IntoIterator<Item = Tid>,
    ) {
        if self.0.len() >= MOST || self.0.iter().any(|holder| holder.monitor == monitor) {
            return;
        }
        let mut holder = Holder { monitor, descriptor: None };
        if closers.into_iter().all(|closer| holder.has_other_table_than(system, closer, node)) {
            self.0.push(holder);
        }
    }

    /// A task closes a descriptor of the file, and waits for our answer: from the table of those who cannot be
    /// shown to have another one than this task.
    pub fn closed_by(
        &mut self,
        system: &impl System,
        closer: Tid,
        node: FileId,
        lives: impl Fn(MonitorId) -> bool,
    ) {
        // Only then the numbers that were looked at are the monitor's own.
        self.0
            .retain_mut(|holder| holder.has_other_table_than(system, closer, node) && lives(holder.monitor));
    }
}

impl Holder {
    fn has_other_table_than(&mut self, system: &impl System, closer: Tid, node: FileId) -> bool {
        let own = self.monitor.tid;
        let has_node = |descriptor: &i32| system.descriptor(own, *descriptor) == Ok(node);
        if closer == own || closer.0 <= 0 {
            return false;
        }
        if self.descriptor.filter(has_node).is_none() {
            self.descriptor = (0..MOST_DESCRIPTORS).find(has_node);
        }
        let Some(descriptor) = self.descriptor else { return false };
        let is_elsewhere = match system.descriptor(closer, descriptor) {
            Ok(file) => file != node,
            Err(errno) => errno == Errno::ENOENT,
        };
        is_elsewhere && has_node(&descriptor)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::process::{Command, Stdio};
    use std::sync::Barrier;

    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    use nix::unistd::gettid;

    use super::*;
    use crate::ids::Instance;
    use crate::sys::procfs;
    use crate::system::Linux;

    fn own() -> Tid {
        Tid(gettid().as_raw())
    }

    /// Whether a monitor that has a file open is still known to have it once `closer` has closed one. The monitor is
    /// this thread.
    fn is_known_after(file: &File, closer: Tid, lives: bool) -> bool {
        let node = procfs::descriptor(own().0, file.as_raw_fd()).expect("it is open");
        let (system, mut holders) = (Linux::new().expect("epoll"), Holders::default());
        holders.add(&system, MonitorId { instance: Instance(1), tid: own() }, node, []);
        holders.closed_by(&system, closer, node, |_| lives);
        !holders.is_empty()
    }

    fn a_file() -> File {
        File::open(std::env::current_exe().expect("this program")).expect("it opens")
    }

    #[test]
    fn another_process_without_the_descriptor_closes_its_own() {
        let file = a_file();
        let mut other = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat");
        assert!(is_known_after(&file, Tid(other.id() as i32), true));
        assert!(!is_known_after(&file, Tid(other.id() as i32), false), "a monitor that is gone");
        drop(other.stdin.take());
        other.wait().expect("it ends");
    }

    #[test]
    fn who_may_have_the_same_table_may_have_closed_the_last() {
        let file = a_file();
        assert!(!is_known_after(&file, own(), true));
        assert!(!is_known_after(&file, Tid(0), true));
        let (begun, done) = (Barrier::new(2), Barrier::new(2));
        let tid = std::sync::OnceLock::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                tid.set(own()).expect("once");
                begun.wait();
                done.wait();
            });
            begun.wait();
            assert!(!is_known_after(&file, *tid.get().expect("it began"), true), "another thread");
            done.wait();
        });
        // A copy of the table looks like the table itself.
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).expect("inherited from now on");
        let mut heir = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat");
        assert!(!is_known_after(&file, Tid(heir.id() as i32), true));
        drop(heir.stdin.take());
        heir.wait().expect("it ends");
    }
}
