//! News from the source in the kernel.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::event::Kind;
use crate::ids::{Stamp, Tid};
use crate::records::{Kind as LostName, Program, SourceName, base_name};
use crate::source::bpf::{
    BpfSource, FollowError, Input as Told, LostKind, Member, Options, Refusal, StartTime, TaskEvent,
};
use crate::sys::clock::monotonic_ns;
use crate::wait::process::Process;

use super::cgroups::Cgroups;
use super::feed::{Feed, Lives};
use super::input::{Input, News};
use super::{Scope, WatchError, proc};

/// Bytes of the ring of events, for 200,000 of them.
const RING: u32 = 16 << 20;

/// Bytes of the ring of arguments.
const ARGUMENTS: u32 = 16 << 20;

/// In a build there is an event each millisecond. Waking for each took as much time as all the rest.
const REST: Duration = Duration::from_millis(10);

/// Bytes of a process's name (TASK_COMM_LEN, less the zero).
const NAME_LENGTH: usize = 15;

/// `init`, and the kernel's `kthreadd`: all processes descend from one of them.
const FIRST: [i32; 2] = [1, 2];

/// The source in the kernel as a feed.
pub struct BpfFeed {
    source: BpfSource,
    cgroups: Cgroups,
    out: VecDeque<Input>,
    /// What the source had found out otherwise when it was last asked.
    recovered: u64,
}

impl BpfFeed {
    /// Loads the programs.
    pub fn new() -> Result<BpfFeed, Refusal> {
        let source =
            BpfSource::new(Options { ring: RING, follow: true, arguments: ARGUMENTS, ..Options::default() })?;
        Ok(BpfFeed { source, cgroups: Cgroups::new(), out: VecDeque::new(), recovered: 0 })
    }

    fn event(&mut self, event: &TaskEvent) -> Input {
        let (uid, status, usage) = (event.uid.map(|uid| uid.0), event.status, event.usage);
        let (tid, process) = (event.subject.0, event.tgid.map(|tgid| tgid.0));
        let (pid, what) = match event.kind {
            Kind::ProcessFork => {
                let creator = Some(event.actor.0);
                (Some(tid), News::Fork { ppid: process, creator, uid, start: event.start })
            }
            Kind::ProcessExec => {
                let (program, cgroup) = self.program(event);
                (Some(tid), News::Exec { uid, program, cgroup })
            }
            Kind::ProcessExit => (Some(tid), News::Exit { uid, status, usage }),
            Kind::ThreadCreate => (process, News::ThreadCreate { tid, creator: Some(event.actor.0) }),
            Kind::ThreadExit => (process, News::ThreadExit { tid, status, usage }),
        };
        Input { pid, at: event.at, what }
    }

    /// Who is there. A thread may be found before its main thread, which stands for the process.
    fn member(&mut self, member: &Member, lives: Lives) -> Option<Input> {
        let (pid, at) = (member.tgid.0, member.at);
        if member.tid == member.tgid.leader() {
            // One that had ended before, and nobody has waited for, has no end to come.
            let is_dead =
                !self.source.has_begun_to_exit(member.tid) && proc::is_gone(pid, Some(member.start));
            return (!is_dead && !lives(pid)).then(|| seen(member, Some(member.start)));
        }
        let thread = Input { pid: Some(pid), at, what: News::ThreadSeen { tid: member.tid.0 } };
        if lives(pid) {
            return Some(thread);
        }
        self.out.push_back(thread);
        Some(seen(member, proc::start(pid)))
    }

    fn program(&mut self, exec: &TaskEvent) -> (Program, Option<String>) {
        let Some(arguments) = self.source.take_arguments(exec) else { return Default::default() };
        let file = arguments.file;
        let program = Program {
            comm: name(&file),
            executable: (!file.is_empty()).then_some(file),
            args: Some(arguments.arguments),
            is_cut: arguments.is_cut,
        };
        (program, self.cgroups.path(arguments.cgroup))
    }

