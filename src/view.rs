//! What the serving process sees of the file system: `/proc`, and nothing else.
//!
//! A mount namespace whose root is an empty directory with a procfs of our own in it. On that one symbolic
//! links lead nowhere: else the way out would be `/proc/PID/root`. Only statx(2) gets to the files behind such
//! links, by a descriptor that the filter of system calls allows nothing else to start from.
//!
//! Landlock is no substitute: who is restricted by it may not look at the programs of other processes.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, mkdirat};

use crate::sys::mount::{self, Attributes};
use crate::sys::{procfs, statx};

/// Why there is no such view.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// A system call failed.
    #[error("cannot {action} for a view of /proc alone: {errno}: {}", crate::remedy::remedy(*errno))]
    Call {
        /// What we wanted.
        action: &'static str,
        /// Why not.
        errno: Errno,
    },
}

fn failed<E: Into<std::io::Error>>(action: &'static str) -> impl Fn(E) -> ViewError {
    move |error| {
        let errno = error.into().raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
        ViewError::Call { action, errno }
    }
}

/// A mount namespace that a thread can enter.
#[derive(Debug)]
pub struct View(OwnedFd);

impl View {
    /// Makes the namespace. From now on statx(2) of what `/proc` links to goes by a descriptor.
    pub fn new() -> Result<View, ViewError> {
        let (namespace, links) = thread::scope(|scope| scope.spawn(make).join()).unwrap_or_else(|_| {
            Err(ViewError::Call { action: "make a mount namespace", errno: Errno::UnknownErrno })
        })?;
        statx::start_from(links);
        Ok(View(namespace))
    }

    /// Takes the calling thread there.
    pub fn enter(&self) -> Result<(), ViewError> {
        unshare(CloneFlags::CLONE_FS).map_err(failed("give a thread a root of its own"))?;
        setns(&self.0, CloneFlags::CLONE_NEWNS).map_err(failed("enter the mount namespace"))
    }
}

/// Turns the calling thread's mount namespace, which it leaves behind.
fn make() -> Result<(OwnedFd, OwnedFd), ViewError> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(failed("make a mount namespace"))?;
    let namespace = File::open("/proc/thread-self/ns/mnt").map_err(failed("open the mount namespace"))?;
    // To the namespace's own root: in a chroot, `/` is none, and the mounts above it stay out of reach.
    setns(&namespace, CloneFlags::CLONE_NEWNS).map_err(failed("go to the root of mounts"))?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .map_err(failed("make mounts private"))?;
    let quiet = Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NODEV | Attributes::MOUNT_ATTR_NOEXEC;
    let root = mount::new("tmpfs", &[("mode", Some("555"))], quiet).map_err(failed("make a root"))?;
    mkdirat(&root, "proc", Mode::from_bits_truncate(0o555)).map_err(failed("make a directory"))?;
    let quiet = quiet | Attributes::MOUNT_ATTR_RDONLY;
    let links = new_proc(quiet).map_err(failed("make a procfs"))?;
    // Linux 5.14.
    let proc = match new_proc(quiet | Attributes::MOUNT_ATTR_NOSYMFOLLOW) {
        Err(Errno::EINVAL) => new_proc(quiet),
        result => result,
    }
    .map_err(failed("make a procfs"))?;
    let old_root = File::options().read(true).custom_flags(libc::O_PATH).open("/");
    unmount_all()?;
    mount::attach(&root, old_root.map_err(failed("open /"))?).map_err(failed("mount a root"))?;
    let directory = openat(&root, "proc", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
    mount::attach(&proc, directory.map_err(failed("open a directory"))?).map_err(failed("mount a procfs"))?;
    Ok((namespace.into(), links))
}

/// With processes alone in it, where the kernel can (Linux 5.8).
fn new_proc(attributes: Attributes) -> Result<OwnedFd, Errno> {
    match mount::new("proc", &[("subset", Some("pid"))], attributes) {
        Err(Errno::EINVAL) => mount::new("proc", &[], attributes),
        result => result,
    }
}

/// Takes all mounts out of the namespace but the root's, which nobody will reach any more: a mount that
/// stayed would live on here after its unmounting elsewhere.
fn unmount_all() -> Result<(), ViewError> {
    let mut list = File::open("/proc/thread-self/mountinfo").map_err(failed("list mounts"))?;
    let mut tried = Vec::new();
    loop {
        let mut text = Vec::new();
        list.rewind().and_then(|()| list.read_to_end(&mut text)).map_err(failed("list mounts"))?;
        let mounts = procfs::parse_mounts(&text);
        // Those above others come first.
        let next = mounts.into_iter().filter(|mount| mount.mount_point != b"/" && !tried.contains(&mount.id));
        let Some(next) = next.min_by_key(|mount| mount.mount_point.len()) else { return Ok(()) };
        tried.push(next.id);
        // What cannot be reached any more, since its directory is gone, stays.
        let _ = umount2(next.mount_point.as_slice(), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_root_can_make_one_and_in_it_there_is_only_proc() {
        if !nix::unistd::geteuid().is_root() {
            assert!(View::new().is_err());
            return;
        }
        // A thread of its own, since it does not come back; links are tried in the device tests.
        let file = File::open("/dev/null").expect("it is there");
        let seen = thread::spawn(move || {
            let (namespace, _links) = make().expect("root may");
            View(namespace).enter().expect("root may");
            let names = |directory| -> Vec<_> {
                fs::read_dir(directory)
                    .expect("it is there")
                    .flatten()
                    .map(|entry| entry.file_name())
                    .collect()
            };
            let own = fs::read(format!("/proc/{}/status", std::process::id())).is_ok();
            let descriptor = procfs::fdinfo(&file, "pos:");
            assert_eq!(descriptor, Some(0), "the loss of BPF programs is read there");
            (names("/"), names(".."), own, fs::read("/proc/self/root/etc/passwd").is_ok())
        });
        let (root, above, own, outside) = seen.join().expect("it ends");
        assert_eq!((root, above), (vec!["proc".into()], vec!["proc".into()]));
        assert!(own && !outside);
    }
}
