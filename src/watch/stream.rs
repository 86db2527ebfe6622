//! The thread that reads a source, and the stream of records that comes of it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;

use crate::ids::Stamp;
use crate::records::{Kind, Record, SourceName, What};
use crate::source::Choice;
use crate::sys::clock::{monotonic_ns, realtime_and_boottime_offsets};

use super::book::Book;
use super::bpf::BpfFeed;
use super::connector::ConnectorFeed;
use super::feed::Feed;
use super::input::{Input, News};
use super::queue::{Entrance, Exit, queue};
use super::{Request, Scope, WatchError, proc};

/// News that are taken before all else has its turn.
const BATCH: usize = 4096;

/// In a storm there is always more news: those who are there have been told after this time.
const BEGIN: Duration = Duration::from_secs(1);

/// After a loss, whether those that should live do is looked at, until all do.
const LOOK: Duration = Duration::from_millis(500);

/// Whether there is room again in the queue is looked at.
const ROOM_LOOK: Duration = Duration::from_millis(20);

/// What may end the watch before all processes have ended.
pub trait Control: AsFd + Send {
    /// The descriptor is readable. True: the watch is to end.
    fn ends(&mut self) -> bool;
}

/// Records as they come. The last is [`What::End`], unless the source failed.
#[derive(Debug)]
pub struct Stream {
    records: Exit,
    /// Where the events come from.
    pub source: SourceName,
    /// Why not from the source that is preferred: a sentence.
    pub remark: Option<String>,
    failure: Receiver<WatchError>,
    /// Closed with the stream.
    _taken: Sender<()>,
}

impl Iterator for Stream {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        self.records.take()
    }
}

impl Stream {
    /// True if no record waits.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Why the source failed, once there are no more records.
    pub fn failure(&self) -> Option<WatchError> {
        self.failure.try_recv().ok()
    }
}

/// Begins to watch. `control` may end it; so does the end of whoever reads `output`, if it is a pipe. Signals that
/// are blocked in this thread are not blocked any more once the stream has come to its end.
pub fn start(
    request: Request,
    control: impl Control + 'static,
    output: Option<std::os::fd::OwnedFd>,
) -> Result<Stream, WatchError> {
    let (entrance, records) = queue();
    let (started, start) = bounded(1);
    let (failed, failure) = bounded(1);
    let (taken, all_taken) = bounded::<()>(0);
    thread::Builder::new().name("kmonitor-source".to_owned()).spawn(move || {
        let opened = open(request.source).and_then(|(feed, remark)| {
            let mut watch = Watch::new(feed, &request, entrance);
            watch.begin(&request)?;
            Ok((watch, remark))
        });
        let (mut watch, remark) = match opened {
            Ok(opened) => opened,
            Err(error) => return drop(started.send(Err(error))),
        };
        let _ = started.send(Ok((watch.feed.name(), remark)));
        let result = watch.run(control, output.as_ref().map(AsFd::as_fd));
        // Before the end of the records.
        match result {
            Ok(()) => watch.entrance.end(),
            Err(error) => drop(failed.send(error)),
        }
        drop(watch);
        // Who takes the records may wait for a reader that reads no more.
        let _ = SigSet::empty().thread_set_mask();
        let _ = all_taken.recv();
    })?;
    match start.recv() {
        Ok(Ok((source, remark))) => Ok(Stream { records, source, remark, failure, _taken: taken }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other("the thread that reads the source has ended").into()),
    }
}

/// A feed from the source of this choice, and why not from the one that is preferred.
fn open(choice: Choice) -> Result<(Box<dyn Feed>, Option<String>), WatchError> {
    let reason = match choice {
        Choice::Connector => None,
        Choice::Bpf => return Ok((Box::new(BpfFeed::new()?), None)),
        Choice::Auto => match BpfFeed::new() {
            Ok(feed) => return Ok((Box::new(feed), None)),
            Err(refusal) => Some(refusal.to_string()),
        },
    };
    let remark = reason.map(|reason| {
        format!("the events come from the proc connector, which leaves much unknown, since {reason}")
    });
    Ok((Box::new(ConnectorFeed::new()?), remark))
}

struct Watch {
    feed: Box<dyn Feed>,
    book: Book,
    entrance: Entrance,
    /// It goes on when nobody lives.
    is_endless: bool,
    /// How many processes were there.
    seen: u64,
    /// Events that came after all, of processes whose births are lost: of each kind so many.
    unknown: BTreeMap<Kind, u64>,
    /// When to look whether those that should live do.
    look_at: Option<Instant>,
    /// There was news since the last pause.
    is_lively: bool,
}

impl Watch {
    fn new(feed: Box<dyn Feed>, request: &Request, entrance: Entrance) -> Watch {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let boot = boot.map(|id| id.trim().to_owned());
        let (_, since_boot) = realtime_and_boottime_offsets();
        let mut book = Book::new(boot, since_boot, request.events, request.follow);
        if let Scope::Child(pid) = request.scope {
            book.hold(pid);
        }
        Watch {
            feed,
            book,
            entrance,
            is_endless: matches!(request.scope, Scope::All),
            seen: 0,
            unknown: BTreeMap::new(),
            look_at: None,
            is_lively: false,
        }
    }

