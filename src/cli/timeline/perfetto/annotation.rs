//! What the details of a slice say.

use std::borrow::Cow;

use kmonitor::history::{Birth, Code, End, Life, Run};

use super::schema::DebugAnnotation;
use crate::cli::words;

/// Details that are gathered one by one. What is not known is left out.
#[derive(Default)]
pub struct Details(Vec<DebugAnnotation>);

impl Details {
    /// Those of a process in a run, which may be its last.
    pub fn of_run(life: &Life, run: Option<&Run>, is_last: bool) -> Vec<DebugAnnotation> {
        let mut details = Details::default();
        details.int("pid", Some(life.pid.into()));
        details.int("ppid", life.ppid.map(Into::into));
        details.int("uid", life.uid.map(Into::into));
        if let Some(run) = run {
            details.bool("inherited", run.is_inherited);
        }
        // An inherited program is in the details of the one that made the process.
        if let Some(run) = run.filter(|run| !run.is_inherited) {
            let program = &run.program;
            details.text("command", Some(words::full_command(program)));
            details.text("executable", program.executable.as_deref().map(String::from_utf8_lossy));
            details.text("comm", program.comm.as_deref().map(String::from_utf8_lossy));
            details.list("args", program.args.as_deref().unwrap_or_default());
            if program.args.is_some() {
                details.bool("args_truncated", program.is_cut);
            }
        }
        details.text("cgroup", life.cgroup.as_deref());
        details.text("entity_id", life.entity.as_deref());
        match life.birth {
            Birth::Fork(_) => {}
            Birth::Earlier(_) => details.text("birth", Some("before the recording")),
            Birth::Unknown(_) => details.text("birth", Some("unknown: it is first heard of here")),
        }
        if is_last {
            details.end(life);
        }
        details.0
    }

    /// Those of events that are missing.
    pub fn of_loss(count: Option<u64>, what: String) -> Vec<DebugAnnotation> {
        let mut details = Details::default();
        details.uint("count", count);
        details.text("what", Some(what));
        details.0
    }

    fn end(&mut self, life: &Life) {
        let exit = match &life.end {
            End::Runs => return self.text("end", Some("still ran when the recording ended")),
            End::Unknown => return self.text("end", Some("unknown: it is last heard of here")),
            End::Exit(_, exit) => exit,
        };
        match exit.code {
            Some(Code::Status(code)) => self.int("exit_code", Some(code.into())),
            Some(Code::Signal { number, core_dumped }) => {
                self.int("signal", Some(number.into()));
                self.bool("core_dumped", core_dumped);
            }
            None => self.text("status", Some("unknown")),
        }
        self.uint("duration_ns", life.duration());
        self.uint("cpu_ns", exit.cpu);
        self.uint("peak_memory", exit.peak_memory);
    }

    fn add(&mut self, name: &str, value: DebugAnnotation) {
        self.0.push(DebugAnnotation { name: Some(name.to_owned()), ..value });
    }

    fn int(&mut self, name: &str, value: Option<i64>) {
        if value.is_some() {
            self.add(name, DebugAnnotation { int_value: value, ..DebugAnnotation::default() });
        }
    }

    fn uint(&mut self, name: &str, value: Option<u64>) {
        if value.is_some() {
            self.add(name, DebugAnnotation { uint_value: value, ..DebugAnnotation::default() });
        }
    }

    fn bool(&mut self, name: &str, value: bool) {
        self.add(name, DebugAnnotation { bool_value: Some(value), ..DebugAnnotation::default() });
    }

    fn text<'a>(&mut self, name: &str, value: Option<impl Into<Cow<'a, str>>>) {
        if let Some(value) = value {
            let string_value = Some(value.into().into_owned());
            self.add(name, DebugAnnotation { string_value, ..DebugAnnotation::default() });
        }
    }

    fn list(&mut self, name: &str, values: &[Vec<u8>]) {
        if values.is_empty() {
            return;
        }
        let value = |bytes: &Vec<u8>| DebugAnnotation {
            string_value: Some(String::from_utf8_lossy(bytes).into_owned()),
            ..DebugAnnotation::default()
        };
        let array_values = values.iter().map(value).collect();
        self.add(name, DebugAnnotation { array_values, ..DebugAnnotation::default() });
    }
}
