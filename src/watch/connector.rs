//! News from the proc connector, which reports afterwards: what a process executes and when it began is in /proc, if
//! it is there long enough; what is not is not told. Nor is it known which thread made a process, and of a process that
//! was orphaned before we looked not that it belongs to a tree.

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::event::{Event, Kind};
use crate::ids::Stamp;
use crate::records::{Kind as LostName, Program, SourceName};
use crate::source::bpf::StartTime;
use crate::source::{Notice, ProcConnector, RECEIVE_BUFFER, SourceError};
use crate::sys::clock::{monotonic_ns, realtime_and_boottime_offsets};
use crate::wait::process::{self, Process};

use super::feed::{Feed, Lives};
use super::input::{Input, News};
use super::proc::{self, TICK};
use super::{Scope, WatchError};

/// The proc connector as a feed.
pub struct ConnectorFeed {
    socket: ProcConnector,
    /// News of the socket that were read ahead.
    ahead: VecDeque<Notice>,
    out: VecDeque<Input>,
    /// All processes are wanted.
    all: bool,
    follow: bool,
    /// When those were looked at that had not been seen to be born. What they did before is history.
    seen: HashMap<i32, Stamp>,
    /// What to add to a stamp for the time since the boot.
    since_boot: i64,
    /// When [`ProcConnector::idle`] is to be called again.
    idle_at: Option<Instant>,
}

impl ConnectorFeed {
    /// Subscribes.
    pub fn new() -> Result<ConnectorFeed, SourceError> {
        let mut socket = ProcConnector::new(RECEIVE_BUFFER);
        socket.check()?;
        socket.watch_all();
        socket.commit()?;
        Ok(ConnectorFeed {
            socket,
            ahead: VecDeque::new(),
            out: VecDeque::new(),
            all: false,
            follow: true,
            seen: HashMap::new(),
            since_boot: realtime_and_boottime_offsets().1,
            idle_at: None,
        })
    }

    /// Looks for processes that belong to the tree and are not known, until no more are found.
    fn search(&mut self, lives: Lives) {
        let mut found: HashSet<i32> = self.out.iter().filter_map(|input| input.pid).collect();
        loop {
            let before = found.len();
            for pid in process::all().unwrap_or_default() {
                let Some(status) = Process(pid).status() else { continue };
                let is_known = |pid| lives(pid) || found.contains(&pid);
                let is_wanted = self.all || self.follow && is_known(status.parent);
                if is_wanted && !is_known(pid) && self.see(pid) {
                    found.insert(pid);
                }
            }
            if found.len() == before {
                return;
            }
        }
    }

    /// Tells that a process is there. False: it is not.
    fn see(&mut self, pid: i32) -> bool {
        let at = Stamp(monotonic_ns());
        let start = proc::start(pid);
        let Some(status) = Process(pid).status().filter(|_| !proc::is_gone(pid, start)) else { return false };
        let threads = proc::threads(pid);
        let (program, cgroup) = proc::program(pid, start);
        let (ppid, uid, is_main_over) = (Some(status.parent), Some(status.real_uid), proc::is_main_over(pid));
        self.tell(pid, at, News::Seen { ppid, uid, start, program, cgroup, is_main_over });
        threads.into_iter().for_each(|tid| self.tell(pid, at, News::ThreadSeen { tid }));
        self.seen.insert(pid, at);
        true
    }

    fn tell(&mut self, pid: i32, at: Stamp, what: News) {
        self.out.push_back(Input { pid: Some(pid), at, what });
    }

    /// Takes the next notice. False: there is none.
    fn read(&mut self, lives: Lives) -> Result<bool, SourceError> {
        let next = self.ahead.pop_front();
        let Some(notice) = next.map_or_else(|| self.socket.next_notice(), |notice| Ok(Some(notice)))? else {
            return Ok(false);
        };
        match notice {
            Notice::Event(event) => self.event(&event, lives)?,
            // Of a main thread, which stands for its process.
            Notice::Uid { tid, real, at } if lives(tid.0) => self.tell(tid.0, at, News::Uid { uid: real.0 }),
            Notice::Uid { .. } => {}
            Notice::Overflow => {
                let dropped = self.socket.take_dropped();
                self.lost((dropped > 0).then_some(dropped), lives);
            }
            Notice::Deaf { .. } => self.lost(None, lives),
        }
        Ok(true)
    }

