//! `kmonitor wait --status`

use super::target::{
    as_ordinary, assert_exited, scratch, target_and_pid, target_program, wait, wait_command, waiting,
};
use crate::device::program::{Program, finish, until};
use crate::device::served::KMONITOR;
use std::fs::{self, File};
use std::process::Command;

/// What `kmonitor wait --status` exits with when the target does this.
fn status_of(kind: &str, line: &str) -> Option<i32> {
    let (mut target, pid) = target_and_pid(&[kind]);
    let mut kmonitor = waiting(&mut wait_command(&["--status", &pid]));
    target.say(line);
    kmonitor.end().code()
}

#[test]
fn the_targets_status_is_kmonitors() {
    for status in [0, 1, 3, 7, 124, 255] {
        assert_eq!(status_of("plain", &format!("exit {status}")), Some(status));
    }
    assert_eq!(status_of("plain", &format!("kill {}", libc::SIGKILL)), Some(128 + libc::SIGKILL));
    assert_eq!(status_of("plain", &format!("kill {}", libc::SIGRTMAX())), Some(128 + libc::SIGRTMAX()));
    assert_eq!(status_of("main-ends", "exit 7"), Some(7));
    assert_eq!(status_of("traced", "exit 7"), Some(7));
    assert_eq!(status_of("reuse", "again"), Some(128 + libc::SIGKILL), "the first owner's");
}

#[test]
fn an_ordinary_user_sees_the_status_of_an_own_and_of_roots_process() {
    let own = || Program::start(as_ordinary(target_program()).arg("plain"));
    let roots = || Program::start(Command::new(target_program()).arg("plain"));
    for mut target in [own(), roots()] {
        let pid = target.line();
        let mut kmonitor = waiting(as_ordinary(KMONITOR).args(["wait", "--status", &pid]));
        target.say("exit 7");
        // Reaps it.
        target.end();
        assert_eq!(kmonitor.end().code(), Some(7));
    }
}

#[test]
fn a_zombies_status_is_seen_at_once_by_those_who_may() {
    let (_target, pid) = target_and_pid(&["zombie"]);
    let ended = wait(&["--status", &pid]);
    assert_eq!(ended.code(), 7);
    assert_exited(ended.output.trim_end(), &pid, "status 7");
}

#[test]
fn a_zombie_that_we_may_not_look_at_is_waited_for_until_it_is_reaped_and_that_is_said() {
    let (mut target, pid) = target_and_pid(&["zombie"]);
    let mut look = as_ordinary(KMONITOR);
    let timed_out = finish(look.args(["wait", "--status", "-t", "0", &pid]));
    assert_eq!(timed_out.code(), 124, "{timed_out:?}");
    assert_eq!(timed_out.output, "");

    let directory = scratch();
    let errors = directory.path("errors");
    let file = File::create(&errors).expect("a file for its errors");
    let mut kmonitor = waiting(as_ordinary(KMONITOR).args(["wait", "--status", &pid]).stderr(file));
    let said = || fs::read_to_string(&errors).expect("they are text");
    until("it says what it waits for", || said().contains(&format!("{pid} has exited, but its status")));
    target.say("reap");
    assert_exited(&kmonitor.line(), &pid, "status 7");
    assert_eq!(kmonitor.end().code(), Some(7));
}

#[test]
fn failures_of_ours_are_125_and_a_timeout_124() {
    let (_one, pid) = target_and_pid(&["plain"]);
    let (_two, other) = target_and_pid(&["plain"]);
    wait(&["--status", "-t", "0", &pid]).gave_up(124, &["timed out", &pid]);
    wait(&["--status", &pid, &other]).gave_up(125, &["--status", "one process", "2"]);
    wait(&["--status", "4194304"]).gave_up(125, &["no process 4194304"]);
    wait(&["--status", "-n", "no-such-name"]).gave_up(125, &["no process matches"]);
    wait(&["--status"]).gave_up(125, &["missing"]);
    wait(&["--status", "x"]).gave_up(125, &["'x'"]);
    wait(&["--status", "-e", &pid]).gave_up(125, &["--status", "--exited"]);
    until("both are there still", || [&pid, &other].iter().all(|pid| wait(&["-t", "0", pid]).code() == 3));
}
