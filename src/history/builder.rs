//! From records to a history.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::records::{Process, Program, Record, What};
use crate::sys::held;

use super::life::{Birth, End, Exit, Life, Run};
use super::{History, Loss};

/// A history that grows with each record.
#[derive(Debug, Default)]
pub struct Builder {
    history: History,
    /// Who is not known to have ended, by pid.
    living: HashMap<i32, usize>,
    /// Those that were seen before their parent, by its pid.
    orphans: HashMap<i32, Vec<usize>>,
    /// Those that kmonitor made to execute the command that it watches.
    held: HashSet<usize>,
}

impl Builder {
    /// Nothing is known.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// How many processes there were until now.
    pub fn all(&self) -> usize {
        self.history.lives.len()
    }

    /// How many there are, as far as is known.
    pub fn now(&self) -> usize {
        self.living.len()
    }

    /// Takes note of a record.
    pub fn take(&mut self, record: &Record) {
        let at = record.mono_ns;
        self.history.clock.get_or_insert((at, record.time));
        let (first, last) = self.history.time.unwrap_or((at, at));
        self.history.time = Some((first.min(at), last.max(at)));
        match &record.what {
            What::Seen { process, tid: None } => self.seen(process, at),
            What::Fork { process, .. } => self.fork(process, at),
            What::Exec { process, .. } => {
                let index = self.exec(process, at);
                let runs = &self.history.lives[index].runs;
                if self.held.contains(&index) && runs.len() == 2 && runs[0].is_inherited {
                    self.release(index, record);
                }
            }
            What::Exit { process, .. } => {
                let index = self.known(&process.process, at);
                self.living.remove(&process.process.pid);
                self.history.lives[index].end = End::Exit(at, Exit::of(process));
            }
            // A thread tells that its process lives.
            What::Seen { process, .. }
            | What::ThreadCreate { process, .. }
            | What::ThreadExit { process, .. } => {
                self.known(process, at);
            }
            What::Lost { count, kinds, .. } => {
                self.history.losses.push(Loss { at, count: *count, kinds: kinds.clone() });
            }
            What::Ready { .. } | What::End { .. } => {}
        }
    }

    /// All that was told. Who has not ended still runs.
    pub fn finish(self) -> History {
        let mut history = self.history;
        let last = history.time.map_or(0, |(_, last)| last);
        for index in self.living.into_values() {
            history.lives[index].last = last;
        }
        history.children = vec![Vec::new(); history.lives.len()];
        for (index, life) in history.lives.iter().enumerate() {
            match life.parent {
                Some(parent) => history.children[parent].push(index),
                None => history.roots.push(index),
            }
        }
        history
    }

    fn seen(&mut self, process: &Process, at: u64) {
        let is_held = process.comm.as_deref() == Some(held::NAME);
        let birth = if is_held { Birth::Fork(at) } else { Birth::Earlier(at) };
        let index = match self.same(process) {
            // Its threads were seen first.
            Some(index) if matches!(self.history.lives[index].birth, Birth::Unknown(_)) => {
                let life = &mut self.history.lives[index];
                (life.birth, life.ppid) = (birth, process.ppid);
                life.runs.clear();
                index
            }
            Some(index) => return self.history.lives[index].last = at,
            None => self.add(process, birth, at),
        };
        if is_held {
            self.held.insert(index);
        }
        self.execute(index, process, at, is_held);
        if self.history.lives[index].parent.is_none()
            && let Some(ppid) = process.ppid
        {
            match self.living.get(&ppid) {
                Some(parent) => self.adopt(*parent, index),
                None => self.orphans.entry(ppid).or_default().push(index),
            }
        }
        for orphan in self.orphans.remove(&process.pid).unwrap_or_default() {
            self.adopt(index, orphan);
        }
    }

    fn fork(&mut self, process: &Process, at: u64) {
        // Whoever forks lives, also if nothing else is known of it.
        let parent = process.ppid.filter(|ppid| *ppid > 0 && *ppid != process.pid).map(|ppid| {
            let parent = self.living.get(&ppid).copied().unwrap_or_else(|| {
                self.add(&Process { pid: ppid, ..Process::default() }, Birth::Unknown(at), at)
            });
            self.history.lives[parent].last = at;
            parent
        });
        let index = self.add(process, Birth::Fork(at), at);
        self.history.lives[index].parent = parent;
        self.execute(index, process, at, true);
    }

