//! The kernel's queue of requests, which FUSE and CUSE share: reading frames, decoding the four that
//! concern the driver, answering.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::read;
use zerocopy::IntoBytes;

use crate::ids::{HandleId, Tid, Uid};

use super::wire::{self, HandleIn, InHeader, IoctlOut, OpenOut, READ_BUFFER, op};
use super::{Answer, Caller, NodeGone, Request, Ticket};

/// A connection to the kernel over this device.
pub struct Channel<D> {
    device: D,
    buffer: Box<[u8; READ_BUFFER]>,
    /// What every open is answered with.
    open_flags: u32,
}

/// What a carrier does with a frame: hand a request over, or answer it itself. An error is an answer.
pub type Taken = Result<Option<Request>, Errno>;

impl<D: AsFd> Channel<D> {
    /// A channel whose reads do not wait.
    pub fn new(device: D, open_flags: u32) -> nix::Result<Channel<D>> {
        let flags = OFlag::from_bits_retain(fcntl(device.as_fd(), FcntlArg::F_GETFL)?);
        fcntl(device.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Channel { device, buffer: Box::new([0; READ_BUFFER]), open_flags })
    }

    /// What to poll.
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    /// Reads frames until `take` makes a request of one, or the queue is empty.
    pub fn next(
        &mut self,
        mut take: impl FnMut(&D, &InHeader, &[u8]) -> Taken,
    ) -> Result<Option<Request>, NodeGone> {
        loop {
            let len = match read(&self.device, self.buffer.as_mut_slice()) {
                Ok(len) => len,
                Err(Errno::EAGAIN) => return Ok(None),
                // A signal; or a request that was withdrawn while we read it.
                Err(Errno::EINTR | Errno::ENOENT) => continue,
                Err(Errno::ENODEV) => return Err(NodeGone::Removed),
                Err(errno) => return Err(NodeGone::Unreadable(errno)),
            };
            let Some((header, body)) = wire::parse(&self.buffer[..len]) else { continue };
            match take(&self.device, &header, body) {
                Ok(None) => {}
                Ok(request) => return Ok(request),
                Err(errno) => wire::reply(&self.device, header.unique, Err(errno)),
            }
        }
    }

    /// Answers a request.
    pub fn answer(&self, ticket: Ticket, answer: Answer) {
        let reply = |result: Result<&[u8], Errno>| wire::reply(&self.device, ticket.unique, result);
        match answer {
            Answer::Opened(handle) => {
                let opened = OpenOut { fh: handle.0, open_flags: self.open_flags, backing_id: 0 };
                reply(Ok(opened.as_bytes()));
            }
            Answer::Done if ticket.ioctl => reply(Ok(IoctlOut::default().as_bytes())),
            Answer::Done => reply(Ok(&[])),
            Answer::Failed(errno) => reply(Err(errno)),
        }
    }
}

/// The ticket of a frame's request.
pub fn ticket(header: &InHeader) -> Ticket {
    Ticket { unique: header.unique, ioctl: header.opcode == op::IOCTL }
}

/// The calling task. EPERM for one outside our pid namespace, which the kernel calls 0: it has no id
/// that we could signal.
pub fn caller(header: &InHeader) -> Result<Caller, Errno> {
    match i32::try_from(header.pid) {
        Ok(pid) if pid > 0 => Ok(Caller { tid: Tid(pid), uid: Uid(header.uid) }),
        _ => Err(Errno::EPERM),
    }
}

/// The open file that a flush or a release is about.
pub fn handle(body: &[u8]) -> Result<HandleId, Errno> {
    let (argument, _) = wire::argument::<HandleIn>(body).ok_or(Errno::EIO)?;
    Ok(HandleId(argument.fh))
}
