//! The processes that live, and what is told of them: from news to records. It asks nobody anything.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::ids::Stamp;
use crate::records::{Kind, Process, What};
use crate::source::bpf::{StartTime, Usage};

use super::Events;
use super::input::{Input, News};
use super::living::Living;
use super::proc::TICK;

/// All that are known.
#[derive(Debug)]
pub struct Book {
    /// `BOOT` of entity ids.
    boot: Option<String>,
    /// What to add to a stamp for the time since the boot.
    since_boot: i64,
    events: Events,
    /// New children belong to it.
    follow: bool,
    /// It was made to execute a program, and its life is told from that on.
    held: Option<i32>,
    living: HashMap<i32, Living>,
}

impl Book {
    /// Nobody is known. `boot` is the id of this boot, `since_boot` what is to be added to a stamp for nanoseconds
    /// since it.
    pub fn new(boot: Option<String>, since_boot: i64, events: Events, follow: bool) -> Book {
        Book { boot, since_boot, events, follow, held: None, living: HashMap::new() }
    }

    /// This process waits for us to execute its program, which is not its own time.
    pub fn hold(&mut self, pid: i32) {
        self.held = Some(pid);
    }

    /// True if nobody lives.
    pub fn is_empty(&self) -> bool {
        self.living.is_empty()
    }

    /// True if this process is known, and not known to have ended.
    pub fn lives(&self, pid: i32) -> bool {
        self.living.contains_key(&pid)
    }

    /// Those that live, and when they began.
    pub fn living(&self) -> impl Iterator<Item = (i32, Option<StartTime>)> {
        self.living.iter().map(|(pid, living)| (*pid, living.start))
    }

    /// Takes note of news, and tells the records that come of it. An event of a task that nobody has told of is
    /// returned: its kind.
    pub fn take(&mut self, input: Input, mut tell: impl FnMut(Stamp, What)) -> Option<Kind> {
        let Input { pid, at, what } = input;
        let mut tell = |what| tell(at, what);
        let pid = match (&what, pid) {
            (News::ThreadExit { tid, .. }, None) => self.process_of(*tid),
            (_, pid) => pid,
        };
        if let News::Lost { count, kinds, recovered, complete } = what {
            tell(What::Lost { count, kinds, recovered, complete });
            return None;
        }
        let unknown = self.follow.then(|| what.kind()).flatten();
        let Some(pid) = pid else { return unknown };
        match what {
            News::Seen { ppid, uid, start, program, cgroup, is_main_over } => {
                let process = Process { ppid, uid, ..self.new_process(pid, start) };
                let main_ended = is_main_over.then_some(None);
                let mut living = Living { process, start, main_ended, ..Living::default() };
                living.execute(&program, cgroup);
                tell(What::Seen { process: living.process.clone(), tid: None });
                // Its threads may have been seen before it.
                if let Some(before) = self.living.insert(pid, living)
                    && let Some(now) = self.living.get_mut(&pid)
                    && before.start == now.start
                {
                    now.threads = before.threads;
                }
            }
            News::ThreadSeen { tid } => {
                let process = self.new_process(pid, None);
                let living =
                    self.living.entry(pid).or_insert_with(|| Living { process, ..Living::default() });
                living.threads.insert(tid, None);
                if self.events.thread {
                    tell(What::Seen { process: living.process.clone(), tid: Some(tid) });
                }
            }
            // A child's own children are not wanted then.
            News::Fork { ppid, .. } if !self.follow && !ppid.is_some_and(|ppid| self.lives(ppid)) => {}
            News::Fork { ppid, creator, uid, start } => {
                // The last owner of the number has ended, and nobody has told.
                if self.living.get(&pid).is_some_and(|last| last.is_another(start)) {
                    self.end(pid, None, None, at, &mut tell);
                }
                let living = self.child(pid, ppid, creator, uid, start, at);
                if self.events.fork {
                    tell(What::Fork { process: living.process.clone(), creator_tid: creator });
                }
                if self.follow {
                    self.living.insert(pid, living);
                }
            }
            News::Exec { uid, program, cgroup } => {
                let Some(living) = self.living.get_mut(&pid) else { return unknown };
                // Those of the old program have ended, or become the main one.
                living.threads.clear();
                living.main_ended = None;
                if self.held.take_if(|held| *held == pid).is_some() {
                    living.born = Some(at);
                }
                living.execute(&program, cgroup);
                living.process.uid = uid.or(living.process.uid);
                if self.events.exec {
                    tell(What::Exec { process: living.process.clone(), creator_tid: living.creator });
                }
            }
            News::Exit { uid, status, usage } => {
                let Some(living) = self.living.get_mut(&pid) else { return unknown };
                if let Some(main) = living.main_ended {
                    // It ends once. What comes between was lost: another's birth, or an exec by a thread of it.
                    self.end(pid, if status == main { main } else { None }, None, at, tell);
                    return unknown;
                }
                living.process.uid = uid.or(living.process.uid);
                if usage.is_none() && !living.threads.is_empty() {
                    living.main_ended = Some(status);
                } else {
                    self.end(pid, status, usage, at, tell);
                }
            }
            News::ThreadCreate { tid, creator } => {
                let Some(living) = self.living.get_mut(&pid) else { return unknown };
                living.threads.insert(tid, creator);
                if self.events.thread {
                    tell(What::ThreadCreate { process: living.process.clone(), tid, creator_tid: creator });
                }
            }
            News::ThreadExit { tid, status, usage } => {
                let Some(living) = self.living.get_mut(&pid) else { return unknown };
                let creator = living.threads.remove(&tid).flatten();
                if self.events.thread {
                    tell(What::ThreadExit { process: living.process.clone(), tid, creator_tid: creator });
                }
                if let Some(main) = living.main_ended
                    && (usage.is_some() || living.threads.is_empty())
                {
                    // A thread that ends after the main one may have ended the process with another status.
                    let quietly = status.is_some_and(|status| status.into_raw() == 0);
                    let known = if quietly || status == main { main } else { None };
                    self.end(pid, known, usage, at, tell);
                }
            }
            News::Uid { uid } => {
                if let Some(living) = self.living.get_mut(&pid) {
                    living.process.uid = Some(uid);
                }
            }
            News::Gone => self.end(pid, None, None, at, tell),
            News::Lost { .. } => {}
        }
        None
    }