    /// What this process did before was to wait for us: it begins here.
    fn release(&mut self, index: usize, record: &Record) {
        let life = &mut self.history.lives[index];
        life.birth = Birth::Fork(record.mono_ns);
        life.runs.remove(0);
        if self.history.lives.len() == 1 {
            self.history.time = Some((record.mono_ns, record.mono_ns));
            self.history.clock = Some((record.mono_ns, record.time));
        }
    }

    fn exec(&mut self, process: &Process, at: u64) -> usize {
        let index = match self.same(process) {
            Some(index) => index,
            // What it executed before is not known.
            None => self.add(process, Birth::Unknown(at), at),
        };
        self.execute(index, process, at, false);
        index
    }

    /// It executes what the record says from now on.
    fn execute(&mut self, index: usize, process: &Process, at: u64, is_inherited: bool) {
        let program = Program::of(process);
        let parent = self.history.lives[index].parent.map(|parent| &self.history.lives[parent]);
        // Most have the same as the one that made them.
        let parents = parent.and_then(|parent| parent.runs.last()).map(|run| &run.program);
        let program = match (parents, program) {
            (Some(shared), Some(program)) if **shared == program => Some(Arc::clone(shared)),
            (_, program) => program.map(Arc::new),
        };
        let life = &mut self.history.lives[index];
        life.last = at;
        life.uid = process.uid.or(life.uid);
        if process.cgroup.is_some() {
            life.cgroup.clone_from(&process.cgroup);
        }
        // An exec of something unknown ends what was known.
        if !is_inherited || program.is_some() {
            life.runs.push(Run { at, program: program.unwrap_or_default(), is_inherited });
        }
    }

    /// The process that the record is about; if nothing is known of it, one whose birth is not.
    fn known(&mut self, process: &Process, at: u64) -> usize {
        if let Some(index) = self.same(process) {
            let life = &mut self.history.lives[index];
            life.last = at;
            life.uid = process.uid.or(life.uid);
            return index;
        }
        let index = self.add(process, Birth::Unknown(at), at);
        if let Some(program) = Program::of(process) {
            let run = Run { at, program: Arc::new(program), is_inherited: false };
            self.history.lives[index].runs.push(run);
        }
        index
    }

    /// The living process that this is, if it is known.
    fn same(&mut self, process: &Process) -> Option<usize> {
        let index = *self.living.get(&process.pid)?;
        let life = &mut self.history.lives[index];
        match (&life.entity, &process.entity_id) {
            (Some(known), Some(said)) if known != said => None,
            (None, Some(said)) => {
                life.entity = Some(said.clone());
                life.ppid = life.ppid.or(process.ppid);
                Some(index)
            }
            _ => Some(index),
        }
    }

    /// One more process. Another that had its pid has ended, nobody knows when.
    fn add(&mut self, process: &Process, birth: Birth, at: u64) -> usize {
        let index = self.history.lives.len();
        if let Some(before) = self.living.insert(process.pid, index) {
            self.history.lives[before].end = End::Unknown;
        }
        let parent = process.ppid.and_then(|ppid| self.living.get(&ppid).copied());
        self.history.lives.push(Life {
            pid: process.pid,
            entity: process.entity_id.clone(),
            ppid: process.ppid,
            parent: parent.filter(|parent| *parent != index),
            uid: process.uid,
            cgroup: process.cgroup.clone(),
            birth,
            runs: Vec::new(),
            last: at,
            end: End::Runs,
        });
        index
    }

    /// Makes the one the other's parent, unless it descends from it: then the stream contradicts itself.
    fn adopt(&mut self, parent: usize, child: usize) {
        let mut next = Some(parent);
        while let Some(index) = next {
            if index == child {
                return;
            }
            next = self.history.lives[index].parent;
        }
        self.history.lives[child].parent = Some(parent);
    }
}
