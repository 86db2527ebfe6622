//! The same from the proc connector, which tells less.

use super::harness::{Lines, Tally, print, record, storm};
use crate::cli::target::as_ordinary;
use crate::device::program::{Program, finish};
use crate::device::served::KMONITOR;
use kmonitor::records::{SourceName, What};
use kmonitor::sys::kernel::{Kernel, Version};

#[test]
fn a_storm_is_told_to_the_last_by_the_connector() {
    let (records, births, execs, status) =
        storm(100, &["--source", "connector", "-e", "fork,exec,exit,thread"]);
    let tally = Tally::of(&records);
    println!("{births} births, {execs} execs: {:?}", tally.totals);
    assert!(status.success());
    assert_eq!((&tally.wrong[..], tally.living.len()), (&[][..], 0));
    let totals = tally.end.expect("the end");
    assert_eq!((totals.fork + totals.thread_create, totals.exec, totals.lost), (births, execs + 1, 0));
    assert_eq!(totals.exit, totals.fork + 1);
}

#[test]
fn what_the_connector_cannot_know_is_null() {
    let script = "(sleep 0.5; exit 5); exit 3";
    let (records, status) = record(&["--source", "connector", "--", "sh", "-c", script]);
    assert_eq!(status, 3);
    assert_eq!(records[1].what, What::Ready { source: SourceName::Connector, seen: 1 });
    for record in &records {
        match &record.what {
            What::Fork { creator_tid, .. } | What::Exec { creator_tid, .. } => assert_eq!(*creator_tid, None),
            What::Exit { process, creator_tid } => {
                assert_eq!((process.cpu_ns, process.peak_memory, *creator_tid), (None, None, None));
                assert!(process.exit_code.is_some() && process.duration_ns.is_some());
            }
            _ => {}
        }
    }
    // A program that runs for a while is known.
    let slept = records.iter().find_map(|record| match &record.what {
        What::Exec { process, .. } if process.comm.as_deref() == Some("sleep") => Some(process),
        _ => None,
    });
    assert_eq!(slept.expect("sleep").args, Some(vec!["sleep".to_owned(), "0.5".to_owned()]));
    assert!(slept.is_some_and(|process| process.uid == Some(0) && process.entity_id.is_some()));
}

#[test]
fn a_tree_that_is_there_is_watched_by_the_connector() {
    let script = "cat <&0 & read line; exit 4";
    let mut shell = Program::start(std::process::Command::new("bash").args(["-c", script]));
    let pid = shell.id().to_string();
    let children = format!("/proc/{pid}/task/{pid}/children");
    crate::device::program::until("it has its children", || {
        std::fs::read_to_string(&children).is_ok_and(|text| text.split_whitespace().count() == 1)
    });
    let lines = Lines::new();
    let mut kmonitor = Program::start(&mut lines.watch(&["--source", "connector", &pid]));
    crate::device::program::until("it is ready", || {
        std::fs::read_to_string(&lines.path).is_ok_and(|text| text.contains("\"ready\""))
    });
    shell.hang_up();
    assert_eq!(kmonitor.end().code(), Some(0));
    let tally = Tally::of(&lines.read());
    assert_eq!((&tally.wrong[..], tally.totals.seen, tally.totals.exit), (&[][..], 2, 2));
}

#[test]
fn lines_for_people_say_what_is_not_known() {
    let lines = print(&["--source", "connector", "--", "sh", "-c", "sleep 0.3; exit 1"]);
    assert!(
        lines.iter().any(|line| line.starts_with("exec ") && line.ends_with("  sleep 0.3")),
        "{lines:#?}"
    );
    let last = lines.last().expect("lines");
    assert!(last.contains("  status 1, after "), "{last}");
}

/// From Linux 6.6 on anybody may listen to the connector.
#[test]
fn an_ordinary_user_watches_where_the_kernel_permits_it() {
    let arguments = ["watch", "-e", "exec", "--", "sh", "-c", "exit 3"];
    let ended = finish(as_ordinary(KMONITOR).args(arguments));
    if Kernel::running().version < Version(6, 6) {
        ended.gave_up(125, &["root"]);
    } else {
        assert_eq!((ended.code(), ended.errors.contains(" exec ")), (3, true), "{ended:?}");
    }
}
