//! The node as a FUSE mount whose root is one regular file (docs/kernel-facts.md#the-kernels-part-of-a-file).
//!
//! fuser mounts it and negotiates; then the queue is read here, since exact closing needs a queue
//! that can be drained and a raw ioctl argument, which fuser's trait hides.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use fuser::{Config, Filesystem, InitFlags, KernelConfig, Session, SessionACL};
use nix::errno::Errno;
use zerocopy::IntoBytes;

use crate::ids::{HandleId, Tid};
use crate::sys::procfs::{self, FileId};

use super::channel::{self, Channel, Taken};
use super::wire::{self, Attr, AttrOut, GetxattrIn, InHeader, IoctlIn, OpenIn, SetattrIn, fattr, op};
use super::{Answer, Node, NodeGone, Ownership, Request, Ticket};

/// The largest write that the kernel sends; with its headers it fits the smallest read buffer.
const MAX_WRITE: u32 = 4096;

/// The kernel may keep the attributes: only chmod, chown and utimes change them, and it sees those.
const ATTR_VALID_SECONDS: u64 = 3600;

/// The root's inode number.
const ROOT: u64 = 1;

/// What fuser does for us ends with the INIT negotiation.
struct Negotiation;

impl Filesystem for Negotiation {
    fn init(&mut self, _: &fuser::Request, config: &mut KernelConfig) -> io::Result<()> {
        let _ = config.set_max_write(MAX_WRITE);
        // Without it open(O_TRUNC) would arrive as a truncation, which the device refuses.
        config
            .add_capabilities(InitFlags::FUSE_ATOMIC_O_TRUNC)
            .map_err(|_| io::Error::new(io::ErrorKind::Unsupported, "the kernel's FUSE lacks ATOMIC_O_TRUNC"))
    }
}

/// A mounted FUSE node. Dropping it cuts the connection; the mount itself is its mount point's to
/// take away.
pub struct FuseNode {
    channel: Channel<Session<Negotiation>>,
    attr: Attr,
    file: FileId,
}

impl FuseNode {
    /// The node whose requests come from this descriptor of `/dev/fuse`, which is mounted at `path`.
    pub fn new(device: OwnedFd, path: &Path, ownership: Ownership) -> io::Result<FuseNode> {
        let session = Session::from_fd(Negotiation, device, SessionACL::All, Config::default())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, nanoseconds) = (now.as_secs(), now.subsec_nanos());
        let attr = Attr {
            ino: ROOT,
            nlink: 1,
            blksize: 4096,
            mode: libc::S_IFREG | ownership.mode & 0o7777,
            uid: ownership.uid,
            gid: ownership.gid,
            atime: seconds,
            mtime: seconds,
            ctime: seconds,
            atimensec: nanoseconds,
            mtimensec: nanoseconds,
            ctimensec: nanoseconds,
            ..Attr::default()
        };
        let channel = Channel::new(session, wire::FOPEN_DIRECT_IO | wire::FOPEN_NONSEEKABLE)?;
        Ok(FuseNode { channel, attr, file: procfs::file(path)? })
    }
}

/// One frame. An error is its answer.
pub(super) fn take(
    device: &impl AsFd,
    attr: &mut Attr,
    header: &InHeader,
    body: &[u8],
) -> Result<Taken, Errno> {
    let ticket = channel::ticket(header);
    Ok(match header.opcode {
        op::OPEN => {
            let (open, _) = wire::argument::<OpenIn>(body).ok_or(Errno::EIO)?;
            // A device without direct I/O.
            if open.flags & libc::O_DIRECT as u32 != 0 {
                return Err(Errno::EINVAL);
            }
            channel::caller(header)?;
            Taken::Request(Request::Open { ticket })
        }
        op::IOCTL => {
            let (ioctl, data) = wire::argument::<IoctlIn>(body).ok_or(Errno::EIO)?;
            let caller = channel::caller(header)?;
            // Where the number does not have the kernel fetch the argument, it is none of the device's two. The
            // caller's memory is not looked at: the caller chooses who serves it, and that may be nobody.
            let argument = data.first_chunk().copied().ok_or(Errno::EINVAL)?;
            Taken::Request(Request::Ioctl {
                ticket,
                handle: HandleId(ioctl.fh),
                caller,
                command: ioctl.cmd,
                argument: Ok(argument),
            })
        }
        op::FLUSH => {
            let by = Tid(header.pid as i32);
            Taken::Request(Request::Close { ticket, handle: channel::handle(body)?, by })
        }
        op::RELEASE => {
            let handle = channel::handle(body)?;
            // close() has not waited for this, so the answer may precede the handling.
            wire::reply(device, header.unique, Ok(&[]));
            Taken::Request(Request::Release { ticket: None, handle })
        }
        op::FORGET | op::BATCH_FORGET | op::INTERRUPT => Taken::Done,
        op::GETATTR => attributes(attr),
        op::SETATTR => {
            let (change, _) = wire::argument::<SetattrIn>(body).ok_or(Errno::EIO)?;
            change_attr(attr, &change)?;
            attributes(attr)
        }
        op::STATFS => Taken::Reply(wire::NO_BLOCKS.to_vec()),
        op::LISTXATTR => {
            let (list, _) = wire::argument::<GetxattrIn>(body).ok_or(Errno::EIO)?;
            Taken::Reply(if list.size == 0 { wire::NO_XATTRS.to_vec() } else { Vec::new() })
        }
        op::GETXATTR => return Err(Errno::ENODATA),
        op::READ | op::WRITE | op::FSYNC => return Err(Errno::EINVAL),
        op::FALLOCATE => return Err(Errno::ENODEV),
        _ => return Err(Errno::ENOSYS),
    })
}

fn attributes(attr: &Attr) -> Taken {
    let reply = AttrOut { attr_valid: ATTR_VALID_SECONDS, attr: *attr, ..AttrOut::default() };
    Taken::Reply(reply.as_bytes().to_vec())
}

fn change_attr(attr: &mut Attr, change: &SetattrIn) -> Result<(), Errno> {
    let asks = |bit: u32| change.valid & bit != 0;
    if asks(fattr::SIZE) {
        return Err(Errno::EINVAL);
    }
    if asks(fattr::MODE) {
        attr.mode = libc::S_IFREG | change.mode & 0o7777;
    }
    if asks(fattr::UID) {
        attr.uid = change.uid;
    }
    if asks(fattr::GID) {
        attr.gid = change.gid;
    }
    if asks(fattr::ATIME) {
        (attr.atime, attr.atimensec) = (change.atime, change.atimensec);
    }
    if asks(fattr::MTIME) {
        (attr.mtime, attr.mtimensec) = (change.mtime, change.mtimensec);
    }
    Ok(())
}

impl Node for FuseNode {
    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.channel.poll_fd()
    }

    fn next(&mut self) -> Result<Option<Request>, NodeGone> {
        let attr = &mut self.attr;
        self.channel.next(|device, header, body| take(device, attr, header, body))
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.channel.answer(ticket, answer);
    }

    fn answer_others(&mut self, most: usize) -> bool {
        self.channel.reply_to_others(most)
    }

    fn closes(&self) -> Option<FileId> {
        Some(self.file)
    }
}
