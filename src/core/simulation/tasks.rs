//! What tasks do: programs that open, register, fork, exec and end, one step at a time.

use crate::abi::{Command, DEREGISTER, EventMask, REGISTER};
use crate::event::Kind;
use crate::ids::{HandleId, Tid, Uid};
use crate::node::{Answer, Caller, Request, Ticket};

use super::model;
use super::parts::{After, Call, Carrier, Doing, OpenFile};
use super::world::{INIT, World, standing};

/// What the program of a task may do next, as often as it stands here.
#[derive(Clone, Copy)]
enum Act {
    Sleep,
    TakeSignal,
    Register,
    Deregister,
    Open,
    Dup,
    Close,
    Fork,
    Thread,
    Exec,
    Exit,
    ExitThread,
    Kill,
    Setuid,
    Compute,
}

const ACTS: [Act; 32] = [
    Act::Sleep,
    Act::Sleep,
    Act::TakeSignal,
    Act::TakeSignal,
    Act::TakeSignal,
    Act::Register,
    Act::Register,
    Act::Register,
    Act::Register,
    Act::Register,
    Act::Register,
    Act::Deregister,
    Act::Deregister,
    Act::Deregister,
    Act::Open,
    Act::Open,
    Act::Open,
    Act::Dup,
    Act::Close,
    Act::Close,
    Act::Fork,
    Act::Fork,
    Act::Fork,
    Act::Thread,
    Act::Thread,
    Act::Exec,
    Act::Exec,
    Act::Exit,
    Act::ExitThread,
    Act::Kill,
    Act::Setuid,
    Act::Compute,
];

impl World {
    /// The program goes on; at rest, only to its next sleep.
    pub fn act(&mut self, tid: i32, calm: bool) {
        if self.task(tid).doomed {
            return self.exit(tid);
        }
        if self.ending && tid == INIT {
            return self.close(tid);
        }
        if calm {
            while self.owner(tid).signals.pop_front().is_some() {}
            return self.task(tid).sleep();
        }
        let act = match ACTS[self.tape.choose(ACTS.len())] {
            act @ (Act::Sleep | Act::Fork | Act::Register | Act::Open | Act::TakeSignal) => act,
            _ if tid == INIT => Act::Fork,
            act => act,
        };
        match act {
            Act::Sleep => self.task(tid).sleep(),
            Act::TakeSignal => drop(self.owner(tid).signals.pop_front()),
            Act::Register => self.ioctl(tid, true),
            Act::Deregister => self.ioctl(tid, false),
            Act::Open => self.open(tid),
            Act::Dup => self.dup(tid),
            Act::Close => self.close(tid),
            Act::Fork => self.fork(tid),
            Act::Thread => self.thread(tid),
            Act::Exec => self.exec(tid),
            Act::Exit => self.kill(tid),
            Act::ExitThread => self.exit(tid),
            Act::Kill => {
                let others: Vec<i32> = self.tasks.keys().copied().filter(|of| *of != INIT).collect();
                let whom = others[self.tape.choose(others.len())];
                self.kill(whom);
            }
            Act::Setuid => self.setuid(tid),
            Act::Compute => self.task(tid).run_time += 5_000_000,
        }
    }

    /// The task asks the core, and sleeps until it is answered.
    pub fn ask(&mut self, tid: i32, call: Call, request: impl FnOnce(Ticket) -> Request) {
        self.last_request += 1;
        let unique = self.last_request;
        self.requests.push_back(request(Ticket { unique, ioctl: false }));
        self.task(tid).ask(unique, call);
    }

    fn open(&mut self, tid: i32) {
        if self.owner(tid).table.iter().flatten().count() < 4 {
            self.say(format!("{tid} opens"));
            self.ask(tid, Call::Open, |ticket| Request::Open { ticket });
        }
    }

