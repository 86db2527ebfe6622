//! The C examples, as their users build and run them.

use super::client::{digest, project};
use super::program::{Ended, LONG, Program, finish, finish_within, is_in_state, until};
use super::served::Place;
use crate::guest::host;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

pub const PROGRAMS: [&str; 3] = ["wait_on_pid", "monitor_pid", "unit_test"];

/// For 64 bits, and below `32/` for 32.
pub const FOLDERS: [&str; 2] = [".", "32"];

/// Ids end before this number on every Linux.
const NO_PID: &str = "4194304";

/// The examples, built once, in a folder of the tests.
pub fn examples() -> PathBuf {
    build("c-examples", "")
}

/// The same, for a system without their libraries.
pub fn static_examples() -> PathBuf {
    build("c-examples-static", "-static")
}

fn build(name: &str, linking: &str) -> PathBuf {
    let digest = digest(&["c-examples", "compat/linux", "compat/bits/types"]);
    let built = host::once(&format!("{name}-{digest}"), |directory| {
        let copy = directory.join("c-examples");
        fs::create_dir(&copy).expect("mkdir");
        symlink(project("compat"), directory.join("compat")).expect("link");
        for file in fs::read_dir(project("c-examples")).expect("it is there").flatten() {
            let name = file.file_name();
            if [".c", ".h", "Makefile"].iter().any(|end| name.to_string_lossy().ends_with(end)) {
                fs::copy(file.path(), copy.join(name)).expect("copy");
            }
        }
        let mut make = Command::new("make");
        make.arg("-C").arg(copy).args(["all", "32", "CFLAGS=-O2 -Wall -Wextra -Werror"]);
        make.arg(format!("LDFLAGS={linking}"));
        host::run(&mut make, "make").map(drop)
    });
    let built = built.unwrap_or_else(|error| panic!("{error}\nThe 32-bit half needs Debian's gcc-multilib."));
    built.join("c-examples")
}

pub fn example(folder: &str, name: &str) -> Command {
    Command::new(examples().join(folder).join(name))
}

/// A process that ends when its input does, of a user who is not root.
pub fn target() -> Program {
    Program::quiet(Command::new("cat").uid(65534).gid(65534))
}

#[test]
fn every_example_has_a_help_text() {
    for folder in FOLDERS {
        for name in PROGRAMS {
            let help = finish(example(folder, name).arg("-h")).well();
            assert!(help.starts_with(&format!("usage: {name} ")) && help.contains("Exit status:"), "{help}");
        }
    }
}

#[test]
fn without_the_device_the_examples_say_what_to_do() {
    let place = Place::new();
    for name in PROGRAMS {
        let mut command = example(".", name);
        command.arg("-d").arg(place.path());
        if name != "unit_test" {
            command.arg("1");
        }
        let Ended { status, errors, .. } = finish(&mut command);
        assert_eq!(status.code(), Some(3), "{errors}");
        assert!(errors.contains(place.text()) && errors.contains("start `kmonitor serve`"), "{errors}");
    }
}

#[test]
fn wait_on_pid_waits_for_a_process_that_is_not_its_child() {
    for folder in FOLDERS {
        let place = Place::new();
        let daemon = place.serve(&[]);
        let mut target = target();
        let pid = target.id();
        let mut wait = example(folder, "wait_on_pid");
        let mut wait = Program::start(wait.arg("-d").arg(place.path()).arg("-v").arg(pid.to_string()));
        assert_eq!(wait.line(), format!("wait pid={pid}"));
        assert!(wait.is_running());
        target.hang_up();
        assert_eq!(wait.lines(), [format!("exit pid={pid} uid=65534")]);
        assert_eq!(wait.end().code(), Some(0));
        daemon.stop();
    }
}

#[test]
fn wait_on_pid_under_run_waits_for_several() {
    let place = Place::new();
    let mut targets = [target(), target(), target()];
    let pids = targets.each_ref().map(Program::id);
    let wait_on_pid = examples().join("wait_on_pid");
    let mut command = place.run_command(&[], &[]);
    command.arg(wait_on_pid).arg("-d").arg(place.path()).arg("-v").args(pids.map(|pid| pid.to_string()));
    let mut run = Program::start(&mut command);
    for pid in pids {
        assert_eq!(run.line(), format!("wait pid={pid}"));
    }
    for at in [1, 2, 0] {
        assert!(run.is_running());
        targets[at].hang_up();
        assert_eq!(run.line(), format!("exit pid={} uid=65534", pids[at]));
    }
    assert_eq!(run.end().code(), Some(0));
    place.assert_clean();
}

#[test]
fn wait_on_pid_tells_who_is_gone_already_and_gives_up_in_time() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let mut zombie = Command::new("true").spawn().expect("true can run");
    until("the child is a zombie", || is_in_state(zombie.id() as i32, 'Z'));
    let dead = zombie.id().to_string();
    let wait =
        |arguments: &[&str]| finish(example(".", "wait_on_pid").arg("-d").arg(place.path()).args(arguments));
    let mut said: Vec<String> = wait(&[&dead, NO_PID]).well().lines().map(str::to_owned).collect();
    said.sort();
    let mut expected = [format!("gone pid={dead}"), format!("gone pid={NO_PID}")];
    expected.sort();
    assert_eq!(said, expected);
    zombie.wait().expect("it is our child");

    let target = target();
    let late = wait(&["-t", "0.05", &target.id().to_string()]);
    assert_eq!(late.code(), 1);
    assert!(late.errors.contains("the time is over"), "{late:?}");
    daemon.stop();
}

