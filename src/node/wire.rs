//! The frames of the FUSE protocol (linux/fuse.h, version 7) that the device needs; FUSE and CUSE
//! share them.

use std::io::IoSlice;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::uio::writev;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Room for the largest request: an ioctl whose command encodes the largest size, 16383 bytes.
pub const READ_BUFFER: usize = 32768;

/// Operations. Those that are not named are answered with ENOSYS.
pub mod op {
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const SETATTR: u32 = 4;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const FSYNC: u32 = 20;
    pub const GETXATTR: u32 = 22;
    pub const LISTXATTR: u32 = 23;
    pub const FLUSH: u32 = 25;
    pub const INTERRUPT: u32 = 36;
    pub const IOCTL: u32 = 39;
    pub const BATCH_FORGET: u32 = 42;
    pub const FALLOCATE: u32 = 43;
    pub const CUSE_INIT: u32 = 4096;
}

/// `struct fuse_in_header`
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct InHeader {
    pub len: u32,
    pub opcode: u32,
    pub unique: u64,
    pub nodeid: u64,
    pub uid: u32,
    pub gid: u32,
    /// The calling task in the daemon's pid namespace; 0 for one outside it.
    pub pid: u32,
    pub total_extlen: u16,
    pub padding: u16,
}

/// `struct fuse_out_header`
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
struct OutHeader {
    len: u32,
    error: i32,
    unique: u64,
}

/// `struct fuse_open_in`
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct OpenIn {
    pub flags: u32,
    pub open_flags: u32,
}

/// `struct fuse_open_out`
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct OpenOut {
    pub fh: u64,
    pub open_flags: u32,
    pub backing_id: i32,
}

/// `FOPEN_DIRECT_IO`: reads and writes reach us, shared mappings are refused.
pub const FOPEN_DIRECT_IO: u32 = 1 << 0;
/// `FOPEN_NONSEEKABLE`: lseek gives ESPIPE.
pub const FOPEN_NONSEEKABLE: u32 = 1 << 2;

/// The beginning of `struct fuse_flush_in` and `struct fuse_release_in`.
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct HandleIn {
    pub fh: u64,
}

/// `struct fuse_ioctl_in`
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IoctlIn {
    pub fh: u64,
    pub flags: u32,
    pub cmd: u32,
    pub arg: u64,
    pub in_size: u32,
    pub out_size: u32,
}

/// `struct fuse_ioctl_out`
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub struct IoctlOut {
    pub result: i32,
    pub flags: u32,
    pub in_iovs: u32,
    pub out_iovs: u32,
}

/// `FUSE_IOCTL_RETRY`: fetch what the vectors of the reply name, and ask again.
pub const IOCTL_RETRY: u32 = 1 << 2;

/// `struct fuse_ioctl_iovec`
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct IoctlVector {
    pub base: u64,
    pub len: u64,
}

/// `struct cuse_init_in`
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CuseInitIn {
    pub major: u32,
    pub minor: u32,
    pub unused: u32,
    pub flags: u32,
}

/// `struct cuse_init_out`
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub struct CuseInitOut {
    pub major: u32,
    pub minor: u32,
    pub unused: u32,
    pub flags: u32,
    pub max_read: u32,
    pub max_write: u32,
    /// 0: the kernel chooses.
    pub dev_major: u32,
    pub dev_minor: u32,
    pub spare: [u32; 10],
}

/// `CUSE_UNRESTRICTED_IOCTL`: the server says what an ioctl reads, whatever its number says.
pub const CUSE_UNRESTRICTED_IOCTL: u32 = 1 << 0;

/// `struct fuse_attr`
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub struct Attr {
    pub ino: u64,
    pub size: u64,
    pub blocks: u64,
    pub atime: u64,
    pub mtime: u64,
    pub ctime: u64,
    pub atimensec: u32,
    pub mtimensec: u32,
    pub ctimensec: u32,
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u32,
    pub blksize: u32,
    pub flags: u32,
}