    fn end(
        &mut self,
        pid: i32,
        status: Option<ExitStatus>,
        usage: Option<Usage>,
        at: Stamp,
        mut tell: impl FnMut(What),
    ) {
        let Some(living) = self.living.remove(&pid) else { return };
        if !self.events.exit {
            return;
        }
        let creator_tid = living.creator;
        tell(What::Exit { process: living.ended(status, usage, at, self.since_boot), creator_tid });
    }

    /// A new process. It has from the one that made it what it executes, but not the control group, which the
    /// maker may have chosen.
    fn child(
        &self,
        pid: i32,
        ppid: Option<i32>,
        creator: Option<i32>,
        uid: Option<u32>,
        start: Option<StartTime>,
        at: Stamp,
    ) -> Living {
        let new = self.new_process(pid, start);
        let process = match ppid.and_then(|ppid| self.living.get(&ppid)) {
            None => Process { ppid, uid, ..new },
            Some(parent) => {
                let Process { entity_id, .. } = new;
                let uid = uid.or(parent.process.uid);
                Process { pid, entity_id, ppid, uid, cgroup: None, ..parent.process.clone() }
            }
        };
        Living { process, creator, born: Some(at), start, ..Living::default() }
    }

    fn new_process(&self, pid: i32, start: Option<StartTime>) -> Process {
        let entity = |start: StartTime| Some(format!("{}:{pid}:{}", self.boot.as_ref()?, start.0 / TICK));
        Process { pid, entity_id: start.and_then(entity), ..Process::default() }
    }