    /// One of the process's descriptors.
    fn descriptor(&mut self, tid: i32) -> Option<usize> {
        let table = &self.owner(tid).table;
        let open: Vec<usize> = (0..table.len()).filter(|at| table[*at].is_some()).collect();
        (!open.is_empty()).then(|| open[self.tape.choose(open.len())])
    }

    fn install(&mut self, tid: i32, file: u64) {
        let entry = Some((file, self.tape.choose(2) == 0));
        self.file(file).in_tables += 1;
        let table = &mut self.owner(tid).table;
        match table.iter_mut().find(|entry| entry.is_none()) {
            Some(free) => *free = entry,
            None => table.push(entry),
        }
    }

    fn dup(&mut self, tid: i32) {
        let Some(at) = self.descriptor(tid) else { return };
        if let Some((file, _)) = self.owner(tid).table[at] {
            self.install(tid, file);
        }
    }

    fn ioctl(&mut self, tid: i32, registers: bool) {
        let Some(at) = self.descriptor(tid) else { return self.open(tid) };
        let Some((file, _)) = self.owner(tid).table[at] else { return };
        let (any, tgid) = (self.any_number(), self.owner(tid).tgid);
        let target = [any, any, tid, tgid][self.tape.choose(4)];
        let mut events = EventMask(self.tape.choose(0x80) as i32);
        match self.tape.choose(6) {
            0 => events = !EventMask::default(),
            1 => events |= EventMask(0x4000),
            _ => {}
        }
        // Two of its own, that tell whose registration a signal comes from; or one that cannot be sent.
        let place = self.task(tid).place;
        let signal = [34 + 2 * place, 35 + 2 * place, 0][[0, 0, 0, 1, 2][self.tape.choose(5)]];
        let uids = self.owner(tid).uids;
        let monitor = (self.task(tid).life, tid);
        let call = model::Call { target, events, signal: registers.then_some(signal), file, uids };
        self.say(format!("{tid} calls {call:?}"));
        self.model.call_begins(monitor, call);
        self.file(file).in_calls += 1;
        let caller = Caller { tid: Tid(tid), uid: Uid(uids.effective) };
        let argument = Ok(Command { pid: target, events, signal }.to_bytes());
        let command = if registers { REGISTER } else { DEREGISTER };
        let handle = HandleId(file);
        self.ask(tid, Call::Ioctl { file }, |ticket| Request::Ioctl {
            ticket,
            handle,
            caller,
            command,
            argument,
        });
    }

    fn close(&mut self, tid: i32) {
        let Some(at) = self.descriptor(tid) else { return };
        if let Some((file, _)) = self.owner(tid).table[at].take() {
            self.close_files(tid, vec![file], After::Return);
        }
    }

    /// Files that have left the table of descriptors are closed.
    pub fn close_files(&mut self, tid: i32, files: Vec<u64>, after: After) {
        for file in &files {
            let file = self.file(*file);
            (file.in_tables, file.closing) = (file.in_tables - 1, file.closing + 1);
        }
        self.say(format!("{tid} closes {files:?}, then {after:?}"));
        match self.carrier {
            Carrier::Fuse => self.flush(tid, files, Vec::new(), after),
            Carrier::Cuse => self.closed(tid, files, after),
        }
    }

    /// Over FUSE each close asks.
    fn flush(&mut self, tid: i32, mut left: Vec<u64>, files: Vec<u64>, after: After) {
        let Some(closed) = left.pop() else { return self.closed(tid, files, after) };
        let handle = HandleId(closed);
        self.ask(tid, Call::Close { closed, left, files, after }, |ticket| Request::Close {
            ticket,
            handle,
            by: Tid(tid),
        });
    }

