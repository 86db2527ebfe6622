//! The kernel's queue of requests, which FUSE and CUSE share: reading frames, decoding the four that
//! concern the driver, answering.

use std::collections::VecDeque;
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
    /// Replies that are not given yet, and to which request. Each has a caller who waits, so they are not many.
    replies: VecDeque<(u64, Result<Vec<u8>, Errno>)>,
    buffer: Box<[u8; READ_BUFFER]>,
    /// What every open is answered with.
    open_flags: u32,
}

/// What a carrier makes of a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// A request for the reader.
    Request(Request),
    /// A reply that has time, since the frame concerns no registration.
    Reply(Vec<u8>),
    /// Nothing more: it needs no reply, or has it.
    Done,
}

impl<D: AsFd> Channel<D> {
    /// A channel whose reads do not wait.
    pub fn new(device: D, open_flags: u32) -> nix::Result<Channel<D>> {
        let flags = OFlag::from_bits_retain(fcntl(device.as_fd(), FcntlArg::F_GETFL)?);
        fcntl(device.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Channel { device, replies: VecDeque::new(), buffer: Box::new([0; READ_BUFFER]), open_flags })
    }

    /// What to poll.
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    /// Reads frames until `take` makes a request of one, or the queue is empty. An error of `take` is a reply that has
    /// time.
    pub fn next(
        &mut self,
        mut take: impl FnMut(&D, &InHeader, &[u8]) -> Result<Taken, Errno>,
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
                Ok(Taken::Request(request)) => return Ok(Some(request)),
                Ok(Taken::Reply(body)) => self.replies.push_back((header.unique, Ok(body))),
                Ok(Taken::Done) => {}
                Err(errno) => self.replies.push_back((header.unique, Err(errno))),
            }
        }
    }

    /// Gives at most so many of the replies that have time; false if there was none.
    pub fn reply_to_others(&mut self, most: usize) -> bool {
        let count = most.min(self.replies.len());
        for (unique, reply) in self.replies.drain(..count) {
            wire::reply(&self.device, unique, reply.as_deref().map_err(|errno| *errno));
        }
        count > 0
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

#[cfg(test)]
mod tests {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use nix::unistd::write;

    use super::*;

    #[test]
    fn what_concerns_no_registration_is_read_at_once_and_answered_when_there_is_time() {
        let flags = SockFlag::SOCK_NONBLOCK;
        let (kernel, device) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).expect("two");
        let mut channel = Channel::new(device, 0).expect("descriptors have flags");
        let frame = |unique: u64, opcode: u32| {
            let words = [40, opcode, unique as u32, 0, 0, 0, 0, 0, 1, 0].map(u32::to_ne_bytes);
            write(&kernel, words.as_flattened()).expect("a frame");
        };
        for (unique, opcode) in [(1, op::STATFS), (2, op::READ), (3, op::OPEN)] {
            frame(unique, opcode);
        }
        let request = channel.next(|_, header, _| match header.opcode {
            op::STATFS => Ok(Taken::Reply(vec![7])),
            op::OPEN => Ok(Taken::Request(Request::Open { ticket: ticket(header) })),
            _ => Err(Errno::EINVAL),
        });
        assert!(matches!(request, Ok(Some(Request::Open { .. }))));
        let mut buffer = [0; 64];
        assert_eq!(read(&kernel, &mut buffer), Err(Errno::EAGAIN));
        assert!(channel.reply_to_others(1));
        assert_eq!(read(&kernel, &mut buffer), Ok(17));
        assert_eq!((buffer[8], buffer[16]), (1, 7));
        assert!(channel.reply_to_others(8) && !channel.reply_to_others(8));
        assert_eq!(read(&kernel, &mut buffer), Ok(16));
        assert_eq!((buffer[8], buffer[4]), (2, (-libc::EINVAL) as u8));
    }
}
