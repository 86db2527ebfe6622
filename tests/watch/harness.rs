//! A watch whose records are read, validated and counted.

use crate::device::client::project;
use crate::device::program::{LONG, Program, finish, finish_within};
use crate::device::served::KMONITOR;
use crate::guest::host::{self, Scratch};
use kmonitor::records::{self, Record, Totals, What};
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// `kmonitor watch ARGUMENT...`
pub fn watch(arguments: &[&str]) -> Command {
    let mut command = Command::new(KMONITOR);
    command.arg("watch").args(arguments);
    command
}

/// A file for records.
pub struct Lines {
    _scratch: Scratch,
    pub path: PathBuf,
}

impl Lines {
    pub fn new() -> Lines {
        let scratch = Scratch::new(&host::cache().expect("a cache")).expect("a folder");
        let path = scratch.path("lines");
        Lines { _scratch: scratch, path }
    }

    /// `kmonitor watch --json -o FILE ARGUMENT...`
    pub fn watch(&self, arguments: &[&str]) -> Command {
        let mut command = watch(&["--json", "-o"]);
        command.arg(&self.path).args(arguments);
        command
    }

    /// The records in the file.
    pub fn read(&self) -> Vec<Record> {
        let text = fs::read_to_string(&self.path).expect("text");
        validate(&self.path);
        let records: Vec<Record> =
            records::read(text.as_bytes()).map(|record| record.expect("a record")).collect();
        for (record, line) in records.iter().zip(text.lines()) {
            let mut again = Vec::new();
            records::write(&mut again, record).expect("memory takes it");
            assert_eq!(
                String::from_utf8_lossy(&again).trim_end(),
                line,
                "there are no fields that nobody knows"
            );
        }
        records
    }
}

/// Validates each line of a file by the schema in docs/.
pub fn validate(lines: &Path) {
    let lines = File::open(lines).expect("it is there");
    let mut validate = Command::new(project("tests/watch/validate"));
    validate.arg(project("docs/watch-schema.json")).stdin(lines).stdout(Stdio::null());
    let output = validate.stderr(Stdio::piped()).output();
    let output = output.expect("these tests need /usr/bin/python3 (Debian: python3-fastjsonschema)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a watch to its end, and tells what it recorded and how it ended.
pub fn record(arguments: &[&str]) -> (Vec<Record>, i32) {
    let lines = Lines::new();
    let ended = finish_within(LONG, &mut lines.watch(arguments));
    (lines.read(), ended.code())
}

/// What `kmonitor watch ARGUMENT...` prints for people, without the times: it goes to standard error.
pub fn print(arguments: &[&str]) -> Vec<String> {
    let ended = finish(&mut watch(arguments));
    let lines = ended.errors.lines().map(|line| line.split_once("  ").expect("a time").1.to_owned());
    lines.collect()
}

/// A stream, checked: who lives, and how many records of each kind there were.
#[derive(Debug, Default)]
pub struct Tally {
    /// By pid, with their entity ids.
    pub living: HashMap<i32, Option<String>>,
    pub totals: Totals,
    /// Records that cannot be true.
    pub wrong: Vec<Record>,
    pub end: Option<Totals>,
}

impl Tally {
    pub fn of(records: &[Record]) -> Tally {
        let mut tally = Tally::default();
        records.iter().for_each(|record| tally.count(record));
        tally
    }

    fn count(&mut self, record: &Record) {
        self.totals.add(&record.what);
        let is_right = self.end.is_none()
            && match &record.what {
                What::Seen { process, tid: None } => {
                    self.living.insert(process.pid, process.entity_id.clone()).is_none()
                }
                What::Fork { process, .. } => {
                    let has_parent = process.ppid.is_some_and(|ppid| self.living.contains_key(&ppid));
                    has_parent && self.living.insert(process.pid, process.entity_id.clone()).is_none()
                }
                What::Exec { process, .. }
                | What::ThreadCreate { process, .. }
                | What::ThreadExit { process, .. }
                | What::Seen { process, .. } => self.living.get(&process.pid) == Some(&process.entity_id),
                What::Exit { process, .. } => {
                    let process = &process.process;
                    self.living.remove(&process.pid).as_ref() == Some(&process.entity_id)
                }
                What::Ready { .. } | What::Lost { .. } => true,
                What::End { totals } => {
                    self.end = Some(*totals);
                    *totals == self.totals
                }
            };
        if !is_right {
            self.wrong.push(record.clone());
        }
    }
}

/// Runs the storm of tests/bpf/clients under a command that watches it: what that recorded, the births and execs that
/// the storm counted itself, and the status.
pub fn storm(rounds: u32, options: &[&str]) -> (Vec<Record>, u64, u64, ExitStatus) {
    let lines = Lines::new();
    let mut command = lines.watch(options);
    command.arg("--").arg(crate::bpf::harness::build("storm")).arg(rounds.to_string());
    let mut kmonitor = Program::start(&mut command);
    let (births, execs) = play(&mut kmonitor);
    let status = kmonitor.end();
    (lines.read(), births, execs, status)
}

/// Lets a storm that has just been started rage: the births and execs that it counted.
pub fn play(kmonitor: &mut Program) -> (u64, u64) {
    assert_eq!(kmonitor.line(), "ready");
    rage(kmonitor)
}

/// Likewise one that is ready.
pub fn rage(storm: &mut Program) -> (u64, u64) {
    storm.say("");
    let line = storm.line_at_last();
    storm.hang_up();
    let mut numbers = line.split(' ').map(|number| number.parse().expect("a number"));
    (numbers.next().expect("births"), numbers.next().expect("execs"))
}
