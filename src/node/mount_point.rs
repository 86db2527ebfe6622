//! The place of the node: a file that the FUSE mount covers, found free, kept ours, left clean.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, Flock, FlockArg, RenameFlags, renameat2};
use nix::mount::{MntFlags, umount2};
use nix::unistd::linkat;

use crate::sys::mount::{self, Attributes};
use crate::sys::procfs::{self, Mount};

use super::place::{FUSE_DEVICE, PlaceError, io_error};

/// The source of the mount in `/proc/self/mountinfo`, by which it is known as a kmonitor's.
const MOUNT_SOURCE: &str = "kmonitor";

/// What our file says while no mount covers it, and how a later start knows it as ours.
const MARKER: &str = "kmonitor is not running: start it with `kmonitor serve`\n";

/// How long the server of a mount may take to answer before it counts as stopped.
const ANSWER: Duration = Duration::from_secs(2);

/// How often a place may change hands while we take it.
const MOST_TRIES: usize = 100;

/// A file that is ours to mount over, and locked against other daemons.
#[derive(Debug)]
pub struct MountPoint {
    path: PathBuf,
    /// The file, open for its lock.
    lock: Flock<File>,
    /// The same, as the path leads to it.
    file: File,
    /// The file is one of ours, not one that somebody prepared.
    remove: bool,
    /// Our mount.
    mounted: Option<mount::Id>,
}

impl MountPoint {
    /// Makes `path` ready: creates the file, clears what a crash left, refuses what is not ours.
    pub fn prepare(path: &Path) -> Result<MountPoint, PlaceError> {
        let path = absolute(path)?;
        for _ in 0..MOST_TRIES {
            clear_mount(&path)?;
            let (lock, remove) = match find(&path)? {
                Some((file, ours)) => (lock(file, &path)?, ours),
                None => match create(&path)? {
                    Some(lock) => (lock, true),
                    None => continue,
                },
            };
            // Between the open and the lock another daemon may have come, or gone with its file.
            if topmost(&path)?.is_none()
                && let Some(file) = open_as(&lock, &path)
            {
                return Ok(MountPoint { path, lock, file, remove, mounted: None });
            }
        }
        Err(PlaceError::Replaced(path))
    }

    /// Takes away what a FUSE node of ours has left at the path, so that something else can be there.
    pub fn clear_leftover(path: &Path) -> Result<(), PlaceError> {
        clear_mount(path)?;
        let is_file = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
        if is_file && examine(path).is_ok_and(|found| found.is_some_and(|(_, ours)| ours)) {
            MountPoint::prepare(path)?.clear()?;
        }
        Ok(())
    }

    /// Mounts a FUSE node over the file. The kernel's requests come from the descriptor.
    ///
    /// The kernel checks permissions, for all users alike: without allow_other a process that drops
    /// privileges after its open could no longer use its descriptor.
    pub fn mount(&mut self) -> Result<OwnedFd, PlaceError> {
        let device = OpenOptions::new().read(true).write(true).open(FUSE_DEVICE);
        let device = OwnedFd::from(device.map_err(io_error("open", Path::new(FUSE_DEVICE)))?);
        let refused = |errno: Errno| PlaceError::mount(&self.path, errno);
        let mode = self.file.metadata().map_err(io_error("examine", &self.path))?.mode();
        let (fd, mode) = (device.as_raw_fd().to_string(), format!("{mode:o}"));
        let options = [
            ("source", Some(MOUNT_SOURCE)),
            ("fd", Some(fd.as_str())),
            ("rootmode", Some(mode.as_str())),
            ("user_id", Some("0")),
            ("group_id", Some("0")),
            ("default_permissions", None),
            ("allow_other", None),
        ];
        let attributes =
            Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NODEV | Attributes::MOUNT_ATTR_NOEXEC;
        let mount = mount::new("fuse", &options, attributes).map_err(refused)?;
        let id = mount::id(&mount).map_err(io_error("find out the mount over", &self.path))?;
        mount::attach(&mount, &self.file).map_err(refused)?;
        self.mounted = Some(id);
        Ok(device)
    }

    /// False if our mount namespace is not that of the system, and the mount has not found its way there.
    pub fn is_seen_outside(&self) -> Result<bool, PlaceError> {
        let mounts = procfs::mounts().map_err(io_error("look for mounts on", &self.path))?;
        let ours = mounts.iter().find(|mount| self.mounted.is_some_and(|id| id.listed == mount.id));
        Ok(ours.is_none_or(|ours| procfs::is_mounted_outside(&ours.device)))
    }

