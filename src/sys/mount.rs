//! Mounts as descriptors: fsopen(2), fsmount(2) and move_mount(2) of Linux 5.2.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use rustix::fs::{AtFlags, StatxFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MoveMountFlags};

pub use rustix::mount::MountAttrFlags as Attributes;

/// `STATX_MNT_ID_UNIQUE` (Linux 6.8)
const MNT_ID_UNIQUE: u32 = 0x4000;

/// A new file system of this type, mounted nowhere yet. An option without a value is a flag.
pub fn new(
    fs_type: &str,
    options: &[(&str, Option<&str>)],
    attributes: Attributes,
) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(fs_type, FsOpenFlags::FSOPEN_CLOEXEC).map_err(errno)?;
    for (name, value) in options {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(&context, *name, *value),
            None => rustix::mount::fsconfig_set_flag(&context, *name),
        }
        .map_err(errno)?;
    }
    rustix::mount::fsconfig_create(&context).map_err(errno)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(errno)
}

/// Mounts it over the very file or directory that `over` is open on, whatever its path has become.
pub fn attach(mount: impl AsFd, over: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", over, c"", flags).map_err(errno)
}

/// Names a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    /// As `/proc/self/mountinfo` lists it; a later mount may get the same.
    pub listed: u64,
    /// As no other mount ever has it, where the kernel tells that (Linux 6.8).
    pub unique: Option<u64>,
}

/// The mount that a descriptor is in. The server of the file system is not asked.
pub fn id(of: impl AsFd) -> io::Result<Id> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = rustix::fs::statx(&of, c"", flags, StatxFlags::from_bits_retain(MNT_ID_UNIQUE));
    let unique = found.ok().filter(|found| found.stx_mask & MNT_ID_UNIQUE != 0);
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", of.as_fd().as_raw_fd()))?;
    let listed = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    let listed = listed.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it has no mnt_id"))?;
    Ok(Id { listed, unique: unique.map(|found| found.stx_mnt_id) })
}

/// `umount2(MNT_DETACH)` of the mount whose root `root` is open on, also while it is in use.
pub fn detach(root: impl AsFd) -> Result<(), Errno> {
    let path = CString::new(format!("/proc/self/fd/{}", root.as_fd().as_raw_fd())).expect("no zero in it");
    nix::mount::umount2(path.as_c_str(), nix::mount::MntFlags::MNT_DETACH)
}

fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}
