//! `kmonitor run`: the device for as long as a program runs.

use super::program::{Program, finish};
use super::served::{KMONITOR, Place};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_device_is_there_while_the_program_runs_and_its_status_is_passed_on() {
    let place = Place::new();
    let script = format!(": <> {} && exit 7", place.text());
    assert_eq!(place.run(&["sh", "-c", &script]).code(), 7);
    assert_eq!(place.run(&["true"]).code(), 0);
}

#[test]
fn a_program_that_a_signal_ends_gives_128_and_its_number() {
    let place = Place::new();
    assert_eq!(place.run(&["sh", "-c", "kill -KILL $$"]).code(), 128 + 9);
    assert_eq!(place.run(&["sh", "-c", "kill -HUP $$"]).code(), 128 + 1);
}

#[test]
fn a_program_that_cannot_run_gives_127_or_126() {
    let place = Place::new();
    place.run(&["no-such-program"]).gave_up(127, &["cannot run no-such-program"]);
    let file = place.beside("file");
    fs::write(&file, "#!/bin/sh\n").expect("write");
    place.run(&[file.to_str().expect("text")]).gave_up(126, &["cannot run", "file", "ermission"]);
    place.run(&["/"]).gave_up(126, &["cannot run /"]);
}

#[test]
fn a_device_that_cannot_be_served_gives_125_and_the_program_does_not_run() {
    let place = Place::new();
    fs::create_dir(place.path()).expect("mkdir");
    let mark = place.beside("mark");
    let ended = finish(&mut place.run_command(&[], &["touch", mark.to_str().expect("text")]));
    ended.gave_up(125, &[place.text(), "a directory"]);
    assert!(!mark.exists());
}

#[test]
fn the_programs_arguments_are_its_own() {
    let place = Place::new();
    let arguments = ["a b", "-h", "--path", "--", "", "*"];
    let output = place.run(&[&["printf", "[%s]"], &arguments[..]].concat()).well();
    assert_eq!(output, "[a b][-h][--path][--][][*]\n");
}

#[test]
fn the_program_has_the_signal_mask_that_kmonitor_was_given() {
    let place = Place::new();
    let program = ["grep", "^SigBlk", "/proc/self/status"];
    assert_eq!(place.run(&program).well(), "SigBlk:\t0000000000000000\n");
    let mut blocking = Command::new("env");
    blocking
        .arg("--block-signal=USR2")
        .arg(KMONITOR)
        .args(["run", "--path", place.text(), "--"])
        .args(program);
    assert_eq!(finish(&mut blocking).well(), "SigBlk:\t0000000000000800\n");
}

#[test]
fn the_program_inherits_no_descriptor_of_ours() {
    let place = Place::new();
    let list = ["sh", "-c", "ls /proc/$$/fd"];
    let without = finish(Command::new(list[0]).args(&list[1..])).well();
    assert_eq!(place.run(&list).well(), without);
}

#[test]
fn sigterm_is_passed_on_to_the_program() {
    let place = Place::new();
    // The shell runs its trap between two commands.
    let script = "trap 'exit 9' TERM; echo $$; while :; do sleep 0.1; done";
    let mut kmonitor = Program::start(&mut place.run_command(&[], &["sh", "-c", script]));
    let program: i32 = kmonitor.line().parse().expect("its id");
    assert!(Path::new(&format!("/proc/{program}")).exists());
    kmonitor.signal(Signal::SIGTERM);
    assert_eq!(kmonitor.end().code(), Some(9));
    assert!(!Path::new(&format!("/proc/{program}")).exists(), "the program was left, or not waited for");
    place.assert_clean();
}

#[test]
fn a_client_that_outlives_the_program_does_not_keep_the_node() {
    let place = Place::new();
    let script = format!("exec 3< {}; sleep 1000 >/dev/null 2>&1 & echo $!", place.text());
    let client: i32 = place.run(&["sh", "-c", &script]).well().trim().parse().expect("its id");
    kill(Pid::from_raw(client), Signal::SIGKILL).expect("it lives on");
}
