//! The place of the node: a file that the FUSE mount covers, found free, kept ours, left clean.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, umount2};

use crate::sys::procfs::{self, Mount};

use super::fuse::MOUNT_SOURCE;
use super::place::{PlaceError, io_error};

/// What our file says while no mount covers it, and how a later start knows it as ours.
const MARKER: &str = "kmonitor is not running: start it with `kmonitor serve`\n";

/// How long the server of a mount may take to answer before it counts as stopped.
const ANSWER: Duration = Duration::from_secs(2);

/// A file that is ours to mount over, and locked against other daemons.
#[derive(Debug)]
pub struct MountPoint {
    path: PathBuf,
    lock: Flock<File>,
    /// The file is one of ours, not one that somebody prepared.
    remove: bool,
    /// The device number of our mount.
    mounted: Option<String>,
}

impl MountPoint {
    /// Makes `path` ready: creates the file, clears what a crash left, refuses what is not ours.
    pub fn prepare(path: &Path) -> Result<MountPoint, PlaceError> {
        let path = absolute(path)?;
        loop {
            clear_mount(&path)?;
            let (file, remove) = open_or_create(&path)?;
            let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => lock,
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Err(PlaceError::Served(path)),
                Err((_, errno)) => return Err(io_error("lock", &path)(errno.into())),
            };
            // Between the open and the lock another daemon may have come, or gone with its file.
            if topmost(&path)?.is_none() && is_at(&lock, &path) {
                return Ok(MountPoint { path, lock, remove, mounted: None });
            }
        }
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes note of the mount that is now over the file. It must be ours: who can write to the directory
    /// can put something else in the file's place while we mount.
    pub fn mounted(&mut self) -> Result<(), PlaceError> {
        let ours = topmost(&self.path)?.filter(is_ours);
        self.mounted = Some(ours.ok_or_else(|| PlaceError::Replaced(self.path.clone()))?.device);
        Ok(())
    }

    /// Takes the mount and the file away, also while clients have it open.
    pub fn clear(mut self) -> Result<(), PlaceError> {
        self.take_away()
    }

    fn take_away(&mut self) -> Result<(), PlaceError> {
        if let Some(device) = self.mounted.take()
            && topmost(&self.path)?.is_some_and(|mount| mount.device == device)
        {
            detach(&self.path)?;
        }
        if self.remove && topmost(&self.path)?.is_none() && is_at(&self.lock, &self.path) {
            self.remove = false;
            fs::remove_file(&self.path).map_err(io_error("remove", &self.path))?;
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
    thread::spawn(move || sender.send(File::open(path).map(drop)));
    receiver.recv_timeout(limit).ok()
}

fn detach(path: &Path) -> Result<(), PlaceError> {
    let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
    umount2(path, flags).map_err(|errno| io_error("unmount", path)(errno.into()))
}

/// Opens the file at the path, made now if there is none; tells whether it is one of ours.
fn open_or_create(path: &Path) -> Result<(File, bool), PlaceError> {
    loop {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
                    Ok(mut file) => {
                        file.write_all(MARKER.as_bytes()).map_err(io_error("write", path))?;
                        return Ok((file, true));
                    }
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(io_error("create", path)(error)),
                }
            }
            Err(error) => return Err(io_error("examine", path)(error)),
            Ok(metadata) => {
                let kind = metadata.file_type();
                if let Some(what) = match () {
                    () if kind.is_symlink() => Some("a symbolic link"),
                    () if kind.is_char_device() => {
                        Some("a device node: the original driver's, or one made by mknod")
                    }
                    () if kind.is_dir() => Some("a directory"),
                    () if !kind.is_file() => Some("not a regular file"),
                    () => None,
                } {
                    return Err(PlaceError::NotOurs { path: path.to_owned(), what });
                }
                match examine(path) {
                    Ok(Some(found)) => return Ok(found),
                    Ok(None) => {
                        return Err(PlaceError::NotOurs {
                            path: path.to_owned(),
                            what: "a file with other content",
                        });
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(io_error("open", path)(error)),
                }
            }
        }
    }
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
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}
