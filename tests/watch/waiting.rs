//! `kmonitor wait --start` and `--tree`

use crate::cli::target::{assert_exited, scratch, target_and_pid, wait, wait_command};
use crate::device::program::{Program, until, waits_in};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::process::Command;

/// A program of a name that nobody else has.
fn own_sleep() -> (crate::guest::host::Scratch, String, std::path::PathBuf) {
    let scratch = scratch();
    let name = format!("km-{}-sleep", std::process::id());
    let path = scratch.path(&name);
    fs::copy("/bin/sleep", &path).expect("there is room");
    (scratch, name, path)
}

/// True if this kmonitor waits for events.
fn watches(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ids = threads.filter_map(|thread| thread.file_name().to_str()?.parse::<i32>().ok());
    let is_source = |tid: &i32| {
        fs::read_to_string(format!("/proc/{tid}/comm")).is_ok_and(|name| name.trim_end() == "kmonitor-source")
    };
    ids.filter(is_source).any(|tid| waits_in(tid, libc::SYS_poll))
}

#[test]
fn a_start_is_waited_for() {
    for source in ["bpf", "connector"] {
        let (_scratch, name, path) = own_sleep();
        let mut kmonitor = Program::start(&mut wait_command(&[
            "--start", "--source", source, "-n", &name, "-f", "[0]\\.2$",
        ]));
        // One that was there before it looked would count too, and be told so.
        let mut started = Vec::new();
        until("a start is told", || {
            let mut child = Command::new(&path).arg("0.2").spawn().expect("sleep");
            started.push(child.id());
            child.wait().expect("wait");
            !kmonitor.is_running()
        });
        let line = kmonitor.line();
        let pid: u32 = line.split(' ').next().and_then(|pid| pid.parse().ok()).expect("a pid");
        assert!(started.contains(&pid), "{line}");
        let is_told =
            line.contains(" started, after ") && line.ends_with(&format!(" s: {} 0.2", path.display()));
        assert!(is_told || line.ends_with(" is there already"), "{line}");
        assert_eq!(kmonitor.end().code(), Some(0));
    }
}

#[test]
fn one_that_is_there_is_told_at_once() {
    let (_scratch, name, path) = own_sleep();
    let mut child = Command::new(&path).arg("1000").spawn().expect("sleep");
    let name_of_it = || fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap_or_default();
    until("it has its name", || name_of_it().trim_end() == &name[..name.len().min(15)]);
    assert_eq!(wait(&["--start", "-n", &name]).well(), format!("{} is there already\n", child.id()));
    child.kill().and_then(|()| child.wait()).expect("it is ours");
    wait(&["--start", "-t", "0.2", "-n", &name]).gave_up(3, &["timed out after ", "no such process started"]);
    wait(&["--start"]).gave_up(1, &["which process is to start", "--help"]);
    wait(&["--start", "1"]).gave_up(1, &["--start"]);
}

#[test]
fn a_tree_is_waited_for_to_its_last_descendant() {
    for source in ["bpf", "connector"] {
        let mut shell = Program::start(Command::new("sh").args(["-c", "sleep 1000 & echo $!; wait"]));
        let pid = shell.id().to_string();
        let child = shell.line();
        let mut kmonitor = Program::start(&mut wait_command(&["--tree", "--source", source, &pid]));
        until("it watches", || watches(kmonitor.id()));
        shell.signal(Signal::SIGTERM);
        assert_exited(&kmonitor.line(), &pid, "killed by SIGTERM");
        assert!(kmonitor.is_running(), "there is its child");
        kill(Pid::from_raw(child.parse().expect("a pid")), Signal::SIGKILL).expect("it lives");
        assert_exited(&kmonitor.line(), &child, "killed by SIGKILL");
        assert_eq!(kmonitor.end().code(), Some(0));
    }
}

#[test]
fn a_tree_is_waited_for_until_the_time_is_over() {
    let (mut target, pid) = target_and_pid(&["plain"]);
    wait(&["--tree", "-t", "0.3", &pid]).gave_up(3, &["timed out after ", "0 of 1 exited", &pid]);
    target.say("exit 0");
    target.end();
    wait(&["--tree", &pid]).gave_up(1, &["no process", &pid]);
    assert_eq!(wait(&["--tree", "-e", &pid]).well(), format!("{pid} does not exist\n"));
}
