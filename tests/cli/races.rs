//! Ends at the worst moment, numbers that are given to others, and many processes at once.

use super::target::{
    assert_exited, is_waiting, target, target_and_pid, target_program, wait, wait_command, waiting,
};
use crate::device::program::{Ended, Program, finish, is_in_state, until};
use crate::device::served::KMONITOR;
use kmonitor::sys::pidfd::PidFd;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::process::Command;

/// Runs `kmonitor wait`, with {} for the id of a process of this name, which ends between the look-up and the
/// call of pidfd_open(2); see `target.c`.
fn between(what_then: &str, name: &str, arguments: &[&str]) -> Ended {
    let program = ["between", what_then, name, KMONITOR, "wait"];
    finish(Command::new(target_program()).args(program).args(arguments))
}

/// A name that no other test has, in any process.
fn victims_name(test: &str) -> String {
    format!("{test}-{}", std::process::id())
}

#[test]
fn a_process_that_ends_between_look_up_and_open_does_not_exist() {
    let name = victims_name("gone");
    between("gone", &name, &["{}"]).gave_up(1, &["no process"]);
    between("gone", &name, &["-n", &name]).gave_up(1, &["no process matches"]);
    assert_eq!(between("gone", &name, &["-e", "-n", &name]).code(), 0);
    assert!(between("gone", &name, &["-e", "{}"]).well().ends_with(" does not exist\n"));
}

#[test]
fn a_number_that_is_given_to_another_between_look_up_and_open_is_not_waited_for() {
    let name = victims_name("reuse");
    between("reused", &name, &["-n", &name]).gave_up(1, &["no process matches"]);
    assert_eq!(between("reused", &name, &["-e", "-n", &name]).code(), 0);
}

#[test]
fn a_number_that_is_given_to_another_during_the_wait_is_not_waited_for() {
    for status in [&[][..], &["--status"]] {
        let (mut target, pid) = target_and_pid(&["reuse"]);
        let mut kmonitor = waiting(wait_command(status).arg(&pid));
        kmonitor.signal(Signal::SIGSTOP);
        until("kmonitor is stopped", || is_in_state(kmonitor.id(), 'T'));
        target.say("again");
        assert_eq!(target.line(), "reused");
        kmonitor.signal(Signal::SIGCONT);
        assert_exited(&kmonitor.line(), &pid, "killed by SIGKILL");
        let expected = if status.is_empty() { 0 } else { 137 };
        assert_eq!(kmonitor.end().code(), Some(expected));
        assert_eq!(wait(&["-t", "0", &pid]).code(), 3, "the next owner lives");
    }
}

#[test]
fn an_inode_names_one_life_of_a_number() {
    let (mut target, pid) = target_and_pid(&["reuse"]);
    let inode = || {
        let pidfd = PidFd::open(pid.parse().expect("a number")).expect("it is there");
        pidfd.inode().expect("fstat").expect("this test needs pidfs: boot Linux 6.9 or later")
    };
    let first = format!("{pid}:{}", inode());
    let mut kmonitor = waiting(&mut wait_command(&[&first]));
    target.say("again");
    assert_eq!(target.line(), "reused");
    assert_exited(&kmonitor.line(), &pid, "killed by SIGKILL");
    assert_eq!(kmonitor.end().code(), Some(0));
    wait(&[&first]).gave_up(1, &["no process", &first]);
    assert_eq!(wait(&["-e", &first]).well(), format!("{first} does not exist\n"));
    assert_eq!(wait(&["-t", "0", &format!("{pid}:{}", inode())]).code(), 3, "the second");
}

/// So many processes at once.
const MANY: usize = 1000;

fn many() -> (Program, Vec<String>) {
    let mut targets = target(&["many", &MANY.to_string()]);
    let pids: Vec<String> = targets.line().split(' ').map(str::to_owned).collect();
    assert_eq!(pids.len(), MANY);
    (targets, pids)
}

#[test]
fn a_thousand_processes_that_end_at_once_are_each_reported_once() {
    let (mut targets, pids) = many();
    // Fewer descriptors than processes, but it may have more.
    let hard = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit").1;
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile=64:{hard}")).arg(KMONITOR).arg("wait").args(&pids);
    let mut kmonitor = Program::start(&mut command);
    until("kmonitor waits", || is_waiting(kmonitor.id()));
    targets.say("end");
    let mut lines = kmonitor.lines();
    assert_eq!(kmonitor.end().code(), Some(0));
    assert_eq!(lines.len(), MANY);
    for line in &mut lines {
        let (pid, how) = line.split_once(' ').expect("a line of an end");
        assert_exited(&format!("{pid} {how}"), pid, "status 0");
        *line = pid.to_owned();
    }
    assert_eq!(BTreeSet::from_iter(lines), BTreeSet::from_iter(pids));
    assert_eq!(targets.line(), "reaped");
}

#[test]
fn too_few_descriptors_are_an_error_that_names_the_limit() {
    let (_targets, pids) = many();
    let mut command = Command::new("prlimit");
    finish(command.arg("--nofile=64:64").arg(KMONITOR).arg("wait").args(&pids))
        .gave_up(1, &["too many processes", "64", "ulimit"]);
}
