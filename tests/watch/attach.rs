//! Watching processes that are there.

use super::harness::{Lines, Tally, watch};
use crate::bpf::harness::{id, start};
use crate::bpf::storms::tree;
use crate::cli::target::{target, target_and_pid};
use crate::device::program::{LIMIT, Program, finish, until};
use crate::device::served::KMONITOR;
use kmonitor::records::What;
use kmonitor::sys::procfs::task_status;
use nix::sys::signal::Signal;
use std::collections::HashSet;
use std::env;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Starts a watch, and returns when it says on standard error that it is ready.
fn ready(command: &mut Command) -> Program {
    // The tests may have been started with SIGINT ignored, as in the background.
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec env --default-signal=INT \"$@\" 2>&1", "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    let mut kmonitor = Program::start(&mut shell);
    let line = kmonitor.line();
    assert!(line.starts_with("kmonitor: ready: "), "{line}");
    kmonitor
}

/// KMONITOR_ATTACHES makes them more.
#[test]
fn a_tree_in_full_storm_is_seen_without_a_gap() {
    let attaches: u32 = env::var("KMONITOR_ATTACHES").map_or(5, |text| text.parse().expect("a number"));
    for attach in 1..=attaches {
        let lines = Lines::new();
        let mut weather = start("weather", &[]);
        let mut kmonitor = ready(&mut lines.watch(&["-e", "fork,exit", &weather.id().to_string()]));
        std::thread::sleep(std::time::Duration::from_millis(20));
        weather.say("");
        assert_eq!(weather.line_at_last(), "still");
        // Those that do not stay may take their time to end.
        let begin = Instant::now();
        let processes = loop {
            let tree = tree(id(&weather));
            let processes: HashSet<i32> = tree
                .iter()
                .filter(|tid| task_status(tid.0).is_ok_and(|status| status.tgid == tid.0 && !status.ended))
                .map(|tid| tid.0)
                .collect();
            std::thread::sleep(std::time::Duration::from_millis(100));
            if tree == crate::bpf::storms::tree(id(&weather)) {
                break processes;
            }
            assert!(begin.elapsed() < LIMIT, "attach {attach}: it does not come to rest");
        };
        kmonitor.signal(Signal::SIGINT);
        assert_eq!(kmonitor.end().code(), Some(130));
        let tally = Tally::of(&lines.read());
        let living: HashSet<i32> = tally.living.keys().copied().collect();
        assert_eq!(tally.wrong, [], "attach {attach}");
        let differ: Vec<_> = living.symmetric_difference(&processes).collect();
        assert!(differ.is_empty(), "attach {attach}: {differ:?} of {} and {}", living.len(), processes.len());
        assert!(tally.end.is_some_and(|end| end.seen > 0 && end.lost == 0), "attach {attach}: {tally:?}");
        weather.hang_up();
        weather.end();
    }
}

#[test]
fn a_watch_ends_when_all_that_it_watches_have() {
    let (mut one, first) = target_and_pid(&["plain"]);
    let (mut two, second) = target_and_pid(&["plain"]);
    let lines = Lines::new();
    let mut kmonitor = ready(&mut lines.watch(&[&first, &second]));
    one.say("exit 7");
    one.end();
    assert!(kmonitor.is_running());
    two.say("exit 0");
    assert_eq!(kmonitor.end().code(), Some(0));
    let records = lines.read();
    let tally = Tally::of(&records);
    assert_eq!((&tally.wrong[..], tally.totals.seen, tally.totals.exit), (&[][..], 2, 2));
    let codes: Vec<_> = records
        .iter()
        .filter_map(|record| match &record.what {
            What::Exit { process, .. } => process.exit_code,
            _ => None,
        })
        .collect();
    assert_eq!(codes, [7, 0]);
}

#[test]
fn descendants_are_left_out_if_asked_for() {
    let mut shell =
        Program::start(Command::new("sh").args(["-c", "read l; sh -c '(true); true'; read l; exit 0"]));
    let lines = Lines::new();
    let mut kmonitor = ready(&mut lines.watch(&["--no-follow", &shell.id().to_string()]));
    shell.say("");
    shell.say("");
    assert_eq!(kmonitor.end().code(), Some(0));
    let totals = Tally::of(&lines.read()).totals;
    assert_eq!((totals.seen, totals.fork, totals.exec, totals.exit), (1, 1, 0, 1), "{totals:?}");
}