/// `struct fuse_attr_out`
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub struct AttrOut {
    pub attr_valid: u64,
    pub attr_valid_nsec: u32,
    pub dummy: u32,
    pub attr: Attr,
}

/// `struct fuse_setattr_in`
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetattrIn {
    pub valid: u32,
    pub padding: u32,
    pub fh: u64,
    pub size: u64,
    pub lock_owner: u64,
    pub atime: u64,
    pub mtime: u64,
    pub ctime: u64,
    pub atimensec: u32,
    pub mtimensec: u32,
    pub ctimensec: u32,
    pub mode: u32,
    pub unused4: u32,
    pub uid: u32,
    pub gid: u32,
    pub unused5: u32,
}

/// Bits of [`SetattrIn::valid`].
pub mod fattr {
    pub const MODE: u32 = 1 << 0;
    pub const UID: u32 = 1 << 1;
    pub const GID: u32 = 1 << 2;
    pub const SIZE: u32 = 1 << 3;
    pub const ATIME: u32 = 1 << 4;
    pub const MTIME: u32 = 1 << 5;
}

/// `struct fuse_getxattr_in`
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetxattrIn {
    /// The caller's buffer; 0 asks for the length alone.
    pub size: u32,
    pub padding: u32,
}

/// `struct fuse_getxattr_out`: the length of an attribute or of the list, here always 0.
pub const NO_XATTRS: [u8; 8] = [0; 8];

/// `struct fuse_statfs_out` of a file system without blocks.
pub const NO_BLOCKS: [u8; 80] = [0; 80];

/// A frame from the kernel: its header, and the rest.
pub fn parse(frame: &[u8]) -> Option<(InHeader, &[u8])> {
    let (header, body) = InHeader::read_from_prefix(frame).ok()?;
    (header.len as usize == frame.len()).then_some((header, body))
}

/// The operation's argument, and what follows it.
pub fn argument<T: FromBytes + KnownLayout + Immutable>(body: &[u8]) -> Option<(T, &[u8])> {
    T::read_from_prefix(body).ok()
}

/// Writes a reply: an error alone, or a result with its body.
///
/// ENOENT means that the caller no longer waits, which is no error of ours; any other error means
/// that the reply is malformed or the connection gone, and the next read tells the latter.
pub fn reply(device: impl AsFd, unique: u64, result: Result<&[u8], Errno>) {
    let body = result.unwrap_or_default();
    let header = OutHeader {
        len: (size_of::<OutHeader>() + body.len()) as u32,
        error: result.err().map_or(0, |errno| -(errno as i32)),
        unique,
    };
    let _ = writev(device, &[IoSlice::new(header.as_bytes()), IoSlice::new(body)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_sizes_of_the_protocol() {
        assert_eq!(size_of::<InHeader>(), 40);
        assert_eq!(size_of::<OutHeader>(), 16);
        assert_eq!(size_of::<OpenIn>(), 8);
        assert_eq!(size_of::<OpenOut>(), 16);
        assert_eq!(size_of::<IoctlIn>(), 32);
        assert_eq!(size_of::<IoctlOut>(), 16);
        assert_eq!(size_of::<IoctlVector>(), 16);
        assert_eq!(size_of::<CuseInitIn>(), 16);
        assert_eq!(size_of::<CuseInitOut>(), 72);
        assert_eq!(size_of::<AttrOut>(), 104);
        assert_eq!(size_of::<SetattrIn>(), 88);
    }

    #[test]
    fn a_frame_of_another_length_than_it_says_is_refused() {
        let mut frame = vec![0; 48];
        frame[0] = 48;
        assert!(parse(&frame).is_some());
        assert!(parse(&frame[..47]).is_none());
        assert!(parse(&frame[..10]).is_none());
        assert!(argument::<IoctlIn>(&frame[40..]).is_none());
    }
}
