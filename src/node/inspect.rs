//! What is at a node's path, found out without changing it and without asking whoever serves it.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::makedev;

use crate::sys::statx::{self, FileStatus};

use super::device_node::{FIRST_DYNAMIC_MAJOR, device_number};
use super::mount_point::{absolute, examine, is_ours, topmost};
use super::place::{PlaceError, io_error, name_in_dev};

/// What makes a node in the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A mounted file.
    Fuse,
    /// A character device.
    Cuse,
}

/// What is at a node's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No file.
    Nothing,
    /// A node of a kmonitor. Whether it is still served shows when it is opened.
    Node(Transport),
    /// The node of a CUSE device that is gone.
    DeadNode,
    /// The file that a mount covered before its daemon was killed and the mount was taken away.
    Marker,
    /// An empty regular file: prepared by somebody as the place for a mount, or by mistake.
    Empty,
    /// A file that may be [`Found::Marker`], [`Found::Empty`] or another's: we may not read it.
    Unreadable,
    /// Something that is not kmonitor's.
    Foreign(&'static str),
}

/// Looks at the path; gives it with its directory resolved.
pub fn inspect(path: &Path) -> Result<(PathBuf, Found), PlaceError> {
    let path = absolute(path)?;
    let found = match topmost(&path)? {
        Some(mount) if is_ours(&mount) => Found::Node(Transport::Fuse),
        Some(_) => Found::Foreign("another file system is mounted there"),
        None => match statx::cached(&path, libc::AT_SYMLINK_NOFOLLOW) {
            Ok(status) => classify(&path, &status)?,
            Err(Errno::ENOENT) => Found::Nothing,
            Err(errno) => return Err(io_error("examine", &path)(errno.into())),
        },
    };
    Ok((path, found))
}

fn classify(path: &Path, status: &FileStatus) -> Result<Found, PlaceError> {
    Ok(match status.file_type() {
        libc::S_IFCHR => device(path, status.node_of),
        libc::S_IFREG => match examine(path) {
            Ok(Some((_, true))) => Found::Marker,
            Ok(Some((_, false))) => Found::Empty,
            Ok(None) => Found::Foreign("a file with other content"),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Found::Unreadable,
            Err(error) => return Err(io_error("examine", path)(error)),
        },
        libc::S_IFLNK => Found::Foreign("a symbolic link"),
        libc::S_IFDIR => Found::Foreign("a directory"),
        _ => Found::Foreign("not a regular file"),
    })
}

fn device(path: &Path, (major, minor): (u32, u32)) -> Found {
    let number = makedev(major.into(), minor.into());
    if name_in_dev(path).and_then(device_number) == Some(number) {
        return Found::Node(Transport::Cuse);
    }
    let alive = Path::new(&format!("/sys/dev/char/{major}:{minor}")).exists();
    if !alive && u64::from(major) >= FIRST_DYNAMIC_MAJOR {
        Found::DeadNode
    } else {
        Found::Foreign("a device node")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_there_is_told_apart_and_stays() {
        let directory = std::env::temp_dir().join(format!("kmonitor-inspect-{}", std::process::id()));
        fs::create_dir(&directory).expect("mkdir");
        let path = directory.join("kmonitor");
        let found = || inspect(&path).expect("it can be examined").1;
        assert_eq!(found(), Found::Nothing);
        for (content, expected) in [
            ("", Found::Empty),
            ("kmonitor is not running: start it with `kmonitor serve`\n", Found::Marker),
            ("precious", Found::Foreign("a file with other content")),
        ] {
            fs::write(&path, content).expect("write");
            assert_eq!(found(), expected, "{content:?}");
            assert_eq!(fs::read_to_string(&path).expect("it stays"), content);
        }
        fs::remove_file(&path).expect("rm");
        symlink("/dev/null", &path).expect("link");
        assert_eq!(found(), Found::Foreign("a symbolic link"));
        assert_eq!(inspect(Path::new("/dev/null")).expect("it is there").1, Found::Foreign("a device node"));
        assert!(inspect(&directory.join("nowhere/kmonitor")).is_err());
        fs::remove_dir_all(&directory).expect("rm -r");
    }
}