    fn lost(&mut self, kind: LostKind, count: u64) -> News {
        // Whoever lives and was not seen to be born is looked for now.
        self.source.idle();
        let counters = self.source.counters();
        let all = counters.exits_recovered + counters.execs_recovered;
        let recovered = all - self.recovered;
        self.recovered = all;
        let (name, complete) = match kind {
            LostKind::Forks => (LostName::Fork, true),
            LostKind::ThreadCreates => (LostName::ThreadCreate, true),
            LostKind::Execs => (LostName::Exec, true),
            LostKind::Exits => (LostName::Exit, true),
            LostKind::ThreadExits => (LostName::ThreadExit, true),
            LostKind::Unknown => (LostName::Unknown, false),
        };
        // How often programs did not run is not how many events they would have told of.
        let count = (kind != LostKind::Unknown).then_some(count);
        News::Lost { count, kinds: vec![name], recovered, complete }
    }
}

impl Feed for BpfFeed {
    fn name(&self) -> SourceName {
        SourceName::Bpf
    }

    fn begin(&mut self, scope: &Scope, _follow: bool) -> Result<(), WatchError> {
        match scope {
            Scope::All => {
                for pid in FIRST {
                    match self.source.follow(Tid(pid)) {
                        // A kernel may hide its first process from the search (seen on Firecracker's), which
                        // finds all its descendants all the same.
                        Err(FollowError::NoProcess(_)) => self.out.extend(seen_in_proc(pid)),
                        result => result?,
                    }
                }
            }
            Scope::Child(pid) => self.source.follow(Tid(*pid))?,
            Scope::Targets(targets) => {
                let mut living = 0;
                for target in targets {
                    match self.source.follow(Tid(target.pid)) {
                        // Who has the number now is another, if that one had ended before.
                        Ok(()) if target.has_exited() => self.source.unfollow(Tid(target.pid)),
                        Ok(()) => living += 1,
                        Err(FollowError::NoProcess(_)) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                if living == 0 {
                    return Err(WatchError::AllEnded);
                }
            }
        }
        Ok(())
    }

    fn next(&mut self, lives: Lives) -> Result<Option<Input>, WatchError> {
        if let Some(input) = self.out.pop_front() {
            return Ok(Some(input));
        }
        self.source.idle();
        while let Some(told) = self.source.next_input() {
            return Ok(Some(match told {
                Told::Event(event) => self.event(&event),
                Told::Member(member) => match self.member(&member, lives) {
                    Some(input) => input,
                    None => continue,
                },
                Told::Lost { kind, count } => {
                    Input { pid: None, at: Stamp(monotonic_ns()), what: self.lost(kind, count) }
                }
            }));
        }
        Ok(None)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.source.poll_fd())
    }

    fn deadline(&mut self) -> Option<Instant> {
        self.source.deadline()
    }

    fn rest(&self) -> Option<Duration> {
        Some(REST)
    }
}

/// The process of a member, which began then, is there.
fn seen(member: &Member, start: Option<StartTime>) -> Input {
    let pid = member.tgid.0;
    let (ppid, uid) = (Some(member.parent.0), Some(member.uid.0));
    let is_main_over = proc::is_main_over(pid) && !proc::is_gone(pid, start);
    let (program, cgroup) = proc::program(pid, start);
    let what = News::Seen { ppid, uid, start, program, cgroup, is_main_over };
    Input { pid: Some(pid), at: member.at, what }
}

/// The same from /proc alone.
fn seen_in_proc(pid: i32) -> Option<Input> {
    let start = proc::start(pid);
    let status = Process(pid).status()?;
    let (ppid, uid) = (Some(status.parent), Some(status.real_uid));
    let (program, cgroup) = proc::program(pid, start);
    let what = News::Seen { ppid, uid, start, program, cgroup, is_main_over: false };
    Some(Input { pid: Some(pid), at: Stamp(monotonic_ns()), what })
}

/// The name that the kernel gives a process that executes this file, also if it is a script. Of a file that was named
/// by a descriptor it does not follow from the path.
fn name(file: &[u8]) -> Option<Vec<u8>> {
    if file.is_empty() || file.starts_with(b"/dev/fd/") {
        return None;
    }
    let name = base_name(file);
    Some(name[..name.len().min(NAME_LENGTH)].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_is_the_beginning_of_its_files() {
        assert_eq!(name(b"/usr/bin/date").as_deref(), Some(&b"date"[..]));
        assert_eq!(name(b"a-very-long-name-of-a-program").as_deref(), Some(&b"a-very-long-nam"[..]));
        assert_eq!((name(b"/dev/fd/7"), name(b"")), (None, None));
    }
}
