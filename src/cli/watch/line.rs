//! Records as lines for people.

use std::time::Duration;

use jiff::tz::TimeZone;
use kmonitor::records::{Ended, Kind, Process, Record, What};

use crate::cli::color::{Color, Colors};
use crate::cli::quote::command_line;
use crate::cli::words::{self, ending};

/// How lines look.
pub struct Lines {
    zone: TimeZone,
    colors: Colors,
}

impl Lines {
    /// In local time.
    pub fn new(colors: Colors) -> Lines {
        Lines { zone: TimeZone::system(), colors }
    }

    /// The record as a line, with its line break. `None`: it is none.
    pub fn line(&self, record: &Record) -> Option<String> {
        let (kind, process, rest) = match &record.what {
            What::Fork { process, .. } => ("fork", process, String::new()),
            What::Exec { process, .. } => ("exec", process, String::new()),
            What::Exit { process, .. } => ("exit", &process.process, self.ending(process)),
            What::ThreadCreate { process, tid, .. } => ("thread", process, format!("  thread {tid} begins")),
            What::ThreadExit { process, tid, .. } => ("thread", process, format!("  thread {tid} ends")),
            What::Lost { count, kinds, .. } => {
                let text = self.colors.paint(Color::Red, &lost(*count, kinds));
                return Some(format!("{}  lost   {text}\n", self.time(record)));
            }
            What::Seen { .. } | What::Ready { .. } | What::End { .. } => return None,
        };
        let parent = process.ppid.map_or("?".to_owned(), |ppid| ppid.to_string());
        let (time, pid, command) = (self.time(record), process.pid, command(process));
        Some(format!("{time}  {kind:<6} {pid:>7} {parent:>7}  {command}{rest}\n"))
    }

    fn time(&self, record: &Record) -> String {
        record.time.to_zoned_datetime(self.zone.clone()).strftime("%H:%M:%S%.6f").to_string()
    }

    fn ending(&self, process: &Ended) -> String {
        let core_dumped = process.core_dumped == Some(true);
        let how = ending(self.colors, process.exit_code, process.signal, core_dumped);
        let duration = process.duration_ns.map(|ns| Duration::from_nanos(ns).as_secs_f64());
        format!("  {how}{}", duration.map(|seconds| format!(", after {seconds:.3} s")).unwrap_or_default())
    }
}

/// What was lost, in words.
pub fn lost(count: Option<u64>, kinds: &[Kind]) -> String {
    let count = match count {
        None => "events are".to_owned(),
        Some(1) => "1 event is".to_owned(),
        Some(count) => format!("{count} events are"),
    };
    format!("{count} missing here ({})", words::kinds(kinds))
}

/// What the process executes; its name in brackets where nothing else is known, as of a kernel thread.
fn command(process: &Process) -> String {
    let mut text = match (process.args_bytes(), process.executable_bytes(), process.comm_bytes()) {
        (Some(args), _, _) if !args.is_empty() => command_line(&args),
        (_, Some(file), _) => command_line(&[file]),
        (_, _, Some(name)) => format!("[{}]", command_line(&[name])),
        (_, _, None) => "?".to_owned(),
    };
    if process.args_truncated == Some(true) {
        text += "...";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ColorChoice;
    use kmonitor::records::{Totals, VERSION};

    fn line(what: What) -> Option<String> {
        let lines =
            Lines { zone: TimeZone::UTC, colors: Colors::choose(ColorChoice::Never, &std::io::stdout()) };
        let time = "2026-01-31T12:00:00.123456789Z".parse().expect("a time");
        lines.line(&Record { v: VERSION, seq: 1, time, mono_ns: 81, what })
    }

    fn process() -> Process {
        let mut process = Process { pid: 30196, ppid: Some(30195), ..Process::default() };
        process.set_args(&[b"date".to_vec(), b"+%s %N".to_vec()], false);
        process
    }

    #[test]
    fn an_event_is_a_line() {
        let exec = line(What::Exec { process: process(), creator_tid: None });
        assert_eq!(exec.as_deref(), Some("12:00:00.123456  exec     30196   30195  date '+%s %N'\n"));
        let ended = Ended { process: process(), duration_ns: Some(1_500_000), ..Ended::default() };
        let exit = |ended| line(What::Exit { process: ended, creator_tid: None }).expect("a line");
        let ending = |ended| exit(ended).trim_end().split_once("%N'  ").expect("an ending").1.to_owned();
        assert_eq!(ending(Ended { exit_code: Some(1), ..ended.clone() }), "status 1, after 0.002 s");
        let killed = Ended { signal: Some(11), core_dumped: Some(true), ..ended.clone() };
        assert_eq!(ending(killed), "killed by SIGSEGV (core dumped), after 0.002 s");
        assert_eq!(ending(Ended { duration_ns: None, ..ended }), "status unknown");
    }

    #[test]
    fn what_is_missing_is_said_and_the_rest_is_no_line() {
        let said = line(What::Lost { count: Some(2), kinds: vec![Kind::Fork], recovered: 0, complete: true });
        assert_eq!(said.as_deref(), Some("12:00:00.123456  lost   2 events are missing here (forks)\n"));
        assert_eq!(line(What::End { totals: Totals::default() }), None);
        assert_eq!(line(What::Seen { process: process(), tid: None }), None);
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let mut unknown = Process { pid: 7, ..Process::default() };
        assert_eq!(command(&unknown), "?");
        unknown.set_comm(b"kworker/0:0");
        assert_eq!(command(&unknown), "[kworker/0:0]");
        unknown.set_executable(b"/bin/a b");
        assert_eq!(command(&unknown), "'/bin/a b'");
        unknown.set_args(&[b"a".to_vec()], true);
        assert_eq!(command(&unknown), "a...");
    }
}
