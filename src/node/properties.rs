//! Frames of the FUSE protocol: what both carriers do with any frame at all, through the code that
//! reads, takes and answers them. It stands here for the private parts that it needs; its fellows are
//! in [`crate::properties`].

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use zerocopy::IntoBytes;

use crate::ids::{HandleId, Tid, Uid};

use super::channel::{Channel, Taken};
use super::wire::{self, Attr, FOPEN_DIRECT_IO, InHeader, READ_BUFFER, op};
use super::{Answer, Caller, Request, Ticket, cuse, fuse};

/// Where the argument begins: after `struct fuse_in_header`.
const BODY: usize = 40;
/// Where an ioctl's data begins: after `struct fuse_ioctl_in`.
const DATA: usize = BODY + 32;
/// Length of `struct fuse_out_header`.
const REPLY_HEADER: usize = 16;

/// Any bytes as one frame, for both carriers; and the same with the length put right, to get further.
pub fn frame(bytes: &[u8]) {
    if bytes.is_empty() || bytes.len() > READ_BUFFER {
        // No read gives these.
        return;
    }
    taken(bytes);
    let mut bytes = bytes.to_vec();
    let len = bytes.len() as u32;
    if let Some(word) = bytes.first_chunk_mut() {
        *word = len.to_ne_bytes();
        taken(&bytes);
    }
}

fn taken(bytes: &[u8]) {
    let frame = Frame(bytes);
    assert_eq!(wire::parse(bytes).is_some(), frame.is_whole(), "a frame is as long as it says");
    greeting(&frame);
    let mut kernel = Kernel::new();
    by_fuse(&mut kernel, &frame);
    by_cuse(&mut kernel, &frame);
}

/// A frame, read by offsets of linux/fuse.h.
struct Frame<'a>(&'a [u8]);

impl Frame<'_> {
    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }

    fn long(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.0[at..at + 8].try_into().expect("eight bytes"))
    }

    fn is_whole(&self) -> bool {
        self.0.len() >= BODY && self.word(0) as usize == self.0.len()
    }

    fn has_body(&self, len: usize) -> bool {
        self.0.len() >= BODY + len
    }

    fn operation(&self) -> u32 {
        self.word(4)
    }

    fn unique(&self) -> u64 {
        self.long(8)
    }

    fn pid(&self) -> i32 {
        self.word(32) as i32
    }

    /// A task that we could signal.
    fn has_caller(&self) -> bool {
        self.pid() > 0
    }

    fn needs_no_reply(&self) -> bool {
        [op::FORGET, op::BATCH_FORGET, op::INTERRUPT].contains(&self.operation())
    }
}

/// The kernel's end of a carrier's device, where one frame is one read and one reply one write.
struct Kernel {
    end: OwnedFd,
    channel: Channel<OwnedFd>,
}

impl Kernel {
    fn new() -> Kernel {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (end, device) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).expect("two sockets");
        Kernel { end, channel: Channel::new(device, FOPEN_DIRECT_IO).expect("descriptors have flags") }
    }

    /// What the carrier hands over of this frame.
    fn send(
        &mut self,
        frame: &Frame,
        take: impl FnMut(&OwnedFd, &InHeader, &[u8]) -> Result<Taken, Errno>,
    ) -> Option<Request> {
        assert_eq!(send(self.end.as_raw_fd(), frame.0, MsgFlags::empty()), Ok(frame.0.len()));
        let request = self.channel.next(take).expect("no frame makes the queue unreadable");
        self.channel.reply_to_others(1);
        assert!(!self.channel.reply_to_others(1), "a frame has one reply");
        request
    }

    /// The one reply to this frame, if there is one: its errno and its body. The kernel must take it.
    fn reply(&self, frame: &Frame) -> Option<(i32, Vec<u8>)> {
        let mut buffer = [0; 512];
        let len = recv(self.end.as_raw_fd(), &mut buffer, MsgFlags::empty()).ok()?;
        let reply = Frame(&buffer[..len]);
        assert_eq!(reply.word(0) as usize, len, "a reply is as long as it says");
        assert_eq!(reply.unique(), frame.unique(), "a reply names its frame");
        let error = reply.word(4) as i32;
        assert!((-511..=0).contains(&error), "the kernel takes no other errors");
        assert!(error == 0 || len == REPLY_HEADER, "an error comes alone");
        let body = buffer[REPLY_HEADER..len].to_vec();
        let again = recv(self.end.as_raw_fd(), &mut buffer, MsgFlags::empty());
        assert_eq!(again, Err(Errno::EAGAIN), "a frame has one reply");
        Some((-error, body))
    }

    /// A request with a ticket has no reply yet, and then the one that its answer makes.
    fn answers(&self, frame: &Frame, request: &Request) {
        assert_eq!(self.reply(frame), None, "the answer is not ours to give");
        let ticket = || Ticket { unique: frame.unique(), ioctl: frame.operation() == op::IOCTL };
        let (answer, body) = match request {
            Request::Open { .. } => {
                let opened = [7, 0, FOPEN_DIRECT_IO, 0].map(u32::to_ne_bytes).as_flattened().to_vec();
                (Answer::Opened(HandleId(u64::from_ne_bytes(opened[..8].try_into().expect("8")))), opened)
            }
            Request::Ioctl { .. } => (Answer::Done, vec![0; 16]),
            Request::Close { .. } | Request::Release { .. } => (Answer::Done, Vec::new()),
        };
        self.channel.answer(ticket(), answer);
        assert_eq!(self.reply(frame), Some((0, body)));
        self.channel.answer(ticket(), Answer::Failed(Errno::EINVAL));
        assert_eq!(self.reply(frame), Some((libc::EINVAL, Vec::new())));
    }
}