    /// The descriptors of the file.
    pub fn descriptors(&self) -> [RawFd; 2] {
        [self.lock.as_raw_fd(), self.file.as_raw_fd()]
    }

    /// Lets go of the file and the mount, and leaves both.
    pub fn leave(mut self) {
        (self.mounted, self.remove) = (None, false);
    }

    /// Takes the mount and the file away, also while clients have it open, and wherever they are by
    /// now: the directories above may have been renamed.
    pub fn clear(mut self) -> Result<(), PlaceError> {
        self.take_away()
    }

    fn take_away(&mut self) -> Result<(), PlaceError> {
        if let Some(id) = self.mounted.take() {
            detach_ours(id, &self.path)?;
        }
        if std::mem::take(&mut self.remove) {
            let link = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let now = fs::read_link(&link).map_err(io_error("find the file that was at", &self.path))?;
            if topmost(&now)?.is_none() && is_at(&self.lock, &now) {
                fs::remove_file(&now).map_err(io_error("remove", &now))?;
            }
        }
        Ok(())
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        // Whoever wants to know of a failure calls `clear`.
        let _ = self.take_away();
    }
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, PlaceError> {
    let name =
        path.file_name().ok_or_else(|| PlaceError::NotOurs { path: path.to_owned(), what: "a directory" })?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = parent.canonicalize().map_err(io_error("find the directory of", path))?;
    Ok(parent.join(name))
}

/// The mount that covers the path, if any.
pub(super) fn topmost(path: &Path) -> Result<Option<Mount>, PlaceError> {
    let mounts = procfs::mounts().map_err(io_error("look for mounts on", path))?;
    Ok(mounts.into_iter().rfind(|mount| mount.mount_point == path.as_os_str().as_bytes()))
}

/// True for a mount that a kmonitor made, this one or another.
pub(super) fn is_ours(mount: &Mount) -> bool {
    (mount.fs_type.as_str(), mount.source.as_str()) == ("fuse", MOUNT_SOURCE)
}

/// Takes dead mounts of earlier crashes away; an error if the path is served, or covered otherwise.
fn clear_mount(path: &Path) -> Result<(), PlaceError> {
    while let Some(mount) = topmost(path)? {
        if !is_ours(&mount) {
            return Err(PlaceError::NotOurs {
                path: path.to_owned(),
                what: "another file system is mounted there",
            });
        }
        match open_within(path, ANSWER) {
            Some(Err(error)) if error.raw_os_error() == Some(libc::ENOTCONN) => detach(path)?,
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Some(Err(error)) => return Err(io_error("examine", path)(error)),
            Some(Ok(())) => return Err(PlaceError::Served(path.to_owned())),
            None => return Err(PlaceError::Unresponsive(path.to_owned())),
        }
    }
    Ok(())
}

/// open(2), which asks the server; given up after a while, since one that is stopped does not answer.
fn open_within(path: &Path, limit: Duration) -> Option<io::Result<()>> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    let thread = thread::spawn(move || sender.send(File::open(path).map(drop)));
    let answer = receiver.recv_timeout(limit).ok()?;
    let _ = thread.join();
    Some(answer)
}

/// Detaches a dead mount.
fn detach(path: &Path) -> Result<(), PlaceError> {
    let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
    umount2(path, flags).map_err(|errno| io_error("unmount", path)(errno.into()))
}

/// Detaches our mount, and no other, wherever it is by now.
fn detach_ours(id: mount::Id, path: &Path) -> Result<(), PlaceError> {
    for _ in 0..MOST_TRIES {
        let mounts = procfs::mounts().map_err(io_error("look for mounts on", path))?;
        let Some(ours) = mounts.iter().find(|mount| mount.id == id.listed && is_ours(mount)) else {
            return Ok(());
        };
        let there = Path::new(OsStr::from_bytes(&ours.mount_point));
        if mounts.iter().rfind(|other| other.mount_point == ours.mount_point) != Some(ours) {
            return Err(PlaceError::Hidden(there.to_owned()));
        }
        // Another mount may have got the number; or ours was moved a moment ago.
        let Ok(root) = open_path(there) else { continue };
        if mount::id(&root).is_ok_and(|found| found == id) {
            return mount::detach(&root).map_err(|errno| io_error("unmount", there)(errno.into()));
        }
    }
    Ok(())
}