    fn process_of(&self, tid: i32) -> Option<i32> {
        self.living.iter().find(|(_, living)| living.threads.contains_key(&tid)).map(|(pid, _)| *pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Ended, Program};
    use std::time::Duration;

    const ALL: Events = Events { fork: true, exec: true, exit: true, thread: true };
    const USAGE: Usage = Usage { cpu: Duration::from_nanos(70), peak_memory: 4096 };

    fn book(follow: bool) -> Book {
        let mut book = Book::new(Some("BOOT".to_owned()), 0, ALL, follow);
        let program = Program { comm: Some(b"sh".to_vec()), ..Program::default() };
        let cgroup = Some("/a".to_owned());
        let start = Some(StartTime(5 * TICK));
        let seen = News::Seen { ppid: Some(1), uid: Some(7), start, program, cgroup, is_main_over: false };
        assert_eq!(tell(&mut book, 10, seen).len(), 1);
        book
    }

    fn tell(book: &mut Book, pid: i32, what: News) -> Vec<What> {
        tell_at(book, 100, Some(pid), what)
    }

    fn tell_at(book: &mut Book, at: u64, pid: Option<i32>, what: News) -> Vec<What> {
        let mut told = Vec::new();
        book.take(Input { pid, at: Stamp(at), what }, |_, what| told.push(what));
        told
    }

    fn fork(ppid: i32) -> News {
        News::Fork { ppid: Some(ppid), creator: Some(ppid), uid: None, start: Some(StartTime(6 * TICK + 1)) }
    }

    fn exit(code: i32, usage: Option<Usage>) -> News {
        News::Exit { uid: None, status: Some(ExitStatus::from_raw(code << 8)), usage }
    }

    fn thread_exit(tid: i32, code: i32, usage: Option<Usage>) -> News {
        News::ThreadExit { tid, status: Some(ExitStatus::from_raw(code << 8)), usage }
    }

    fn exits(told: &[What]) -> Vec<&Ended> {
        let exits = told.iter().filter_map(|what| match what {
            What::Exit { process, .. } => Some(process),
            _ => None,
        });
        exits.collect()
    }

    #[test]
    fn events_of_tasks_that_nobody_told_of_are_missed() {
        let take = |follow, pid, what| {
            let input = Input { pid, at: Stamp(100), what };
            book(follow).take(input, |_, told| panic!("{told:?}"))
        };
        assert_eq!(take(true, Some(11), exit(0, None)), Some(Kind::Exit));
        assert_eq!(take(true, None, thread_exit(12, 0, None)), Some(Kind::ThreadExit));
        assert_eq!(take(false, Some(11), exit(0, None)), None, "it may be a child's child");
    }

    #[test]
    fn a_new_process_has_what_its_parent_has_but_the_control_group() {
        let mut book = book(true);
        let told = tell_at(&mut book, 100, Some(11), fork(10));
        let [What::Fork { process, creator_tid }] = &told[..] else { panic!("{told:?}") };
        assert_eq!((process.ppid, process.uid, *creator_tid), (Some(10), Some(7), Some(10)));
        assert_eq!((process.comm.as_deref(), process.cgroup.as_deref()), (Some("sh"), None));
        assert_eq!(process.entity_id.as_deref(), Some("BOOT:11:6"));
        let program = Program { args: Some(vec![b"true".to_vec()]), is_cut: true, ..Program::default() };
        let told = tell(&mut book, 11, News::Exec { uid: Some(8), program, cgroup: None });
        let [What::Exec { process, creator_tid: Some(10) }] = &told[..] else { panic!("{told:?}") };
        assert_eq!(
            (process.uid, process.comm.as_deref(), process.args_truncated),
            (Some(8), None, Some(true))
        );
        let told = tell_at(&mut book, 250, Some(11), exit(3, Some(USAGE)));
        let [ended] = exits(&told)[..] else { panic!("{told:?}") };
        assert_eq!((ended.exit_code, ended.signal, ended.duration_ns), (Some(3), None, Some(150)));
        assert_eq!((ended.cpu_ns, ended.peak_memory), (Some(70), Some(4096)));
        assert_eq!(tell(&mut book, 11, exit(3, Some(USAGE))), [], "it has ended");
    }

    #[test]
    fn a_held_process_lives_from_its_first_exec() {
        let mut book = book(true);
        book.hold(10);
        let exec = || News::Exec { uid: None, program: Program::default(), cgroup: None };
        tell_at(&mut book, 300, Some(10), exec());
        tell_at(&mut book, 400, Some(10), exec());
        let told = tell_at(&mut book, 500, Some(10), exit(0, Some(USAGE)));
        assert_eq!(exits(&told)[0].duration_ns, Some(200));
    }

    #[test]
    fn a_process_ends_with_its_last_thread() {
        for (last, code) in [(0, Some(0)), (7, None)] {
            let mut book = book(true);
            tell(&mut book, 10, News::ThreadCreate { tid: 20, creator: Some(10) });
            tell(&mut book, 10, News::ThreadSeen { tid: 21 });
            assert_eq!(tell(&mut book, 10, exit(0, None)), [], "only its main thread has ended");
            assert_eq!(exits(&tell_at(&mut book, 100, None, thread_exit(20, 0, None))).len(), 0);
            assert!(book.lives(10));
            let told = tell(&mut book, 10, thread_exit(21, last, Some(USAGE)));
            let [What::ThreadExit { tid: 21, .. }, What::Exit { process, .. }] = &told[..] else {
                panic!("{told:?}")
            };
            assert_eq!((process.exit_code, process.cpu_ns), (code, Some(70)));
            assert!(book.is_empty());
        }
    }

    #[test]
    fn a_main_thread_that_ends_twice_is_anothers() {
        let mut book = book(true);
        tell(&mut book, 10, News::ThreadCreate { tid: 20, creator: Some(10) });
        assert_eq!(tell(&mut book, 10, exit(0, None)), []);
        let mut told = Vec::new();
        let again = Input { pid: Some(10), at: Stamp(100), what: exit(1, None) };
        assert_eq!(book.take(again, |_, what| told.push(what)), Some(Kind::Exit), "one of the two is missed");
        assert_eq!(exits(&told).len(), 1);
        assert!(book.is_empty());
    }

    #[test]
    fn the_birth_of_a_numbers_next_owner_ends_the_last_one() {
        let mut book = book(true);
        let told = tell(&mut book, 10, fork(1));
        let [What::Exit { process, .. }, What::Fork { .. }] = &told[..] else { panic!("{told:?}") };
        assert_eq!((process.exit_code, process.process.entity_id.as_deref()), (None, Some("BOOT:10:5")));
        let told = tell(&mut book, 10, fork(1));
        let [What::Fork { .. }] = &told[..] else { panic!("the same one: {told:?}") };
    }

    #[test]
    fn an_exec_by_a_thread_is_no_end() {
        let mut book = book(true);
        tell(&mut book, 10, News::ThreadCreate { tid: 20, creator: Some(10) });
        assert_eq!(tell(&mut book, 10, exit(0, None)), []);
        assert_eq!(
            tell(&mut book, 10, News::Exec { uid: None, program: Program::default(), cgroup: None }).len(),
            1
        );
        assert_eq!(exits(&tell(&mut book, 10, exit(0, Some(USAGE)))).len(), 1);
    }

    #[test]
    fn strangers_and_children_that_are_not_followed_are_left_out() {
        let mut book = book(false);
        assert_eq!(tell(&mut book, 11, fork(10)).len(), 1, "what a target does");
        for what in [
            fork(11),
            exit(0, None),
            thread_exit(20, 0, None),
            News::Exec { uid: None, program: Program::default(), cgroup: None },
            News::Gone,
        ] {
            assert_eq!(tell(&mut book, 11, what), []);
        }
        assert_eq!(book.living().map(|(pid, _)| pid).collect::<Vec<_>>(), [10]);
    }

    #[test]
    fn only_events_that_are_wanted_are_told() {
        let none = Events { fork: false, exec: false, exit: false, thread: false };
        let mut book = Book { events: none, ..book(true) };
        for (pid, what) in [
            (11, fork(10)),
            (11, News::Exec { uid: None, program: Program::default(), cgroup: None }),
            (11, News::ThreadCreate { tid: 20, creator: None }),
            (11, thread_exit(20, 0, None)),
            (11, exit(0, Some(USAGE))),
        ] {
            assert_eq!(tell(&mut book, pid, what), []);
        }
        assert!(book.lives(10) && !book.lives(11));
    }

    #[test]
    fn what_is_gone_has_ended_nobody_knows_how() {
        let mut book = book(true);
        let told = tell_at(&mut book, 6 * TICK, Some(10), News::Gone);
        let [ended] = exits(&told)[..] else { panic!("{told:?}") };
        assert_eq!((ended.exit_code, ended.signal, ended.core_dumped), (None, None, None));
        assert_eq!(ended.duration_ns, Some(TICK), "it began five ticks after the boot");
    }
}