    /// All closes are answered; the files are let go on the way back to the program.
    fn closed(&mut self, tid: i32, files: Vec<u64>, after: After) {
        if after == After::Exec {
            self.happens(Kind::ProcessExec, tid, tid);
            let made = self.source.made;
            let left = self.left_by_exec.iter_mut().filter(|(_, tgid, _)| *tgid == tid);
            left.for_each(|(.., place)| *place = made.min(*place));
            let is_last = |file: &OpenFile| (file.in_tables, file.closing, file.in_calls) == (0, 1, 0);
            let last =
                files.iter().copied().filter(|file| self.files.get(file).is_some_and(is_last)).collect();
            self.model.exec_closes(self.tasks[&tid].life, self.events, &last);
            self.task(tid).doing = Doing::Letting { files, after };
        } else {
            self.let_go(tid, files, after);
        }
    }

    pub fn let_go(&mut self, tid: i32, mut files: Vec<u64>, after: After) {
        while let Some(file) = files.pop() {
            self.file(file).closing -= 1;
            if self.was_last(file) && self.release(tid, file, &mut files, after) {
                return;
            }
        }
        if after == After::Exit {
            // It takes no signals any more.
            let life = self.task(tid).life;
            self.model.process_ends(life);
        }
        self.close_returns(tid);
        if after == After::Exit {
            self.ended(tid);
        }
    }

    fn was_last(&mut self, file: u64) -> bool {
        let it = *self.file(file);
        let is_last = it.in_tables + it.closing + it.in_calls == 0;
        if is_last {
            self.files.remove(&file);
        }
        is_last
    }

    /// The last descriptor of a file goes; true if the task must wait for that.
    fn release(&mut self, tid: i32, file: u64, files: &mut Vec<u64>, after: After) -> bool {
        self.say(format!("{tid} releases {file}"));
        let handle = HandleId(file);
        if self.carrier == Carrier::Fuse {
            self.model.file_ends(file, tid);
            self.requests.push_back(Request::Release { ticket: None, handle });
            return false;
        }
        let call = Call::Release { file, files: std::mem::take(files), after };
        self.ask(tid, call, |ticket| Request::Release { ticket: Some(ticket), handle });
        true
    }

    /// The task has its answer.
    pub fn answered(&mut self, tid: i32, answer: Answer, call: Call) {
        match call {
            Call::Open => match answer {
                Answer::Opened(HandleId(file)) => self.install(tid, file),
                other => self.judge(Err(format!("an open was answered {other:?}"))),
            },
            Call::Ioctl { file } => {
                self.say(format!("{tid} has its answer: {answer:?}"));
                let monitor = (self.task(tid).life, tid);
                let files = &self.files;
                let verdict =
                    self.model.call_returns(monitor, answer == Answer::Done, |file| standing(files, file));
                self.judge(verdict);
                self.file(file).in_calls -= 1;
                if self.was_last(file) && !self.release(tid, file, &mut Vec::new(), After::Return) {
                    self.close_returns(tid);
                }
            }
            Call::Close { closed, left, mut files, after } => {
                files.push(closed);
                self.flush(tid, left, files, after);
            }
            Call::Release { file, files, after } => {
                self.model.file_ends(file, tid);
                self.let_go(tid, files, after);
            }
        }
    }

    fn fork(&mut self, tid: i32) {
        let Some(child) = self.free_number() else { return };
        let parent = self.owner(tid);
        let (uids, table) = (parent.uids, parent.table.clone());
        self.process(child, uids, table);
        self.happens(Kind::ProcessFork, tid, child);
    }

    fn thread(&mut self, tid: i32) {
        let Some(new) = self.free_number() else { return };
        let life = self.task(tid).life;
        self.new_task(new, life);
        self.happens(Kind::ThreadCreate, tid, new);
    }

    fn setuid(&mut self, tid: i32) {
        let to = [1000, 1001][self.tape.choose(2)];
        let life = self.task(tid).life;
        let uids = &mut self.owner(tid).uids;
        *uids = match uids.effective {
            0 if uids.real == 0 => model::Uids { real: to, effective: to, saved: to },
            // As a program does that an exec has made root.
            0 => model::Uids { real: 0, effective: 0, saved: 0 },
            _ => return,
        };
        let now = *uids;
        self.say(format!("{tid} is {now:?}"));
        self.model.uids_changed(life, now);
    }
}