/// The request that a frame is, if it is one that concerns the driver: the same for both carriers,
/// but for what each of them refuses or answers itself.
fn request(frame: &Frame) -> Option<Request> {
    let ticket = Ticket { unique: frame.unique(), ioctl: frame.operation() == op::IOCTL };
    let handle = || HandleId(frame.long(BODY));
    match frame.operation() {
        op::OPEN if frame.has_caller() => Some(Request::Open { ticket }),
        op::IOCTL if frame.has_caller() && frame.has_body(32) => Some(Request::Ioctl {
            ticket,
            handle: handle(),
            caller: Caller { tid: Tid(frame.pid()), uid: Uid(frame.word(24)) },
            command: frame.word(BODY + 12),
            argument: frame.0[DATA..].first_chunk().copied().ok_or(Errno::EIO),
        }),
        op::RELEASE if frame.has_body(8) => Some(Request::Release { ticket: Some(ticket), handle: handle() }),
        _ => None,
    }
}

fn by_fuse(kernel: &mut Kernel, frame: &Frame) {
    let mut attr = Attr { ino: 1, nlink: 1, mode: libc::S_IFREG | 0o600, ..Attr::default() };
    let taken = kernel.send(frame, |device, header, body| fuse::take(device, &mut attr, header, body));
    assert_eq!((attr.ino, attr.nlink, attr.size, attr.mode & libc::S_IFMT), (1, 1, 0, libc::S_IFREG));
    if !frame.is_whole() {
        assert_eq!((taken, kernel.reply(frame)), (None, None), "nobody is named who could be answered");
        return;
    }
    let expected = match request(frame) {
        Some(Request::Open { .. }) if !frame.has_body(8) || frame.word(BODY) & libc::O_DIRECT as u32 != 0 => {
            None
        }
        Some(Request::Ioctl { argument: Err(_), .. }) => None,
        Some(Request::Release { handle, .. }) => Some(Request::Release { ticket: None, handle }),
        None if frame.operation() == op::FLUSH && frame.has_body(8) => {
            let ticket = Ticket { unique: frame.unique(), ioctl: false };
            Some(Request::Close { ticket, handle: HandleId(frame.long(BODY)), by: Tid(frame.pid()) })
        }
        other => other,
    };
    assert_eq!(taken, expected);
    match taken {
        Some(Request::Release { .. }) => assert_eq!(kernel.reply(frame), Some((0, Vec::new()))),
        Some(request) => kernel.answers(frame, &request),
        None if frame.needs_no_reply() => assert_eq!(kernel.reply(frame), None),
        None => {
            let reply = kernel.reply(frame).expect("a reply");
            if let (op::GETATTR | op::SETATTR, (0, body)) = (frame.operation(), reply) {
                assert_eq!(&body[16..], attr.as_bytes(), "the attributes as they are now");
            }
        }
    }
}

fn by_cuse(kernel: &mut Kernel, frame: &Frame) {
    let taken = kernel.send(frame, cuse::take);
    if !frame.is_whole() {
        assert_eq!((taken, kernel.reply(frame)), (None, None), "nobody is named who could be answered");
        return;
    }
    // Without data yet: the kernel is asked for it.
    let bare = frame.has_body(32) && frame.word(BODY + 24) == 0;
    let expected = request(frame).filter(|request| !(bare && matches!(request, Request::Ioctl { .. })));
    assert_eq!(taken, expected);
    match taken {
        Some(request) => kernel.answers(frame, &request),
        None if frame.needs_no_reply() => assert_eq!(kernel.reply(frame), None),
        None => {
            let (error, body) = kernel.reply(frame).expect("a reply");
            if error == 0 {
                let retry = [0, wire::IOCTL_RETRY, 1, 0].map(u32::to_ne_bytes);
                let vector = [frame.long(BODY + 16), 12].map(u64::to_ne_bytes);
                assert_eq!(body, [retry.as_flattened(), vector.as_flattened()].concat());
            }
        }
    }
}

/// The first frame on a CUSE device, which is the carrier's alone.
fn greeting(frame: &Frame) {
    let Ok((unique, body)) = cuse::welcome(frame.0, "kmonitor") else { return };
    assert!(frame.is_whole() && frame.operation() == op::CUSE_INIT && frame.has_body(16));
    assert_eq!(unique, frame.unique());
    let answer = Frame(&body);
    assert_eq!(answer.word(0), frame.word(BODY), "one major version");
    assert!(answer.word(4) <= frame.word(BODY + 4), "no newer minor version than the kernel's");
    assert!(body.ends_with(b"DEVNAME=kmonitor\0") && body.len() == 72 + 17);
}
