//! Histories for tests.

use kmonitor::history::{Builder, History};
use kmonitor::records::{Ended, Kind, Process, Record, VERSION, What};

/// What a test has happen, a millisecond apart.
pub enum Event<'a> {
    /// Process, parent, command line.
    Seen(i32, i32, &'a [&'a str]),
    /// Process, parent, the parent's command line.
    Fork(i32, i32, &'a [&'a str]),
    /// Process, command line; an empty one is not known.
    Exec(i32, &'a [&'a str]),
    /// Process, exit code.
    Exit(i32, i32),
    /// Process, signal.
    Kill(i32, i32),
    /// So many forks.
    Lost(u64),
}

/// The history of these.
pub fn history(events: &[Event]) -> History {
    let mut builder = Builder::new();
    for (event, seq) in events.iter().zip(0..) {
        let time = jiff::Timestamp::UNIX_EPOCH;
        let record =
            Record { v: VERSION, seq, time, mono_ns: 1_000_000_000 + seq * 1_000_000, what: what(event) };
        builder.take(&record);
    }
    builder.finish()
}

fn what(event: &Event) -> What {
    let creator_tid = None;
    let process = |pid: i32| Process { pid, entity_id: Some(format!("B:{pid}:0")), ..Process::default() };
    let executing = |pid, line: &[&str]| {
        let mut process = process(pid);
        if let Some(name) = line.first() {
            process.set_executable(name.as_bytes());
            let args: Vec<_> = line.iter().map(|arg| arg.as_bytes().to_vec()).collect();
            process.set_args(&args, false);
        }
        process
    };
    let ended = |pid| Ended {
        process: process(pid),
        core_dumped: Some(false),
        cpu_ns: Some(2_000_000),
        peak_memory: Some(3 << 20),
        ..Ended::default()
    };
    match event {
        Event::Seen(pid, ppid, line) => {
            let process = Process { ppid: Some(*ppid), ..executing(*pid, line) };
            What::Seen { process, tid: None }
        }
        Event::Fork(pid, ppid, line) => {
            What::Fork { process: Process { ppid: Some(*ppid), ..executing(*pid, line) }, creator_tid }
        }
        Event::Exec(pid, line) => What::Exec { process: executing(*pid, line), creator_tid },
        Event::Exit(pid, code) => {
            What::Exit { process: Ended { exit_code: Some(*code), ..ended(*pid) }, creator_tid }
        }
        Event::Kill(pid, signal) => {
            What::Exit { process: Ended { signal: Some(*signal), ..ended(*pid) }, creator_tid }
        }
        Event::Lost(count) => {
            What::Lost { count: Some(*count), kinds: vec![Kind::Fork], recovered: 0, complete: true }
        }
    }
}

/// A build: one file fails, one compiler is killed, one process is not finished, and forks are lost.
pub fn build() -> History {
    use Event::{Exec, Exit, Fork, Kill, Lost, Seen};
    history(&[
        Seen(10, 1, &["make", "all"]),
        Fork(11, 10, &["make", "all"]),
        Exec(11, &["sh", "-c", "cc a.c && true"]),
        Exec(11, &["/usr/bin/cc", "a.c"]),
        Fork(12, 11, &["/usr/bin/cc", "a.c"]),
        Exit(12, 0),
        Exit(11, 1),
        Fork(13, 10, &["make", "all"]),
        Exec(13, &[]),
        Kill(13, 9),
        Lost(4),
        Exec(14, &["sleep", "<1> & \u{1b}[31m"]),
    ])
}
