//! `statx(2)` that does not ask the file's server, which might never answer.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;

/// What the kernel knows of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// `S_IFMT` and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Major and minor number of the file system's device.
    pub device: (u32, u32),
    /// Inode number.
    pub inode: u64,
    /// Major and minor number of the device that the file is the node of.
    pub node_of: (u32, u32),
}

impl FileStatus {
    /// The file's type, one of `S_IFREG`, `S_IFCHR`, ...
    pub fn file_type(&self) -> u32 {
        self.mode & libc::S_IFMT
    }
}

/// Where paths in `/proc` start from, if not from the root.
static PROC: OnceLock<OwnedFd> = OnceLock::new();

/// From now on paths in `/proc` start from this descriptor of a procfs.
pub fn start_from(proc: OwnedFd) {
    // The first is as good as any other.
    let _ = PROC.set(proc);
}

/// What the kernel knows of the file at the path (`AT_STATX_DONT_SYNC`). `flags` may hold
/// `AT_SYMLINK_NOFOLLOW`. Of a file served by FUSE that nobody has opened yet it knows the type alone.
pub fn cached(path: &Path, flags: libc::c_int) -> Result<FileStatus, Errno> {
    let (directory, path) = match (PROC.get(), path.strip_prefix("/proc")) {
        (Some(proc), Ok(below)) => (proc.as_raw_fd(), below),
        _ => (libc::AT_FDCWD, path),
    };
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let flags = flags & libc::AT_SYMLINK_NOFOLLOW | libc::AT_STATX_DONT_SYNC;
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path ends with a zero, and the kernel writes one struct statx.
    let result =
        unsafe { libc::statx(directory, path.as_ptr(), flags, libc::STATX_BASIC_STATS, found.as_mut_ptr()) };
    Errno::result(result)?;
    // SAFETY: zeros are a valid struct statx, and so is what the kernel wrote.
    let found = unsafe { found.assume_init() };
    Ok(FileStatus {
        mode: found.stx_mode.into(),
        uid: found.stx_uid,
        gid: found.stx_gid,
        device: (found.stx_dev_major, found.stx_dev_minor),
        inode: found.stx_ino,
        node_of: (found.stx_rdev_major, found.stx_rdev_minor),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart() {
        let null = cached(Path::new("/dev/null"), 0).expect("it is everywhere");
        assert_eq!((null.file_type(), null.node_of), (libc::S_IFCHR, (1, 3)));
        let own = cached(Path::new("/proc/self/exe"), 0).expect("/proc is mounted");
        assert_eq!(own.file_type(), libc::S_IFREG);
        assert_ne!((own.device, own.inode), (null.device, null.inode));
        let link = cached(Path::new("/proc/self/exe"), libc::AT_SYMLINK_NOFOLLOW).expect("it is there");
        assert_eq!(link.file_type(), libc::S_IFLNK);
        assert_eq!(cached(Path::new("/no such file"), 0), Err(Errno::ENOENT));
        assert_eq!(cached(Path::new("a\0b"), 0), Err(Errno::EINVAL));
    }
}
