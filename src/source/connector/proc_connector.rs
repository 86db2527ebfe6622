//! The netlink proc connector (Documentation/driver-api/connector.rst, linux/cn_proc.h).

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::gettid;

use crate::ids::Tid;
use crate::sys::netlink::ConnectorSocket;
use crate::sys::{namespaces, thread_name};

use super::super::SourceError;
use super::decode::{CN_IDX_PROC, CN_VAL_PROC, EVENT, Message, decode};
use super::filter;
use super::listeners::{IGNORE, LISTEN, Mending};
use super::notice::Notice;
use super::sieve::Sieve;

/// The queue's usual size in bytes. An event takes 832 bytes of it (docs/kernel-facts.md#room-in-the-queue).
pub const RECEIVE_BUFFER: usize = 64 << 20;

/// A subscription outlives the last watched task by this much: clients that register and deregister
/// in turn would otherwise make one each time. Its filter wakes nobody.
const LINGER: Duration = Duration::from_secs(1);

/// How long an answer of the kernel may take. It is queued before the request's system call returns.
const ANSWER: Duration = Duration::from_millis(100);

/// For how long the start waits for events from a kernel that sends none; then they are waited for in service.
const MEND_AT_START: Duration = Duration::from_secs(3);

const NOTHING_COMES: &str = "the kernel sends no process events: its count of listeners is far too low, since some \
    program sends it invalid messages (any user can). That is being mended; until then only exits of processes are \
    reported. End that program";

/// How often a subscription is tried out while tasks are watched. Any user can silence the connector for
/// everybody, and nothing tells (docs/kernel-facts.md#listeners).
pub(super) const BEAT: Duration = Duration::from_secs(1);

/// Events from the kernel's proc connector. The first `commit` with a watched task subscribes.
///
/// It belongs to one thread: that thread's own name changes are its heartbeat.
#[derive(Debug)]
pub struct ProcConnector {
    pub(super) socket: Option<ConnectorSocket>,
    own: Tid,
    receive_buffer: usize,
    sieve: Sieve,
    requests: u32,
    unused_since: Option<Instant>,
    pub(super) next_beat: Instant,
    /// While nothing comes, and the kernel's count of listeners is being raised.
    pub(super) mending: Option<Mending>,
    /// The queue has run over since the last beat, which may have been dropped too.
    pub(super) overrun: bool,
    /// The kernel's count of dropped datagrams, as it was told last.
    dropped: u32,
    pub(super) notices: VecDeque<Notice>,
    answers: Vec<Message>,
    buffer: Box<[u8; 4096]>,
}

impl ProcConnector {
    /// A source that is not subscribed to anything. Its queue will have room for so many bytes.
    pub fn new(receive_buffer: usize) -> ProcConnector {
        ProcConnector {
            socket: None,
            own: Tid(0),
            receive_buffer,
            sieve: Sieve::new(),
            requests: 0,
            unused_since: None,
            next_beat: Instant::now(),
            mending: None,
            overrun: false,
            dropped: 0,
            notices: VecDeque::new(),
            answers: Vec::new(),
            buffer: Box::new([0; 4096]),
        }
    }