/// Opens the file at the path, if there is one; tells whether it is one of ours.
fn find(path: &Path) -> Result<Option<(File, bool)>, PlaceError> {
    let not_ours = |what| PlaceError::NotOurs { path: path.to_owned(), what };
    let kind = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("examine", path)(error)),
        Ok(metadata) => metadata.file_type(),
    };
    if kind.is_symlink() {
        return Err(not_ours("a symbolic link"));
    }
    if kind.is_char_device() {
        return Err(not_ours("a device node: the original driver's, or one made by mknod"));
    }
    if kind.is_dir() {
        return Err(not_ours("a directory"));
    }
    if !kind.is_file() {
        return Err(not_ours("not a regular file"));
    }
    match examine(path) {
        Ok(Some(found)) => Ok(Some(found)),
        Ok(None) => Err(not_ours("a file with other content")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("open", path)(error)),
    }
}

fn lock(file: File, path: &Path) -> Result<Flock<File>, PlaceError> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => PlaceError::Served(path.to_owned()),
        errno => io_error("lock", path)(errno.into()),
    })
}

/// Makes the file, and locks it, before it has its name: nobody ever finds it half made, and nothing
/// is left if that fails. `None`: the name is taken by now.
fn create(path: &Path) -> Result<Option<Flock<File>>, PlaceError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    match new_file().custom_flags(libc::O_TMPFILE).open(directory) {
        Ok(file) => {
            let file = fill(file, path)?;
            let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
            let link = linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW);
            Ok(named(link, path)?.then_some(file))
        }
        // Not every file system has files without a name.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) =>
        {
            create_beside(path)
        }
        Err(error) => Err(io_error("create", path)(error)),
    }
}

/// The same by way of another name in the directory.
fn create_beside(path: &Path) -> Result<Option<Flock<File>>, PlaceError> {
    let temporary = path.with_file_name(format!(".kmonitor-{}", std::process::id()));
    let file = new_file().create_new(true).open(&temporary).map_err(io_error("create", path))?;
    let made = fill(file, path).and_then(|file| {
        let rename = renameat2(AT_FDCWD, &temporary, AT_FDCWD, path, RenameFlags::RENAME_NOREPLACE);
        Ok(named(rename, path)?.then_some(file))
    });
    if !matches!(made, Ok(Some(_))) {
        let _ = fs::remove_file(&temporary);
    }
    made
}

fn new_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// False if the name is taken.
fn named(result: nix::Result<()>, path: &Path) -> Result<bool, PlaceError> {
    match result {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(errno) => Err(io_error("create", path)(errno.into())),
    }
}

fn fill(mut file: File, path: &Path) -> Result<Flock<File>, PlaceError> {
    file.write_all(MARKER.as_bytes()).map_err(io_error("write", path))?;
    lock(file, path)
}

/// The file at the path, if it is this one. Nothing is asked of whatever serves it.
fn open_as(file: &File, path: &Path) -> Option<File> {
    let there = open_path(path).ok()?;
    is_same(file, &there.metadata().ok()?).then_some(there)
}

fn open_path(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)
}

/// An empty file was prepared by somebody and stays; one with our marker was left by a crash.
pub(super) fn examine(path: &Path) -> io::Result<Option<(File, bool)>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let mut content = Vec::new();
    (&file).take(MARKER.len() as u64 + 1).read_to_end(&mut content)?;
    Ok(match content.as_slice() {
        [] => Some((file, false)),
        content if content == MARKER.as_bytes() => Some((file, true)),
        _ => None,
    })
}

/// True if the path still names this very file.
fn is_at(file: &File, path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| is_same(file, &there))
}

fn is_same(file: &File, there: &fs::Metadata) -> bool {
    file.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_made_has_its_lock_and_content_and_never_replaces_another() {
        let directory = std::env::temp_dir().join(format!("kmonitor-create-{}", std::process::id()));
        fs::create_dir(&directory).expect("mkdir");
        let path = directory.join("node");
        for create in [create, create_beside] {
            let made = create(&path).expect("it can be made").expect("the name is free");
            assert!(open_as(&made, &path).is_some());
            let (found, ours) = find(&path).expect("it can be read").expect("it is there");
            assert!(ours && matches!(lock(found, &path), Err(PlaceError::Served(_))));
            assert!(matches!(create(&path), Ok(None)));
            fs::remove_file(&path).expect("remove");
            assert!(matches!(create(&directory.join("no").join("node")), Err(PlaceError::Io { .. })));
        }
        // Nothing else was left.
        fs::remove_dir(&directory).expect("it is empty");
    }
}