    /// Tells who is there.
    fn begin(&mut self, request: &Request) -> Result<(), WatchError> {
        self.feed.begin(&request.scope, request.follow)?;
        let limit = Instant::now() + BEGIN;
        while !self.take_news()? && Instant::now() < limit {}
        let what = What::Ready { source: self.feed.name(), seen: self.seen };
        self.entrance.put(Stamp(monotonic_ns()), what);
        self.entrance.limit(request.room);
        Ok(())
    }

    /// Watches to the end.
    fn run(&mut self, mut control: impl Control, output: Option<BorrowedFd<'_>>) -> Result<(), WatchError> {
        loop {
            let is_drained = self.take_news()?;
            if is_drained {
                self.look()?;
                if self.book.is_empty() && !self.is_endless {
                    return Ok(());
                }
            }
            let is_full = self.entrance.say_missing();
            // More may come soon, and is taken at once then.
            let rest = self.feed.rest().filter(|_| is_drained && mem::take(&mut self.is_lively));
            let pause = if is_drained { self.pause(is_full) } else { Some(Duration::ZERO) };
            let pause = rest.or(pause);
            let timeout = pause.map_or(PollTimeout::NONE, |pause| {
                PollTimeout::try_from(pause.as_millis() + u128::from(!pause.is_zero()))
                    .unwrap_or(PollTimeout::MAX)
            });
            let mut fds = vec![PollFd::new(control.as_fd(), PollFlags::POLLIN)];
            // Without a wish it tells that the other end is closed.
            fds.extend(output.map(|output| PollFd::new(output, PollFlags::empty())));
            fds.extend(
                self.feed.poll_fd().filter(|_| rest.is_none()).map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
            );
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(io::Error::from(errno).into()),
            }
            let has = |at: usize| fds.get(at).is_some_and(|fd| fd.any().unwrap_or(false));
            let (is_asked, is_closed) = (has(0), output.is_some() && has(1));
            if is_closed || is_asked && control.ends() {
                // What has happened until now is told.
                while !self.take_news()? {}
                return Ok(());
            }
        }
    }

    /// Takes some news. True: there are no more for now.
    fn take_news(&mut self) -> Result<bool, WatchError> {
        self.entrance.read_clock();
        for _ in 0..BATCH {
            let book = &self.book;
            let Some(mut input) = self.feed.next(&|pid| book.lives(pid))? else {
                self.tell_unknown();
                return Ok(true);
            };
            self.is_lively = true;
            match &mut input.what {
                News::Seen { .. } => self.seen += 1,
                News::Lost { recovered, .. } => {
                    self.look_at = Some(Instant::now() + LOOK);
                    *recovered = recovered.saturating_sub(self.unknown.values().sum());
                    self.tell_unknown();
                }
                _ => {}
            }
            let entrance = &mut self.entrance;
            if let Some(kind) = self.book.take(input, |at, what| entrance.put(at, what)) {
                *self.unknown.entry(kind).or_default() += 1;
            }
        }
        Ok(false)
    }

    fn tell_unknown(&mut self) {
        for (kind, count) in mem::take(&mut self.unknown) {
            let lost = What::Lost { count: Some(count), kinds: vec![kind], recovered: 0, complete: true };
            self.entrance.put(Stamp(monotonic_ns()), lost);
        }
    }

    /// After a loss: looks whether those that should live do.
    fn look(&mut self) -> Result<(), WatchError> {
        if self.look_at.is_none_or(|at| Instant::now() < at) {
            return Ok(());
        }
        let living = self.book.living();
        let gone: Vec<i32> =
            living.filter(|(pid, start)| proc::is_gone(*pid, *start)).map(|(pid, _)| pid).collect();
        self.look_at = (!gone.is_empty()).then(|| Instant::now() + LOOK);
        // Those that ended a moment ago are told of by this.
        while !self.take_news()? {}
        for pid in gone.into_iter().filter(|pid| self.book.lives(*pid)).collect::<Vec<_>>() {
            let input = Input { pid: Some(pid), at: Stamp(monotonic_ns()), what: News::Gone };
            let entrance = &mut self.entrance;
            self.book.take(input, |at, what| entrance.put(at, what));
        }
        Ok(())
    }

    fn pause(&mut self, is_full: bool) -> Option<Duration> {
        let now = Instant::now();
        let deadline = [self.feed.deadline(), self.look_at].into_iter().flatten().min();
        let pause = deadline.map(|at| at.saturating_duration_since(now));
        if is_full { Some(pause.map_or(ROOM_LOOK, |pause| pause.min(ROOM_LOOK))) } else { pause }
    }
}