    /// Finds out, by doing it once, whether the kernel sends us events at all and whether it copes
    /// with filters. What does not prevent us from serving comes back, a sentence each.
    pub fn check(&mut self) -> Result<Vec<&'static str>, SourceError> {
        self.subscribe()?;
        let mut hears = self.mend_for(MEND_AT_START)?;
        let filters = hears && self.copes_with_filters()?;
        if hears && !filters {
            self.filter(Sieve::give_up)?;
            hears = self.mend_for(MEND_AT_START)?;
        }
        self.unsubscribe();
        let filters = (!filters && hears)
            .then_some("this kernel cannot filter process events for us: all of them will wake the daemon");
        Ok([filters, (!hears).then_some(NOTHING_COMES)].into_iter().flatten().collect())
    }

    fn copes_with_filters(&mut self) -> Result<bool, SourceError> {
        // A name change that our filter drops must not silence the next one.
        self.filter(|_, socket| socket.attach_filter(&mut filter::everything(false)))?;
        let _ = thread_name::repeat();
        let own = self.own;
        self.filter(|sieve, socket| sieve.start(socket, own))?;
        self.heard_of_ourselves(ANSWER)
    }

    /// Finds out, by doing it once, whether the kernel sends us events, and repairs nothing.
    pub fn try_out(&mut self) -> Result<(), SourceError> {
        self.subscribe()?;
        let hears = self.mending.is_none();
        self.unsubscribe();
        if hears { Ok(()) } else { Err(SourceError::Deaf) }
    }

    /// Subscribes. Whether anything comes, [`deaf_since`](ProcConnector::deaf_since) tells.
    fn subscribe(&mut self) -> Result<(), SourceError> {
        self.own = Tid(gettid().as_raw());
        if namespaces::has_own_pids() || namespaces::has_own_users() {
            return Err(SourceError::Ignored);
        }
        let socket = ConnectorSocket::open().map_err(|errno| match errno {
            Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT => SourceError::NoConnector,
            errno => SourceError::Io { action: "open", errno },
        })?;
        socket
            .set_receive_buffer(self.receive_buffer)
            .map_err(|errno| SourceError::Io { action: "set the receive buffer of", errno })?;
        self.socket = Some(socket);
        self.next_beat = Instant::now() + BEAT;
        self.dropped = 0;
        let own = self.own;
        // Bound and unfiltered, the socket would hear everything that any other listener asked for.
        let result = self.filter(|sieve, socket| sieve.start(socket, own)).and_then(|()| {
            let Some(socket) = &self.socket else { return Ok(()) };
            socket.bind(CN_IDX_PROC).map_err(|errno| match errno {
                Errno::EPERM | Errno::EACCES => SourceError::Refused(errno),
                errno => SourceError::Io { action: "bind", errno },
            })
        });
        let result = result.and_then(|()| self.listen());
        if result.is_err() {
            self.unsubscribe();
        }
        result
    }

    /// The bare operation, which every kernel takes; with an event mask (6.6 and later) the kernel would not
    /// answer, and our filter does more.
    fn listen(&mut self) -> Result<(), SourceError> {
        let expected = self.send(LISTEN)?;
        let refusal = self.await_answer(Duration::ZERO, |message| match *message {
            Message::Ack { ack, error } if ack == expected => Some(error),
            _ => None,
        })?;
        if let Some(errno) = refusal.filter(|errno| *errno != 0) {
            return Err(SourceError::Refused(Errno::from_raw(errno as i32)));
        }
        if !self.hears_now()? {
            self.mending = Some(Mending::begin(Instant::now()));
        }
        Ok(())
    }

    fn unsubscribe(&mut self) {
        if self.socket.is_some() {
            // Nothing hangs on the answer: the socket is closed next. Without the request the kernel
            // would count us as a listener for ever.
            let _ = self.send(IGNORE);
            self.socket = None;
        }
        self.unused_since = None;
        self.mending = None;
        self.notices.clear();
        self.answers.clear();
    }

    /// Sends one request, and tells the `cn_msg.ack` that its answer will have. All listeners get all
    /// answers.
    pub(super) fn send(&mut self, operation: u32) -> Result<u32, SourceError> {
        self.requests = self.requests.wrapping_add(1);
        let ack = (self.own.0 as u32) << 8 | self.requests & 0xff;
        let mut datagram = Vec::with_capacity(EVENT + size_of::<u32>());
        datagram.extend(((EVENT + size_of::<u32>()) as u32).to_ne_bytes());
        datagram.extend((libc::NLMSG_DONE as u16).to_ne_bytes());
        datagram.extend([0; 10]);
        for word in [CN_IDX_PROC, CN_VAL_PROC, 0, ack] {
            datagram.extend(word.to_ne_bytes());
        }
        datagram.extend((size_of::<u32>() as u16).to_ne_bytes());
        datagram.extend([0; 2]);
        datagram.extend(operation.to_ne_bytes());
        match self.socket.as_ref().map_or(Ok(()), |socket| socket.send(&datagram)) {
            Ok(()) => Ok(ack.wrapping_add(1)),
            Err(Errno::ECONNREFUSED) => Err(SourceError::NetworkNamespace),
            Err(errno @ (Errno::EPERM | Errno::EACCES)) => Err(SourceError::Refused(errno)),
            Err(errno) => Err(SourceError::Io { action: "write to", errno }),
        }
    }

    /// Changes our own name to what it is, and tells whether that was reported.
    pub(super) fn heard_of_ourselves(&mut self, limit: Duration) -> Result<bool, SourceError> {
        let _ = thread_name::repeat();
        let own = self.own;
        let heard =
            self.await_answer(limit, |message| (*message == Message::Comm { tid: own }).then_some(()))?;
        Ok(heard.is_some())
    }

    /// Reads until `wanted` finds what it wants among the answers; events that come before it keep
    /// their place in line.
    fn await_answer<T>(
        &mut self,
        limit: Duration,
        wanted: impl Fn(&Message) -> Option<T>,
    ) -> Result<Option<T>, SourceError> {
        let deadline = Instant::now() + limit;
        self.answers.clear();
        loop {
            while self.receive()? {
                if let Some(found) = self.answers.drain(..).find_map(|message| wanted(&message)) {
                    return Ok(Some(found));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(socket) = &self.socket else { return Ok(None) };
            let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            if left.is_zero() || poll(&mut fds, timeout) == Ok(0) {
                return Ok(None);
            }
        }
    }

    /// Takes one datagram off the socket and files what is in it; false if there was none.
    fn receive(&mut self) -> Result<bool, SourceError> {
        let Some(socket) = &self.socket else { return Ok(false) };
        match socket.receive(self.buffer.as_mut_slice()) {
            Ok((len, 0)) => {
                let (notices, answers) = (&mut self.notices, &mut self.answers);
                // What the kernel says is well-formed; what is not is no news.
                let _ = decode(&self.buffer[..len.min(self.buffer.len())], |message| match message {
                    Message::Event(event) => notices.push_back(Notice::Event(event)),
                    Message::Uid { tid, real, at } => notices.push_back(Notice::Uid { tid, real, at }),
                    Message::Comm { .. } | Message::Ack { .. } => answers.push(message),
                });
            }
            // Any process can send to our port; only the kernel is believed.
            Ok(_) => {}
            Err(Errno::EAGAIN) => return Ok(false),
            Err(Errno::ENOBUFS) => {
                self.overrun = true;
                self.notices.push_back(Notice::Overflow);
            }
            Err(errno) => return Err(SourceError::Io { action: "read", errno }),
        }
        Ok(true)
    }

    fn filter(
        &mut self,
        act: impl FnOnce(&mut Sieve, &ConnectorSocket) -> Result<(), Errno>,
    ) -> Result<(), SourceError> {
        let Some(socket) = &self.socket else { return Ok(()) };
        act(&mut self.sieve, socket).map_err(|errno| SourceError::Io { action: "attach a filter to", errno })
    }
}

impl Drop for ProcConnector {
    fn drop(&mut self) {
        self.unsubscribe();
    }
}

impl ProcConnector {
    /// What to poll for reading; `None` while nothing can come.
    pub fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// The next notice; `None` when the queue is empty.
    pub fn next_notice(&mut self) -> Result<Option<Notice>, SourceError> {
        while self.notices.is_empty() && self.receive()? {
            self.answers.clear();
        }
        Ok(self.notices.pop_front())
    }

    /// Watch this task from the next [`commit`](ProcConnector::commit) on. Counted: as many
    /// [`unwatch`](ProcConnector::unwatch) calls take it back.
    pub fn watch(&mut self, tid: Tid) {
        self.sieve.watch(tid);
    }

    /// Watch all tasks, for good, from the next [`commit`](ProcConnector::commit) on.
    pub fn watch_all(&mut self) {
        self.sieve.watch_all();
    }

    /// Takes one [`watch`](ProcConnector::watch) back.
    pub fn unwatch(&mut self, tid: Tid) {
        self.sieve.unwatch(tid);
    }

    /// Puts all `watch` calls into effect. On an error nothing more than before comes.
    pub fn commit(&mut self) -> Result<(), SourceError> {
        self.unused_since = None;
        if self.socket.is_none() { self.subscribe() } else { self.filter(Sieve::widen) }
    }

    /// Since when it is known that nothing comes, if that is so.
    pub fn deaf_since(&self) -> Option<Instant> {
        self.mending.as_ref().map(Mending::since)
    }

    /// Does what can wait. Returns after how long, at the latest, it wants to be called again.
    pub fn idle(&mut self) -> Option<Duration> {
        let socket = self.socket.as_ref()?;
        let tidy = self.sieve.tidy(socket);
        let now = Instant::now();
        if self.sieve.is_empty() {
            let end = *self.unused_since.get_or_insert(now) + LINGER;
            if now >= end {
                self.unsubscribe();
                return None;
            }
            return Some(tidy.map_or(end - now, |tidy| tidy.min(end - now)));
        }
        if self.mending.is_none() && now >= self.next_beat {
            self.beat();
        }
        let mending = self.mend(now);
        if !self.notices.is_empty() {
            return Some(Duration::ZERO);
        }
        if mending.is_some() {
            return mending;
        }
        let beat = self.next_beat.saturating_duration_since(now);
        Some(tidy.map_or(beat, |tidy| tidy.min(beat)))
    }

    /// A notice is missing: to find out at the next [`idle`](ProcConnector::idle) whether any come.
    pub fn doubt(&mut self) {
        self.next_beat = Instant::now();
    }

    /// How many notices the kernel has dropped since the last call, because the queue was full.
    pub fn take_dropped(&mut self) -> u64 {
        let Some(Ok(dropped)) = self.socket.as_ref().map(ConnectorSocket::dropped) else { return 0 };
        let news = dropped.wrapping_sub(self.dropped);
        self.dropped = dropped;
        news.into()
    }
}
