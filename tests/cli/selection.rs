//! Processes that are selected by what they are.

use super::target::{as_ordinary, assert_exited, scratch, target_and_pid, wait, wait_command, waiting};
use crate::device::program::{Ended, Program, finish, is_in_state, until};
use crate::device::served::KMONITOR;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, id};

/// The ids that `kmonitor wait` is left with when it looks once.
fn selected(arguments: &[&str]) -> Vec<i32> {
    let ended = wait(&[&["-t", "0"], arguments].concat());
    assert_eq!(ended.code(), 3, "{ended:?}");
    let (said, timed_out) = ended.errors.split_once('\n').expect("two lines");
    let (_, list) = timed_out.split_once("still running: ").expect("it lists them");
    let pids: Vec<i32> = list.split_whitespace().map(|pid| pid.parse().expect("a number")).collect();
    let count = if pids.len() == 1 {
        "1 process matches".to_owned()
    } else {
        format!("{} processes match", pids.len())
    };
    assert_eq!(said, format!("kmonitor: {count}"));
    pids
}

/// `cat` by another name: a process whose name and command line are nobody else's.
fn named(name: &str, arguments: &[&str]) -> Program {
    let directory = scratch();
    let path = directory.path(name);
    fs::copy("/bin/cat", &path).expect("there is a cat");
    // Its file is gone while it runs.
    Program::quiet(Command::new(path).args(arguments))
}

fn ours() -> String {
    id().to_string()
}

#[test]
fn by_name() {
    let short = named("kmcat-short", &[]);
    let long = named("kmcat-with-a-name-of-many-letters", &[]);
    for option in ["-n", "--name"] {
        assert_eq!(selected(&[option, "kmcat-short"]), [short.id()]);
        assert_eq!(selected(&[option, "kmcat-with-a-name-of-many-letters"]), [long.id()]);
        assert_eq!(selected(&[option, "kmcat-with-a-na"]), [long.id()], "as /proc/PID/comm has it");
    }
    let mut both = selected(&["-n", "kmcat-short", "-n", "kmcat-with-a-name-of-many-letters"]);
    both.sort_unstable();
    let mut expected = [short.id(), long.id()];
    expected.sort_unstable();
    assert_eq!(both, expected);
    for part in ["kmcat-with-a-name", "kmcat-shor", "kmcat-short2", "kmcat-with-a-name-of-many-letters2"] {
        wait(&["-n", part]).gave_up(1, &["no process matches", "-e"]);
    }
}

#[test]
fn by_name_another_users_process_is_found_by_an_ordinary_user() {
    // Whose program file an ordinary user may not see.
    let script = scratch();
    let path = script.path("kmscript-with-a-name-of-many-letters");
    fs::write(&path, "#!/bin/sh\nread line\n").expect("write");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("chmod");
    let roots = Program::start(&mut Command::new(&path));
    let look = || -> Ended {
        finish(as_ordinary(KMONITOR).args(["wait", "-t", "0", "-n", "kmscript-with-a-name-of-many-letters"]))
    };
    until("its exec is past", || look().errors.contains("1 process matches"));
    assert!(look().errors.contains(&format!("still running: {}\n", roots.id())));
}

#[test]
fn by_command_line() {
    let one = named("kmcat-line", &["-u", "-", "first argument"]);
    for option in ["-f", "--full"] {
        assert_eq!(selected(&[option, "kmcat-line -u - first argument$"]), [one.id()]);
        assert_eq!(selected(&[option, "kmcat-li[a-n]e.*FIRST|kmcat-line.*first"]), [one.id()]);
    }
    wait(&["-f", "kmcat-line -u$"]).gave_up(1, &["no process matches"]);
    wait(&["-f", "kmcat-li(ne"]).gave_up(1, &["'kmcat-li(ne'", "regular expression", "closing"]);
}

#[test]
fn by_command_line_a_process_whose_main_thread_has_ended() {
    let (target, pid) = target_and_pid(&["main-ends"]);
    until("the main thread has ended", || is_in_state(target.id(), 'Z'));
    assert_eq!(
        selected(&["-f", "main-ends", "-P", &ours()]).iter().filter(|id| id.to_string() == pid).count(),
        1
    );
}

#[test]
fn kmonitor_and_its_ancestors_are_never_selected() {
    // The shell's command line has the pattern too; it waits for kmonitor.
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$0\" wait -f no-[s]uch-command-line; echo $?; : no-such-command-line", KMONITOR]);
    let ended = finish(&mut shell);
    assert_eq!(ended.output, "1\n", "{ended:?}");
    assert!(ended.errors.contains("no process matches"), "{ended:?}");
}

