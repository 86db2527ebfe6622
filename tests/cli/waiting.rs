//! What is waited for, how long, and what is said of it.

use super::target::{
    as_ordinary, assert_exited, target, target_and_pid, target_program, wait, wait_command, waiting,
};
use crate::device::program::{Program, finish, is_in_state, until};
use crate::device::served::KMONITOR;
use nix::sys::signal::Signal;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Waits for a target that exits with this status in the meantime.
fn assert_waits(mut target: Program, pid: &str, arguments: &[&str]) {
    let mut kmonitor = waiting(wait_command(arguments).arg(pid));
    assert!(kmonitor.is_running());
    target.say("exit 7");
    assert_exited(&kmonitor.line(), pid, "status 7");
    assert_eq!(kmonitor.next_line(), None);
    assert_eq!(kmonitor.end().code(), Some(0));
}

#[test]
fn a_process_that_exits_is_reported_with_its_status() {
    let (target, pid) = target_and_pid(&["plain"]);
    assert_waits(target, &pid, &[]);
}

#[test]
fn a_process_that_a_signal_kills_is_reported_with_the_signal() {
    let (mut target, pid) = target_and_pid(&["plain"]);
    let mut kmonitor = waiting(&mut wait_command(&[&pid]));
    target.say(&format!("kill {}", libc::SIGTERM));
    assert_exited(&kmonitor.line(), &pid, "killed by SIGTERM");
    assert_eq!(kmonitor.end().code(), Some(0));
}

#[test]
fn a_main_thread_that_ends_is_not_the_end_of_the_process() {
    let (target, pid) = target_and_pid(&["main-ends"]);
    let id = target.id();
    until("the main thread has ended", || is_in_state(id, 'Z'));
    assert_eq!(wait(&["-t", "0", &pid]).code(), 3);
    assert_waits(target, &pid, &[]);
}

#[test]
fn a_stopped_process_is_waited_for() {
    let (mut target, pid) = target_and_pid(&["plain"]);
    target.signal(Signal::SIGSTOP);
    until("it is stopped", || is_in_state(target.id(), 'T'));
    let mut kmonitor = waiting(&mut wait_command(&[&pid]));
    target.say("exit 7");
    assert!(kmonitor.is_running(), "a stop is no end");
    target.signal(Signal::SIGCONT);
    assert_exited(&kmonitor.line(), &pid, "status 7");
    assert_eq!(kmonitor.end().code(), Some(0));
}

#[test]
fn a_traced_process_is_waited_for() {
    let (mut target, pid) = target_and_pid(&["traced"]);
    assert_eq!(target.line(), "traced");
    assert_waits(target, &pid, &[]);
}

#[test]
fn a_process_that_becomes_another_user_is_waited_for() {
    let (mut target, pid) = target_and_pid(&["plain"]);
    let mut kmonitor = waiting(&mut wait_command(&[&pid]));
    target.say("uid 1234");
    assert_eq!(target.line(), "done");
    assert!(kmonitor.is_running());
    target.say("exit 7");
    assert_exited(&kmonitor.line(), &pid, "status 7");
    assert_eq!(kmonitor.end().code(), Some(0));
}

#[test]
fn a_zombie_has_exited_and_is_not_waited_for() {
    let (mut target, pid) = target_and_pid(&["zombie"]);
    let ended = wait(&["-t", "0", &pid]);
    assert_exited(ended.well().trim_end(), &pid, "status 7");
    target.say("reap");
    assert_eq!(target.line(), "reaped");
    wait(&[&pid]).gave_up(1, &["no process", &pid, "-e"]);
}

#[test]
fn an_ordinary_user_waits_for_any_process() {
    let mut own = Program::start(as_ordinary(target_program()).arg("plain"));
    let mut roots = target(&["plain"]);
    let pids = [own.line(), roots.line()];
    let mut kmonitor = waiting(as_ordinary(KMONITOR).arg("wait").args(&pids));
    own.say("exit 7");
    assert_exited(&kmonitor.line(), &pids[0], "status 7");
    roots.say("exit 8");
    // The status only if its parent was quicker.
    let line = kmonitor.line();
    assert!(line.starts_with(&format!("{} exited, ", pids[1])), "{line}");
    assert_eq!(kmonitor.end().code(), Some(0));
}

#[test]
fn a_timeout_of_0_looks_once() {
    let (mut target, pid) = target_and_pid(&["plain"]);
    wait(&["-t", "0", &pid]).gave_up(3, &["timed out after 0.", "0 of 1 exited", "still running", &pid]);
    target.say("exit 0");
    until("it has exited", || is_in_state(target.id(), 'Z'));
    assert_exited(wait(&["-t", "0", &pid]).well().trim_end(), &pid, "status 0");
}