#[test]
fn all_processes_are_watched_and_new_ones_too() {
    let lines = Lines::new();
    let mut kmonitor = ready(&mut lines.watch(&["-a"]));
    let child = Command::new("true").stdin(Stdio::null()).spawn().map(|mut child| (child.id(), child.wait()));
    let (pid, _) = child.expect("true");
    let has_ended = || {
        let text = std::fs::read_to_string(&lines.path).expect("text");
        text.lines()
            .any(|line| line.contains("\"event\":\"exit\"") && line.contains(&format!("\"pid\":{pid},")))
    };
    until("its exit is told", has_ended);
    kmonitor.signal(Signal::SIGINT);
    assert_eq!(kmonitor.end().code(), Some(130));
    let records = lines.read();
    let own = |wanted: i32| move |what: &What| what.process().is_some_and(|process| process.pid == wanted);
    let about: Vec<_> = records.iter().filter(|record| own(pid as i32)(&record.what)).collect();
    assert!(
        matches!(about[0].what, What::Fork { .. }) && matches!(about[1].what, What::Exec { .. }),
        "{about:?}"
    );
    for pid in [1, std::process::id() as i32] {
        let seen = records.iter().find(|record| own(pid)(&record.what)).expect("it was there");
        assert!(matches!(seen.what, What::Seen { .. }), "{seen:?}");
    }
}

#[test]
fn threads_are_told_where_they_are_wanted() {
    let mut program = start("exits", &["group"]);
    let lines = Lines::new();
    let mut kmonitor = ready(&mut lines.watch(&["-e", "thread", &program.id().to_string()]));
    program.hang_up();
    assert_eq!(kmonitor.end().code(), Some(0));
    let records = lines.read();
    let totals = Tally::of(&records).totals;
    assert_eq!((totals.seen, totals.thread_exit, totals.exit), (51, 50, 0));
}

/// Its main thread ends first, which is not its end.
#[test]
fn a_process_ends_with_its_last_thread() {
    let mut program = start("exits", &["main-ends"]);
    let lines = Lines::new();
    let mut kmonitor = ready(&mut lines.watch(&["-e", "exit,thread", &program.id().to_string()]));
    program.say("");
    until("the main thread has ended", || crate::device::program::is_in_state(program.id(), 'Z'));
    assert!(kmonitor.is_running());
    program.hang_up();
    assert_eq!(kmonitor.end().code(), Some(0));
    let tally = Tally::of(&lines.read());
    assert_eq!((&tally.wrong[..], tally.totals.exit, tally.living.len()), (&[][..], 1, 0));
}

#[test]
fn who_is_not_there_cannot_be_watched() {
    finish(&mut watch(&["4194304"])).gave_up(1, &["no process 4194304"]);
    finish(&mut watch(&["-n", "no-such-name"])).gave_up(1, &["no process matches"]);
    finish(&mut watch(&[])).gave_up(1, &["what to watch is missing", "--help"]);
    finish(&mut watch(&["-e", "forks", "1"])).gave_up(1, &["'forks'", "--events", "thread"]);
    finish(&mut watch(&["-a", "1"])).gave_up(1, &["--all"]);
    finish(crate::cli::target::as_ordinary(KMONITOR).args(["watch", "--source", "bpf", "1"]))
        .gave_up(2, &["run it as root"]);
}

#[test]
fn a_reader_that_goes_away_ends_the_watch_quietly() {
    let mut quiet = target(&["plain"]);
    let pid = quiet.line();
    for reader in ["true", "head -n 2"] {
        let script = format!("{{ \"$0\" watch \"$@\"; echo \"status $?\" >&2; }} | {reader}");
        let ended = finish(Command::new("sh").args(["-c", &script, KMONITOR, "--json", &pid]));
        let errors: Vec<_> = ended.errors.lines().collect();
        assert_eq!(errors.last(), Some(&"status 141"), "{ended:?}");
        assert!(errors.len() <= 2, "{ended:?}");
    }
}
