//! `kmonitor watch -- COMMAND`

use super::harness::{Tally, print, record, storm, watch};
use crate::device::program::finish;
use kmonitor::records::{Process, Record, SourceName, Totals, What};
use std::collections::HashSet;
use std::env;
use std::os::unix::ffi::OsStrExt;

/// Each makes 28 tasks, and executes two programs. KMONITOR_STORM_ROUNDS makes them more.
fn rounds() -> u32 {
    env::var("KMONITOR_STORM_ROUNDS").map_or(720, |rounds| rounds.parse().expect("a number"))
}

#[test]
fn a_storm_is_told_to_the_last() {
    let (records, births, execs, status) = storm(rounds(), &["-e", "fork,exec,exit,thread"]);
    let tally = Tally::of(&records);
    println!("{births} births, {execs} execs: {:?}", tally.totals);
    assert!(status.success());
    assert_eq!((&tally.wrong[..], tally.living.len()), (&[][..], 0));
    let totals = tally.end.expect("the end");
    assert_eq!((totals.seen, totals.lost), (1, 0));
    assert_eq!(totals.fork + totals.thread_create, births);
    assert_eq!(totals.exit + totals.thread_exit, births + 1, "the storm itself was seen");
    assert_eq!(totals.exec, execs + 1);
    assert!(records.iter().enumerate().all(|(at, record)| record.seq == at as u64));
    let executed = records.iter().filter_map(|record| match &record.what {
        What::Exec { process, creator_tid } => Some((process, creator_tid)),
        _ => None,
    });
    for (process, creator) in executed.skip(1) {
        assert_eq!(process.args.as_deref(), Some(&["true".to_owned()][..]), "{process:?}");
        assert!(creator.is_some() && process.uid == Some(0) && process.cgroup.is_some(), "{process:?}");
    }
}

#[test]
fn the_commands_status_is_kmonitors() {
    for (script, status) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("(exit 3); exit 4", 4)] {
        let ended = finish(&mut watch(&["--", "sh", "-c", script]));
        assert_eq!(ended.code(), status, "{ended:?}");
    }
    finish(&mut watch(&["-o", "/dev/null", "--", "/no/such/program"])).gave_up(127, &["/no/such/program"]);
    finish(&mut watch(&["-o", "/dev/null", "--", "/etc/passwd"]))
        .gave_up(126, &["/etc/passwd", "Permission"]);
    finish(&mut watch(&["-o", "/no/such/file", "--", "true"])).gave_up(125, &["/no/such/file"]);
    finish(&mut watch(&["--no-such-option", "--", "true"])).gave_up(125, &["--no-such-option"]);
    finish(&mut watch(&["1", "--", "true"])).gave_up(125, &["COMMAND"]);
    finish(&mut watch(&["--run-as", "nobody-has-this-name", "--", "true"])).gave_up(125, &["--run-as"]);
}

/// The processes that were forked.
fn forked(records: &[Record]) -> Vec<&Process> {
    let forks = records.iter().filter(|record| matches!(record.what, What::Fork { .. }));
    forks.filter_map(|record| record.what.process()).collect()
}

#[test]
fn a_command_is_watched_from_its_first_moment_to_its_descendants_last() {
    // The shell need not outlive its child.
    let (records, status) = record(&["--", "sh", "-c", "(sleep 0.3; exit 5) & exit 2"]);
    assert_eq!(status, 2);
    let tally = Tally::of(&records);
    let totals = Totals { seen: 1, fork: 2, exec: 2, exit: 3, ..Totals::default() };
    assert_eq!((&tally.wrong[..], tally.end), (&[][..], Some(totals)));
    assert_eq!(records[1].what, What::Ready { source: SourceName::Bpf, seen: 1 });
    let What::Exec { process: shell, .. } = &records[2].what else { panic!("{records:?}") };
    assert_eq!(shell.executable.as_deref().map(|file| file.ends_with("/sh")), Some(true));
    let [sub, sleep] = forked(&records)[..] else { panic!("{records:?}") };
    assert_eq!((sub.ppid, sleep.ppid), (Some(shell.pid), Some(sub.pid)));
    assert_eq!(sub.args, shell.args, "what a new process executes it has from its parent");
    assert_eq!(HashSet::from([&shell.entity_id, &sub.entity_id, &sleep.entity_id]).len(), 3);
    for record in &records {
        let What::Exit { process: ended, .. } = &record.what else { continue };
        let (code, least) = match ended.process.pid {
            pid if pid == shell.pid => (2, 0),
            pid if pid == sub.pid => (5, 300_000_000),
            _ => (0, 290_000_000),
        };
        assert_eq!(ended.exit_code, Some(code), "{ended:?}");
        assert!(ended.duration_ns > Some(least) && ended.cpu_ns.is_some(), "{ended:?}");
        assert!(ended.peak_memory > Some(1 << 16), "{ended:?}");
        if code == 0 {
            assert_eq!(ended.process.args, Some(vec!["sleep".to_owned(), "0.3".to_owned()]));
        }
    }
}

