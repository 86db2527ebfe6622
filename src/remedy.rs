//! What the user can do about an errno: every error of ours says what failed, on what, and this.

use std::io;

use nix::errno::Errno;

/// What to do about a call on the device's place, or for a resource of ours, that failed like this.
pub fn remedy(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM | Errno::EACCES => {
            "run it as root with all capabilities (sudo; in a container --privileged)"
        }
        Errno::ENOENT => "make its directory first (mkdir -p), or choose another place with --path",
        Errno::ENOTDIR => "choose another place with --path, all of whose parts are directories",
        Errno::ENAMETOOLONG => "choose a shorter place with --path",
        Errno::ELOOP => "choose another place with --path: symbolic links lead in a circle there",
        Errno::EROFS => "choose another place with --path: that file system is read-only",
        Errno::ENOSPC | Errno::EDQUOT => {
            "free space in that file system, or choose another place with --path"
        }
        Errno::EFBIG => "raise the limit of file sizes (ulimit -f, LimitFSIZE= of the unit)",
        Errno::EMFILE => "raise the limit of open files (ulimit -n, LimitNOFILE= of the unit)",
        Errno::ENFILE => "raise the system's limit of open files (sysctl fs.file-max)",
        Errno::ENOMEM => "free memory, or raise its limit (ulimit -v, MemoryMax= of the unit)",
        Errno::EAGAIN => "raise the limit of processes (ulimit -u, TasksMax= of the unit)",
        Errno::EBUSY => {
            "find out who uses it (findmnt, fuser), and end that, or choose another place with --path"
        }
        Errno::ENXIO | Errno::ENODEV => "load its module (modprobe), or boot a kernel that has it",
        Errno::ENOSYS => "boot Linux 5.3 or later; in a container, allow the call (--privileged)",
        Errno::EINVAL | Errno::EOPNOTSUPP => {
            "choose another place with --path: that file system cannot do it"
        }
        Errno::EIO => "look at what the kernel says of that file system's disk (dmesg)",
        _ => "report this, please: nobody has met it yet",
    }
}

/// The same for an error of the standard library.
pub fn of(error: &io::Error) -> &'static str {
    remedy(error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw))
}
