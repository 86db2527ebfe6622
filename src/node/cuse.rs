//! The node as a character device in user space: the closest to the original that a stock kernel
//! offers. close() waits for our answer (docs/kernel-facts.md#a-close-waits), and ioctls fetch exactly
//! what we name (docs/kernel-facts.md#the-argument-of-an-ioctl).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use zerocopy::IntoBytes;

use crate::abi::COMMAND_SIZE;
use crate::ids::HandleId;
use crate::sys::procfs::FileId;

use super::channel::{self, Channel, Taken};
use super::wire::{self, CuseInitIn, CuseInitOut, InHeader, IoctlIn, IoctlOut, IoctlVector, op};
use super::{Answer, Node, NodeGone, Request, Ticket};

/// Where the kernel offers CUSE.
pub const CUSE_DEVICE: &str = "/dev/cuse";

/// The protocol's version that we speak. 7.12 is the first with our ioctl vectors' form.
const VERSION: (u32, u32) = (7, 31);

/// Largest transfers; none is ever made.
const MAX_TRANSFER: u32 = 4096;

/// A character device in service. It vanishes when this is dropped.
pub struct CuseNode(Channel<File>);

impl CuseNode {
    /// Has the kernel make the device `name` of an open [`CUSE_DEVICE`], with a number of the kernel's
    /// choice: 10:221, the original's, cannot be had (docs/kernel-facts.md#the-device-number).
    pub fn create(mut device: File, name: &str) -> io::Result<CuseNode> {
        let mut frame = [0; wire::READ_BUFFER];
        let len = device.read(&mut frame)?;
        let (unique, body) = welcome(&frame[..len], name)?;
        wire::reply(&device, unique, Ok(&body));
        Ok(CuseNode(Channel::new(device, 0)?))
    }

    /// False if the kernel made no device, or has none any more: another of that name may be there.
    pub fn exists(&self) -> bool {
        let mut device = [PollFd::new(self.0.poll_fd(), PollFlags::empty())];
        poll(&mut device, PollTimeout::ZERO) == Ok(0)
    }
}

/// The answer to the kernel's greeting: the number of that frame, and what to reply.
pub(super) fn welcome(frame: &[u8], name: &str) -> io::Result<(u64, Vec<u8>)> {
    let refused = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let (header, body) = wire::parse(frame).ok_or_else(|| refused("malformed CUSE greeting"))?;
    let (init, _) = wire::argument::<CuseInitIn>(body)
        .filter(|(init, _)| header.opcode == op::CUSE_INIT && init.major == VERSION.0)
        .ok_or_else(|| refused("the kernel's CUSE speaks another protocol version"))?;
    let reply = CuseInitOut {
        major: VERSION.0,
        minor: VERSION.1.min(init.minor),
        flags: wire::CUSE_UNRESTRICTED_IOCTL,
        max_read: MAX_TRANSFER,
        max_write: MAX_TRANSFER,
        ..CuseInitOut::default()
    };
    let mut body = reply.as_bytes().to_vec();
    body.extend(format!("DEVNAME={name}\0").as_bytes());
    Ok((header.unique, body))
}

/// One frame. An error is its answer.
pub(super) fn take(device: &impl AsFd, header: &InHeader, body: &[u8]) -> Result<Taken, Errno> {
    let ticket = channel::ticket(header);
    match header.opcode {
        op::OPEN => {
            channel::caller(header)?;
            Ok(Taken::Request(Request::Open { ticket }))
        }
        op::IOCTL => {
            let (ioctl, data) = wire::argument::<IoctlIn>(body).ok_or(Errno::EIO)?;
            let caller = channel::caller(header)?;
            if ioctl.in_size == 0 {
                ask_for_argument(device, header.unique, ioctl.arg);
                return Ok(Taken::Done);
            }
            Ok(Taken::Request(Request::Ioctl {
                ticket,
                handle: HandleId(ioctl.fh),
                caller,
                command: ioctl.cmd,
                argument: data.first_chunk().copied().ok_or(Errno::EIO),
            }))
        }
        op::RELEASE => {
            Ok(Taken::Request(Request::Release { ticket: Some(ticket), handle: channel::handle(body)? }))
        }
        op::FORGET | op::BATCH_FORGET | op::INTERRUPT => Ok(Taken::Done),
        op::READ | op::WRITE | op::FSYNC => Err(Errno::EINVAL),
        _ => Err(Errno::ENOSYS),
    }
}

/// Has the kernel fetch the 12 bytes at the argument pointer, whatever the command says about its own
/// size and direction (docs/behaviour.md, fact 9), and ask again. If they cannot be read, it answers EFAULT itself.
fn ask_for_argument(device: &impl AsFd, unique: u64, pointer: u64) {
    let retry = IoctlOut { flags: wire::IOCTL_RETRY, in_iovs: 1, ..IoctlOut::default() };
    let vector = IoctlVector { base: pointer, len: COMMAND_SIZE as u64 };
    wire::reply(device, unique, Ok(&[retry.as_bytes(), vector.as_bytes()].concat()));
}

impl Node for CuseNode {
    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.0.poll_fd()
    }

    fn next(&mut self) -> Result<Option<Request>, NodeGone> {
        self.0.next(take)
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.0.answer(ticket, answer);
    }

    fn answer_others(&mut self, most: usize) -> bool {
        self.0.reply_to_others(most)
    }

    fn closes(&self) -> Option<FileId> {
        None
    }
}
