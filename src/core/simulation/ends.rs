//! How tasks end, and what an exec does to them.

use crate::event::Kind;

use super::parts::{After, Doing};
use super::world::{INIT, World};

impl World {
    /// A whole process is to end.
    pub fn kill(&mut self, tid: i32) {
        if tid == INIT {
            return;
        }
        let life = self.task(tid).life;
        self.say(format!("the process of {tid} is killed"));
        for thread in self.threads(life) {
            self.task(thread).doomed = true;
        }
    }

    /// Everybody ends, but for init, which closes what it has open.
    pub fn end(&mut self) {
        self.say("everybody goes".into());
        self.ending = true;
        let all: Vec<i32> = self.tasks.keys().copied().collect();
        all.into_iter().for_each(|tid| self.kill(tid));
    }

    /// A task ends; the last of a process closes what it has open.
    pub fn exit(&mut self, tid: i32) {
        if tid == INIT {
            return;
        }
        let life = self.task(tid).life;
        let files: Vec<u64> = match self.threads(life).len() {
            1 => self.owner(tid).table.drain(..).flatten().map(|(file, _)| file).collect(),
            _ => Vec::new(),
        };
        if files.is_empty() {
            self.ended(tid);
        } else {
            self.close_files(tid, files, After::Exit);
        }
    }

    pub fn ended(&mut self, tid: i32) {
        let life = self.task(tid).life;
        let tgid = self.owner(tid).tgid;
        let is_last = self.threads(life).len() == 1;
        if tid == tgid {
            // By itself, or because another thread execs, and not with the whole process.
            if !is_last && (!self.task(tid).doomed || self.is_in_exec(life)) {
                self.tell_exit(tgid);
            }
            self.task(tid).doing = Doing::Zombie;
            self.task(tid).sleep();
        } else {
            self.happens(Kind::ThreadExit, tid, tid);
            self.tasks.remove(&tid);
            self.model.task_ends((life, tid));
        }
        if is_last {
            self.tell_exit(tgid);
            self.processes[life].dead = true;
            self.model.process_ends(life);
        }
    }

    fn tell_exit(&mut self, tgid: i32) {
        if !std::mem::replace(&mut self.owner(tgid).told, true) {
            self.happens(Kind::ProcessExit, tgid, tgid);
        }
    }

    fn is_in_exec(&self, life: usize) -> bool {
        self.tasks.values().any(|task| task.life == life && matches!(task.doing, Doing::Exec { .. }))
    }

    /// An exec ends all other threads first.
    pub fn exec(&mut self, tid: i32) {
        let life = self.task(tid).life;
        if self.is_in_exec(life) {
            return;
        }
        let keeps_files = self.tape.choose(2) == 0;
        let sets_uid = self.tape.once_in(4);
        self.say(format!("{tid} execs"));
        for thread in self.threads(life).into_iter().filter(|thread| *thread != tid) {
            self.task(thread).doomed = true;
        }
        self.task(tid).doing = Doing::Exec { keeps_files, sets_uid };
        self.task(tid).sleep();
    }

    /// It is alone, and takes its process's number; then it closes files.
    pub fn exec_alone(&mut self, tid: i32, keeps_files: bool, sets_uid: bool) {
        if self.task(tid).doomed {
            return self.exit(tid);
        }
        let life = self.task(tid).life;
        let tgid = self.owner(tid).tgid;
        if tid != tgid
            && let Some(mut task) = self.tasks.remove(&tid)
        {
            task.doing = Doing::Running;
            self.tasks.insert(tgid, task);
            self.owner(tgid).told = false;
            self.model.task_ends((life, tid));
            self.left_by_exec.push((tid, tgid, u64::MAX));
        }
        if sets_uid {
            let uids = &mut self.owner(tgid).uids;
            (uids.effective, uids.saved) = (0, 0);
            let now = *uids;
            self.model.uids_changed(life, now);
        }
        let closes = |entry: &mut Option<(u64, bool)>| {
            entry.take_if(|(_, on_exec)| *on_exec && !keeps_files).map(|(file, _)| file)
        };
        let files = self.owner(tgid).table.iter_mut().filter_map(closes).collect();
        self.close_files(tgid, files, After::Exec);
    }
}