#[test]
fn by_user() {
    let own = Program::quiet(Command::new("cat").uid(54321).gid(54321));
    let (_roots, _) = target_and_pid(&["plain"]);
    for option in ["-u", "--user"] {
        assert_eq!(selected(&[option, "54321"]), [own.id()]);
    }
    let roots = selected(&["-u", "root", "-P", &ours()]);
    assert!(!roots.is_empty() && !roots.contains(&own.id()));
    wait(&["-u", "nobody-has-this-name"]).gave_up(1, &["nobody-has-this-name", "no user"]);
    wait(&["-u", "54322"]).gave_up(1, &["no process matches"]);
}

#[test]
fn by_parent() {
    let (parent, child) = target_and_pid(&["reuse"]);
    for option in ["-P", "--parent"] {
        assert_eq!(selected(&[option, &parent.id().to_string()]), [child.parse::<i32>().expect("a number")]);
    }
    wait(&["-P", &child]).gave_up(1, &["no process matches"]);
    wait(&["-P", "x"]).gave_up(1, &["'x'", "number"]);
}

#[test]
fn conditions_narrow_one_another_and_numbers_add() {
    let (one, two) = (named("kmcat-narrow", &["-u"]), named("kmcat-narrow", &["-u", "-"]));
    let (_more, pid) = target_and_pid(&["plain"]);
    assert_eq!(selected(&["-n", "kmcat-narrow", "-f", " -u$"]), [one.id()]);
    assert_eq!(selected(&["-n", "kmcat-narrow", "-f", " -u -$", "-P", &ours()]), [two.id()]);
    wait(&["-n", "kmcat-narrow", "-u", "54323"]).gave_up(1, &["no process matches"]);
    let ended = wait(&["-t", "0", "-n", "kmcat-narrow", "-f", " -u$", &pid]);
    assert!(
        ended.errors.contains("1 process matches") && ended.errors.contains("0 of 2 exited"),
        "{ended:?}"
    );
}

#[test]
fn a_selection_without_a_match_is_an_error_but_for_e() {
    wait(&["-n", "no-such-name"]).gave_up(1, &["no process matches", "-e"]);
    let ended = wait(&["-e", "-n", "no-such-name"]);
    assert_eq!((ended.code(), ended.output.as_str()), (0, ""), "{ended:?}");
    assert_eq!(ended.errors, "kmonitor: 0 processes match\n");
    // A zombie has exited.
    let (target, _pid) = target_and_pid(&["zombie"]);
    wait(&["-P", &target.id().to_string()]).gave_up(1, &["no process matches"]);
}

#[test]
fn those_selected_are_waited_for_and_the_others_not() {
    let (mut one, mut two) = (named("kmcat-both", &[]), named("kmcat-both", &[]));
    let mut kmonitor = waiting(&mut wait_command(&["-n", "kmcat-both"]));
    let later = named("kmcat-both", &[]);
    for cat in [&mut two, &mut one] {
        cat.hang_up();
        assert_exited(&kmonitor.line(), &cat.id().to_string(), "status 0");
    }
    assert_eq!(kmonitor.end().code(), Some(0));
    assert_eq!(selected(&["-n", "kmcat-both"]), [later.id()]);
}

/// A control group, in whatever hierarchy this machine has.
struct Group(PathBuf);

impl Group {
    fn new(path: &Path) -> Group {
        fs::create_dir(path).unwrap_or_else(|error| {
            panic!("cannot make the control group {}: {error}", path.display());
        });
        Group(path.to_owned())
    }

    fn add(&self, pid: i32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("it takes a process");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Empty as soon as its processes are reaped.
        until("the control group can be removed", || fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
fn by_control_group() {
    let name = format!("kmonitor-test-{}", id());
    let top = Group::new(&cgroup_mount().join(&name));
    let below = Group::new(&top.0.join("below"));
    let (one, two) = (Program::quiet(&mut Command::new("cat")), Program::quiet(&mut Command::new("cat")));
    top.add(one.id());
    below.add(two.id());
    let mut both = [one.id(), two.id()];
    both.sort_unstable();
    for path in [format!("/{name}"), format!("/{name}/"), name.clone()] {
        let mut found = selected(&["--cgroup", &path]);
        found.sort_unstable();
        assert_eq!(found, both, "{path}");
    }
    assert_eq!(selected(&["--cgroup", &format!("/{name}/below")]), [two.id()]);
    assert_eq!(selected(&["--cgroup", below.0.to_str().expect("text")]), [two.id()]);
    wait(&["--cgroup", &format!("/{name}/bel")]).gave_up(1, &["no process matches"]);
    // Only empty groups can be removed, and the one below first.
    drop((one, two));
    drop(below);
}

fn cgroup_mount() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc is mounted");
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    let path = mount.and_then(|line| line.split(' ').nth(1));
    path.expect("no cgroup2 is mounted: mount -t cgroup2 none /sys/fs/cgroup").into()
}