#[test]
fn a_timeout_is_status_3_and_not_too_early() {
    let (_target, pid) = target_and_pid(&["plain"]);
    let begun = Instant::now();
    let ended = wait(&["--timeout", "0.25", &pid]);
    assert!(begun.elapsed() >= Duration::from_millis(250));
    ended.gave_up(3, &["timed out after 0.", "0 of 1 exited", &pid]);
    let ended = wait(&["-q", "-t", "0.1", &pid]);
    assert_eq!((ended.code(), ended.output.as_str(), ended.errors.as_str()), (3, "", ""));
}

#[test]
fn a_process_that_does_not_exist_is_an_error_but_for_e() {
    let (mut living, pid) = target_and_pid(&["plain"]);
    let (mut gone, gone_pid) = target_and_pid(&["plain"]);
    gone.say("exit 0");
    gone.end();
    // At once, whatever else there is to wait for.
    wait(&[&pid, &gone_pid]).gave_up(1, &["no process", &gone_pid, "-e"]);
    for option in ["-e", "--exited"] {
        let ended = wait(&[option, &gone_pid]);
        assert_eq!(ended.well(), format!("{gone_pid} does not exist\n"));
    }
    let mut kmonitor = waiting(&mut wait_command(&["-e", &pid, &gone_pid]));
    assert_eq!(kmonitor.line(), format!("{gone_pid} does not exist"));
    living.say("exit 0");
    assert_exited(&kmonitor.line(), &pid, "status 0");
    assert_eq!(kmonitor.end().code(), Some(0));
}

#[test]
fn count_of_them_are_enough() {
    let mut targets = [target(&["plain"]), target(&["plain"]), target(&["plain"])];
    let pids = targets.each_mut().map(Program::line);
    for (option, count) in [("-c", 1), ("--count", 1)] {
        let ended = wait(
            &[&["-e", option, &count.to_string(), "4194304"], &pids.each_ref().map(String::as_str)[..]]
                .concat(),
        );
        assert_eq!(ended.well(), "4194304 does not exist\n", "what had exited counts");
    }
    let mut kmonitor = waiting(wait_command(&["-c", "2"]).args(&pids));
    for place in [2, 0] {
        targets[place].say("exit 0");
        assert_exited(&kmonitor.line(), &pids[place], "status 0");
    }
    assert_eq!(kmonitor.end().code(), Some(0));
    let numbers = pids.each_ref().map(String::as_str);
    wait(&["-c", "4", numbers[1]]).gave_up(1, &["4 processes cannot exit", "there are 1"]);
}

#[test]
fn a_process_that_is_named_twice_is_one() {
    let (mut target, pid) = target_and_pid(&["plain"]);
    let mut kmonitor = waiting(&mut wait_command(&[&pid, &pid]));
    target.say("exit 0");
    assert_exited(&kmonitor.line(), &pid, "status 0");
    assert_eq!((kmonitor.next_line(), kmonitor.end().code()), (None, Some(0)));
}

#[test]
fn quiet_prints_nothing_but_errors() {
    let (mut target, pid) = target_and_pid(&["plain"]);
    for option in ["-q", "--quiet"] {
        let ended = wait(&[option, "-t", "0", "-P", &std::process::id().to_string(), &pid]);
        assert_eq!((ended.code(), ended.output.as_str(), ended.errors.as_str()), (3, "", ""));
    }
    let mut kmonitor = waiting(wait_command(&["-q", &pid]).stderr(Stdio::piped()));
    target.say("exit 0");
    assert_eq!((kmonitor.next_line(), kmonitor.end().code()), (None, Some(0)));
    wait(&["-q", "4194304"]).gave_up(1, &["no process 4194304"]);
}

#[test]
fn our_own_child_is_waited_for_after_an_exec() {
    // The shell becomes kmonitor, so that nobody else reaps the child.
    let script = "sh -c 'exit 7' & exec \"$0\" wait --status $!";
    let ended = finish(Command::new("sh").args(["-c", script, KMONITOR]));
    assert_eq!(ended.code(), 7, "{ended:?}");
}

#[test]
fn neither_a_thread_nor_kmonitor_itself_can_be_waited_for() {
    let (_target, pid) = target_and_pid(&["main-ends"]);
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it lives");
    let mut ids = tasks.map(|task| task.expect("it lives").file_name().into_string().expect("a number"));
    let thread = ids.find(|id| *id != pid).expect("its other thread");
    wait(&[&thread]).gave_up(1, &[&thread, "a thread", &pid]);
    let script = "exec \"$0\" wait $$";
    finish(Command::new("sh").args(["-c", script, KMONITOR])).gave_up(1, &["this kmonitor itself"]);
}