    fn lost(&mut self, count: Option<u64>, lives: Lives) {
        // Whoever was orphaned meanwhile is not found.
        let complete = self.all;
        let what = News::Lost { count, kinds: vec![LostName::Unknown], recovered: 0, complete };
        self.out.push_back(Input { pid: None, at: Stamp(monotonic_ns()), what });
        self.search(lives);
    }

    fn event(&mut self, event: &Event, lives: Lives) -> Result<(), SourceError> {
        let (tid, pid, at) = (event.subject.0, event.tgid.0, event.at);
        let is_new = event.kind == Kind::ProcessFork;
        let subject = if is_new { tid } else { pid };
        let is_history = self.seen.get(&subject).is_some_and(|seen| *seen >= at);
        let is_wanted = lives(pid) || self.all && is_new;
        if is_history || !is_wanted {
            return Ok(());
        }
        let (status, usage) = (event.status, None);
        let what = match event.kind {
            Kind::ProcessFork => {
                let start = proc::start(tid).filter(|start| self.is_start(*start, at));
                News::Fork { ppid: Some(pid), creator: None, uid: None, start }
            }
            Kind::ProcessExec => {
                let (program, cgroup) = self.program(pid)?;
                News::Exec { uid: None, program, cgroup }
            }
            Kind::ProcessExit => News::Exit { uid: None, status, usage },
            Kind::ThreadCreate => News::ThreadCreate { tid, creator: None },
            Kind::ThreadExit => News::ThreadExit { tid, status, usage },
        };
        self.tell(subject, at, what);
        Ok(())
    }

    /// True if a process that began then was made at this time.
    fn is_start(&self, start: StartTime, at: Stamp) -> bool {
        let at = at.0.saturating_add_signed(self.since_boot) / TICK;
        (at.saturating_sub(1)..=at).contains(&(start.0 / TICK))
    }

    /// What the process executes, if that is not a later program.
    fn program(&mut self, pid: i32) -> Result<(Program, Option<String>), SourceError> {
        let program = proc::program(pid, None);
        while let Some(notice) = self.socket.next_notice()? {
            self.ahead.push_back(notice);
        }
        let is_later = self.ahead.iter().any(|notice| match notice {
            Notice::Event(event) if event.kind == Kind::ProcessExec => event.tgid.0 == pid,
            Notice::Event(event) if event.kind == Kind::ProcessFork => event.subject.0 == pid,
            _ => false,
        });
        Ok(if is_later { Default::default() } else { program })
    }
}

impl Feed for ConnectorFeed {
    fn name(&self) -> SourceName {
        SourceName::Connector
    }

    fn begin(&mut self, scope: &Scope, follow: bool) -> Result<(), WatchError> {
        self.follow = follow;
        let living = match scope {
            Scope::All => {
                self.all = true;
                true
            }
            Scope::Child(pid) => self.see(*pid),
            Scope::Targets(targets) => {
                let mut living = 0;
                for target in targets {
                    // Who has the number now is another, if that one had ended before.
                    if self.see(target.pid) && target.has_exited() {
                        self.out.retain(|input| input.pid != Some(target.pid));
                    } else if !target.has_exited() {
                        living += 1;
                    }
                }
                living > 0
            }
        };
        if !living {
            return Err(WatchError::AllEnded);
        }
        self.search(&|_| false);
        Ok(())
    }

    fn next(&mut self, lives: Lives) -> Result<Option<Input>, WatchError> {
        loop {
            if let Some(input) = self.out.pop_front() {
                return Ok(Some(input));
            }
            if !self.read(lives)? {
                let pause = self.socket.idle();
                self.idle_at = pause.map(|pause| Instant::now() + pause);
                if !self.read(lives)? {
                    return Ok(None);
                }
            }
        }
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.poll_fd()
    }

    fn deadline(&mut self) -> Option<Instant> {
        self.idle_at
    }

    fn rest(&self) -> Option<Duration> {
        None
    }
}
