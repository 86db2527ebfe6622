//! Where the output goes, and who ends the wait.

use super::target::{assert_exited, target_and_pid, wait_command, waiting};
use crate::device::program::{Ended, finish, until};
use crate::device::served::KMONITOR;
use nix::sys::signal::Signal;
use std::fs::File;
use std::process::{Command, Stdio};
use std::thread;

/// `kmonitor ARGUMENT...` on a terminal, which script(1) emulates: what it writes there.
fn on_a_terminal(environment: &[(&str, &str)], arguments: &str) -> Ended {
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &format!("{KMONITOR} {arguments}"), "/dev/null"]);
    script.env_remove("NO_COLOR").env("TERM", "xterm").envs(environment.iter().copied());
    finish(&mut script)
}

const RED: &str = "\x1b[31mstatus 7\x1b[0m";

#[test]
fn on_a_terminal_a_failure_is_red() {
    let (_target, pid) = target_and_pid(&["zombie"]);
    let output = |environment: &[(&str, &str)], arguments: &str| {
        on_a_terminal(environment, &format!("wait {arguments} {pid}")).well()
    };
    for (environment, arguments) in [
        (&[][..], ""),
        (&[("NO_COLOR", "")], ""),
        (&[("NO_COLOR", "1"), ("TERM", "dumb")], "--color always"),
        (&[], "--color=auto"),
    ] {
        let output = output(environment, arguments);
        assert!(
            output.contains(&format!("{pid} exited, {RED}, after ")),
            "{environment:?} {arguments}: {output:?}"
        );
    }
    for (environment, arguments) in
        [(&[("NO_COLOR", "1")][..], ""), (&[("TERM", "dumb")], ""), (&[], "--color never")]
    {
        let output = output(environment, arguments);
        assert_exited(output.trim_end(), &pid, "status 7");
    }
}

#[test]
fn into_a_pipe_there_are_no_escape_codes_unless_asked_for() {
    let (_target, pid) = target_and_pid(&["zombie"]);
    for arguments in [&[][..], &["--color", "auto"]] {
        let ended = finish(wait_command(arguments).arg(&pid).env("TERM", "xterm").env_remove("NO_COLOR"));
        assert_exited(ended.well().trim_end(), &pid, "status 7");
    }
    assert!(finish(&mut wait_command(&["--color", "always", &pid])).well().contains(RED));
    finish(&mut wait_command(&["--color", "blue", &pid])).gave_up(1, &["'blue'", "--color"]);
}

#[test]
fn a_reader_that_goes_away_ends_the_wait_quietly() {
    let (mut one, pid) = target_and_pid(&["plain"]);
    let (_two, other) = target_and_pid(&["plain"]);
    let piped_into = |reader: &str| {
        let script = format!("{{ \"$0\" wait \"$@\"; echo \"status $?\" >&2; }} | {reader}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, KMONITOR, &pid, &other]);
        shell
    };
    // Before there is a line.
    let ended = finish(&mut piped_into("true"));
    assert_eq!((ended.output.as_str(), ended.errors.as_str()), ("", "status 141\n"));
    // After one.
    let mut shell = piped_into("head -n 1");
    let shell = thread::spawn(move || finish(&mut shell));
    one.say("exit 0");
    let ended = shell.join().expect("no panic");
    assert_exited(ended.output.trim_end(), &pid, "status 0");
    assert_eq!(ended.errors, "status 141\n");
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let (_target, pid) = target_and_pid(&["zombie"]);
    let full = File::options().write(true).open("/dev/full").expect("it is everywhere");
    let output = wait_command(&[&pid]).stdout(full).stderr(Stdio::piped()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).expect("text");
    assert!(errors.starts_with("kmonitor: cannot print") && errors.contains("No space left"), "{errors}");
}

#[test]
fn sigint_and_sigterm_end_the_wait_with_what_is_known() {
    for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        for option in ["--color=auto", "--status"] {
            let (_target, pid) = target_and_pid(&["plain"]);
            let mut command = Command::new("sh");
            // The tests may have been started with SIGINT ignored, as in the background.
            let run = ["-c", "exec env --default-signal=INT \"$@\" 2>&1", "sh", KMONITOR];
            command.args(run).args(["wait", option, &pid]);
            let mut kmonitor = waiting(&mut command);
            kmonitor.signal(signal);
            let line = kmonitor.line();
            let start = format!("kmonitor: {signal} after ");
            assert!(line.starts_with(&start), "{line}");
            assert!(line.ends_with(&format!(" s: 0 of 1 exited; still running: {pid}")), "{line}");
            assert_eq!(kmonitor.end().code(), Some(status));
        }
    }
}

#[test]
fn a_background_job_that_ignores_sigint_goes_on() {
    let (mut target, pid) = target_and_pid(&["plain"]);
    let mut command = Command::new("env");
    command.args(["--ignore-signal=INT", KMONITOR, "wait", &pid]);
    let mut kmonitor = waiting(&mut command);
    kmonitor.signal(Signal::SIGINT);
    target.say("exit 7");
    assert_exited(&kmonitor.line(), &pid, "status 7");
    assert_eq!(kmonitor.end().code(), Some(0));
}

#[test]
fn many_that_still_run_are_counted_and_ten_are_listed() {
    let (_targets, pids) = target_and_pid(&["many", "12"]);
    let pids: Vec<&str> = pids.split(' ').collect();
    let ended = finish(wait_command(&["-t", "0"]).args(&pids));
    ended.gave_up(3, &["0 of 12 exited", "and 2 more"]);
    until("all are there still", || finish(wait_command(&["-t", "0"]).args(&pids)).code() == 3);
}