#[test]
fn a_signal_that_killed_is_told() {
    let (records, status) = record(&["-e", "exit", "--", "sh", "-c", "kill -KILL $$"]);
    assert_eq!(status, 137);
    let What::Exit { process, .. } = &records[2].what else { panic!("{records:?}") };
    assert_eq!((process.exit_code, process.signal, process.core_dumped), (None, Some(9), Some(false)));
    assert_eq!(records.len(), 4, "only exits were wanted");
}

#[test]
fn arguments_that_are_no_text_keep_their_bytes() {
    let odd = std::ffi::OsStr::from_bytes(b"\xff 1\n");
    let lines = super::harness::Lines::new();
    let ended = finish(lines.watch(&["--", "true", "ä"]).arg(odd));
    assert_eq!(ended.code(), 0);
    let records = lines.read();
    let process = records[2].what.process().expect("an exec");
    assert_eq!(process.args.as_ref().expect("args")[1..], ["ä", "\u{fffd} 1\n"]);
    assert_eq!(process.args_bytes().expect("args")[1..], ["ä".as_bytes(), b"\xff 1\n"]);
    assert!(process.args_b64.is_some() && process.comm_b64.is_none());
    let ended = finish(watch(&["-e", "exec", "--", "true", "ä"]).arg(odd));
    assert!(ended.errors.ends_with("  true ä $'\\377 1\\n'\n"), "{ended:?}");
}

#[test]
fn lines_for_people_have_the_command_line_as_a_shell_takes_it() {
    let lines = print(&["--", "sh", "-c", "echo \"it's\" $0 | cat >/dev/null; exit 3", "a b"]);
    let shell = r#"sh -c 'echo "it'\''s" $0 | cat >/dev/null; exit 3' 'a b'"#;
    let column = |line: &String| line.split_whitespace().next().expect("a kind").to_owned();
    assert_eq!(column(&lines[0]), "exec");
    assert!(lines[0].ends_with(shell), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("exec ") && line.ends_with("  cat")), "{lines:#?}");
    let last = lines.last().expect("lines");
    assert!(last.starts_with("exit ") && last.contains(&format!("{shell}  status 3, after ")), "{last}");
    let only = print(&["-e", "exec", "--", "sh", "-c", "true & exec true"]);
    assert!(only.iter().all(|line| line.starts_with("exec ")), "{only:#?}");
}

#[test]
fn a_command_is_run_as_another_user_with_the_users_groups() {
    let lines = super::harness::Lines::new();
    let ended = finish(&mut lines.watch(&["--run-as", "daemon", "--", "sh", "-c", "id -u; id -G"]));
    let expected = finish(std::process::Command::new("sh").args(["-c", "id -u daemon; id -G daemon"]));
    assert_eq!((ended.output.as_str(), ended.errors.as_str()), (expected.output.as_str(), ""));
    let records = lines.read();
    let uids: Vec<_> = records.iter().filter_map(|record| record.what.process()?.uid).collect();
    let daemon: u32 = expected.output.lines().next().expect("a uid").parse().expect("a number");
    assert_eq!(uids[0], 0, "before it executes anything it is ours");
    assert!(uids[1..].iter().all(|uid| *uid == daemon), "{uids:?}");
}

#[test]
fn sigterm_goes_to_the_command() {
    let lines = super::harness::Lines::new();
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut kmonitor = crate::device::program::Program::start(&mut lines.watch(&["--", "sh", "-c", script]));
    assert_eq!(kmonitor.line(), "ready");
    kmonitor.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(kmonitor.end().code(), Some(9));
    let tally = Tally::of(&lines.read());
    assert_eq!((&tally.wrong[..], tally.living.len()), (&[][..], 0));
}