/// What monitor_pid printed: the subjects of each kind of line, and the summary's numbers.
pub struct Followed {
    lines: Vec<(String, i32)>,
    summary: BTreeMap<String, String>,
}

impl Followed {
    pub fn parse(output: &[String]) -> Followed {
        let (last, lines) = output.split_last().expect("it printed something");
        let summary = last.strip_prefix("summary ").unwrap_or_else(|| panic!("not a summary: {output:?}"));
        let pair = |word: &str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let parse = |line: &String| {
            let mut words = line.split([' ', '=']);
            let kind = words.next().expect("a word").to_owned();
            (
                kind,
                words.nth(1).and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("no pid in {line}")),
            )
        };
        Followed {
            lines: lines.iter().map(parse).collect(),
            summary: summary.split(' ').filter_map(pair).collect(),
        }
    }

    pub fn of(&self, kind: &str) -> Vec<i32> {
        self.lines.iter().filter(|(k, _)| k == kind).map(|(_, pid)| *pid).collect()
    }

    fn number(&self, name: &str) -> usize {
        self.summary[name].parse().expect("a number")
    }

    /// Asserts that the summary counts the lines, and that whoever was followed has ended.
    pub fn assert_consistent(&self) {
        let kinds = ["thread-create", "thread-abort", "thread-exit", "fork", "abort", "exec", "exit"];
        for kind in kinds {
            assert_eq!(self.number(kind), self.of(kind).len(), "{kind}");
        }
        assert_eq!(self.number("events"), kinds.iter().map(|kind| self.number(kind)).sum::<usize>());
        assert_eq!((self.summary["end"].as_str(), self.number("following")), ("done", 0));
        let mut known = [self.of("follow"), self.of("fork"), self.of("adopt")].concat();
        let mut ended = [self.of("exit"), self.of("missed")].concat();
        known.sort_unstable();
        ended.sort_unstable();
        assert_eq!(known, ended);
    }
}

#[test]
fn monitor_pid_follows_a_command_and_its_children() {
    for folder in FOLDERS {
        let place = Place::new();
        let daemon = place.serve(&[]);
        let mut monitor = example(folder, "monitor_pid");
        monitor.arg("-d").arg(place.path()).args([
            "--",
            "sh",
            "-c",
            "cat >/dev/null; (exit 3); /bin/true; :",
        ]);
        let mut monitor = Program::start(&mut monitor);
        let mut lines = vec![monitor.line()];
        while !lines.last().is_some_and(|line| line.starts_with("fork ")) {
            lines.push(monitor.line());
        }
        // Until now the shell waits for cat.
        monitor.hang_up();
        lines.extend(monitor.lines());
        assert_eq!(monitor.end().code(), Some(0), "{lines:?}");
        let followed = Followed::parse(&lines);
        followed.assert_consistent();
        let shell = followed.of("follow");
        assert_eq!(followed.of("fork").len(), 3, "{lines:?}");
        assert!(followed.of("exec").contains(&shell[0]), "{lines:?}");
        assert!(followed.of("exit").contains(&shell[0]), "{lines:?}");
        daemon.stop();
    }
}

#[test]
fn monitor_pid_follows_a_process_that_runs_already() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let mut shell = Program::start(Command::new("sh").args(["-c", "read line; (exit 3); (exit 4); :"]));
    let mut monitor = example(".", "monitor_pid");
    let mut monitor = Program::start(monitor.arg("-d").arg(place.path()).arg(shell.id().to_string()));
    let mut lines = vec![monitor.line()];
    assert_eq!(lines[0], format!("follow pid={}", shell.id()));
    shell.say("");
    lines.extend(monitor.lines());
    assert_eq!(monitor.end().code(), Some(0));
    let followed = Followed::parse(&lines);
    followed.assert_consistent();
    assert_eq!(followed.of("fork").len(), 2, "{lines:?}");
    assert_eq!(followed.of("exit").last(), Some(&shell.id()), "{lines:?}");
    daemon.stop();
}

#[test]
fn the_unit_test_passes() {
    for folder in FOLDERS {
        let place = Place::new();
        let unit_test = examples().join(folder).join("unit_test");
        let mut command = place.run_command(&[], &[]);
        assert_passed(&finish(command.arg(unit_test).arg("-d").arg(place.path())).well());
        place.assert_clean();
    }
}

/// Asserts that unit_test found nothing wrong.
pub fn assert_passed(report: &str) {
    let (plan, checks) = report.trim_end().rsplit_once('\n').expect("several lines");
    let passed = plan.lines().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(checks, format!("1..{passed}"), "{report}");
}

#[test]
fn compilers_agree_that_compat_serves_old_sources() {
    let ended = finish_within(LONG, &mut Command::new(project("tests/abi/check")));
    assert!(ended.status.success(), "{}{}", ended.output, ended.errors);
}
