//! `kmonitor doctor`: each check on the real thing, in order and out of order.

use crate::device::client::{Client, Signalled, event, project};
use crate::device::environment::refusing;
use crate::device::place::MARKER;
use crate::device::program::{Ended, Program, finish, until};
use crate::device::served::{KMONITOR, Place, is_mounted};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a doctor said in JSON.
struct Report {
    status: i32,
    json: Value,
}

impl Report {
    /// Of a doctor that got as far as it could: on a busy machine its client may not start in time, or the
    /// process that is to be watched.
    fn of(command: &mut Command) -> Report {
        let mut report = Report::once(command);
        until("the doctor's client is not held up", || {
            let is_held_up = |name| {
                let found = report.check(name).map(|check| check["found"].to_string());
                found.is_some_and(|found| {
                    found.contains("not checked: no process") || found.contains("not opened")
                })
            };
            let held_up = is_held_up("device") || is_held_up("events");
            if held_up {
                report = Report::once(command);
            }
            !held_up
        });
        report
    }

    fn once(command: &mut Command) -> Report {
        let ended = finish(command);
        assert_eq!(ended.errors, "", "{ended:?}");
        let json: Value =
            serde_json::from_str(&ended.output).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        let report = Report { status: ended.code(), json };
        report.assert_valid();
        report
    }

    /// The schema in docs/doctor.md.
    fn assert_valid(&self) {
        let object = self.json.as_object().expect("an object");
        assert_eq!(object.keys().collect::<Vec<_>>(), ["checks", "path", "served", "usable", "version"]);
        assert_eq!(object["version"], env!("CARGO_PKG_VERSION"));
        let checks = object["checks"].as_array().expect("an array");
        let document = fs::read_to_string(project("docs/doctor.md")).expect("the document");
        for check in checks {
            let check = check.as_object().expect("an object");
            assert_eq!(check.keys().collect::<Vec<_>>(), ["found", "name", "remedy", "status"]);
            let name = check["name"].as_str().expect("a text");
            assert!(document.contains(&format!("| `{name}` |")), "docs/doctor.md does not explain {name}");
            assert!(check["found"].as_str().is_some_and(|found| !found.is_empty()), "{check:?}");
            let status = check["status"].as_str().expect("a text");
            assert!(["ok", "warn", "fail"].contains(&status), "{check:?}");
            assert_eq!(check["remedy"].is_string(), status != "ok", "{check:?}");
        }
        let failed = checks.iter().any(|check| check["status"] == "fail");
        assert_eq!((object["usable"].as_bool(), self.status), (Some(!failed), if failed { 2 } else { 0 }));
    }

    fn check(&self, name: &str) -> Option<&Value> {
        self.json["checks"].as_array()?.iter().find(|check| check["name"] == name)
    }

    /// Asserts how a check came out; `found` and `remedy` must have these parts.
    fn shows(&self, name: &str, status: &str, parts: &[&str]) {
        let check = self.check(name).unwrap_or_else(|| panic!("no check of {name}: {}", self.json));
        assert_eq!(check["status"], status, "{check}");
        let text = format!("{} -> {}", check["found"], check["remedy"]);
        for part in parts {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
}

fn doctor(path: &Path) -> Command {
    doctor_by(KMONITOR.as_ref(), path)
}

fn doctor_by(program: &Path, path: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["doctor", "--json", "--path"]).arg(path);
    command
}

fn examine(place: &Place) -> Report {
    Report::of(&mut doctor(place.path()))
}

/// As this user, who may not reach the directory that the program was built in.
fn examine_as(uid: u32, gid: u32, place: &Place) -> Report {
    let copy = copy(place);
    Report::of(doctor_by(&copy, place.path()).uid(uid).gid(gid))
}

fn copy(place: &Place) -> PathBuf {
    let copy = place.beside("copy");
    finish(Command::new("install").args(["-m", "755", KMONITOR]).arg(&copy)).well();
    copy
}

/// By a tool that changes what it runs in.
fn examine_in(tool: &[&str], place: &Place) -> Report {
    let mut command = Command::new(tool[0]);
    Report::of(command.args(&tool[1..]).arg(KMONITOR).args(["doctor", "--json", "--path", place.text()]))
}

const NOBODY: u32 = 65534;

#[test]
fn where_nothing_is_served_root_is_told_to_serve_and_nothing_is_left() {
    let place = Place::new();
    let report = examine(&place);
    assert_eq!((report.status, &report.json["served"]), (0, &Value::Bool(false)));
    report.shows("versions", "ok", &[env!("CARGO_PKG_VERSION"), "Linux"]);
    report.shows("permissions", "ok", &["root"]);
    report.shows("fuse", "ok", &[]);
    report.shows("connector", "ok", &[]);
    report.shows("leftovers", "ok", &["nothing is in the way"]);
    report.shows("device", "warn", &[place.text(), &format!("kmonitor serve --path {}", place.text())]);
    assert!(report.check("daemon").is_none() && report.check("events").is_none());
    place.assert_clean();
}

#[test]
fn where_nothing_is_served_another_user_is_told_to_become_root() {
    let place = Place::new();
    let report = examine_as(NOBODY, NOBODY, &place);
    assert_eq!(report.status, 2);
    report.shows("permissions", "fail", &["nobody", "sudo kmonitor serve"]);
    report.shows("capabilities", "warn", &["not checked", "sudo kmonitor doctor"]);
    place.assert_clean();
}

#[test]
fn a_served_device_is_tried_with_a_process_of_its_own_and_its_clients_notice_nothing() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let mut target = Program::quiet(&mut Command::new("cat"));
    let mut client = Client::of(&place);
    assert_eq!(client.register(target.id(), event::ALL), Ok(0));
    let report = examine(&place);
    assert_eq!((report.status, &report.json["served"]), (0, &Value::Bool(true)));
    report.shows("device", "ok", &["a FUSE mount", "mode 600, user root, group root", "opened in"]);
    report.shows("daemon", "ok", &[&format!("process {}", daemon.program.id()), "this very program"]);
    report.shows("events", "ok", &["fork, exec and exit of", "after kill(2)", "pidfd"]);
    let events = report.check("events").expect("it is there")["found"].to_string();
    let numbers: Vec<u64> =
        events.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect();
    assert!(
        matches!(numbers[..], [count, signal, 2, poll] if count >= 1 && signal >= 1 && poll >= 1),
        "{events}"
    );

    target.hang_up();
    assert_eq!(client.take(1), [Signalled::of(target.id(), 0, event::PROCESS_EXIT)]);
    assert_eq!(client.pending(), []);
    drop(client);
    daemon.stop();
}

#[test]
fn a_user_without_permission_learns_which_group_to_join_and_a_member_can_use_the_device() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let report = examine_as(NOBODY, NOBODY, &place);
    assert_eq!((report.status, &report.json["served"]), (2, &Value::Bool(true)));
    report.shows("permissions", "fail", &["nobody may not open", "mode 600", "--group GROUP --mode 660"]);
    report.shows("capabilities", "ok", &[]);
    daemon.stop();

    let daemon = place.serve(&["--group", "adm", "--mode", "660"]);
    let report = examine_as(NOBODY, NOBODY, &place);
    assert_eq!(report.status, 2);
    report.shows("permissions", "fail", &["group adm", "usermod -aG adm nobody"]);
    daemon.stop();

    let daemon = place.serve(&["--group", "65533", "--mode", "660"]);
    let report = examine_as(NOBODY, 65533, &place);
    assert_eq!(report.status, 0, "{}", report.json);
    report.shows("permissions", "ok", &["nobody may open"]);
    report.shows("events", "ok", &["fork, exec and exit of"]);
    report.shows("daemon", "ok", &["only its user and root can see"]);
    daemon.stop();
}

#[test]
fn a_daemon_that_is_stopped_is_given_up_and_named_and_serves_on_afterwards() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let pid = daemon.program.id();
    daemon.pause();
    let report = examine(&place);
    assert_eq!((report.status, &report.json["served"]), (2, &Value::Bool(false)));
    report.shows("device", "fail", &["does not answer", &format!("kill -CONT {pid}")]);
    report.shows("daemon", "fail", &["stopped", &format!("kill -CONT {pid}")]);
    assert!(report.check("events").is_none());
    let client = format!("doctor\0--as-client\0--path\0{}\0", place.text());
    until("its client has ended, while the daemon is still stopped", || !is_running(&client));
    daemon.resume();
    assert_eq!(examine(&place).status, 0);
    daemon.stop();
}

/// True if some process has these arguments.
fn is_running(arguments: &str) -> bool {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").filter_map(Result::ok);
    entries
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).ends_with(arguments))
}

#[test]
fn a_dead_mount_is_a_leftover_and_stays() {
    let place = Place::new();
    place.serve(&[]).kill();
    let report = examine(&place);
    assert_eq!(report.status, 0);
    report.shows("leftovers", "warn", &["killed", &format!("umount -l {0} && rm {0}", place.text())]);
    report.shows("device", "warn", &["no device is served"]);
    assert!(is_mounted(place.path()));
    let report = examine_as(NOBODY, NOBODY, &place);
    assert_eq!(report.status, 2);
    report.shows("permissions", "fail", &["sudo kmonitor serve"]);

    nix::mount::umount2(place.path(), nix::mount::MntFlags::MNT_DETACH).expect("umount");
    let report = examine(&place);
    report.shows("leftovers", "warn", &["the file that a daemon had mounted over", "rm "]);
    assert_eq!(fs::read_to_string(place.path()).expect("it stays"), MARKER);
    examine_as(NOBODY, NOBODY, &place).shows("leftovers", "warn", &["not checked", "sudo kmonitor doctor"]);
    place.serve(&[]).stop();
}

#[test]
fn an_empty_file_is_pointed_out_and_stays() {
    let place = Place::new();
    fs::write(place.path(), "").expect("write");
    let report = examine(&place);
    assert_eq!(report.status, 0);
    report.shows("leftovers", "warn", &["an empty file", "no events"]);
    assert_eq!(fs::read(place.path()).expect("it stays"), b"");
}

#[test]
fn what_is_not_kmonitors_is_a_failure_and_stays() {
    let place = Place::new();
    fs::write(place.path(), "precious").expect("write");
    let report = examine(&place);
    assert_eq!(report.status, 2);
    report.shows("leftovers", "fail", &["a file with other content", "--path"]);
    assert_eq!(fs::read_to_string(place.path()).expect("it stays"), "precious");
    fs::remove_file(place.path()).expect("rm");
    symlink("/dev/null", place.path()).expect("link");
    examine(&place).shows("leftovers", "fail", &["a symbolic link"]);
    // A device that is not ours is not opened: what that does nobody knows.
    Report::of(&mut doctor(Path::new("/dev/null"))).shows("leftovers", "fail", &["a device node"]);
    Report::of(&mut doctor(&place.beside("nowhere").join("kmonitor"))).shows("device", "fail", &["nowhere"]);
}

#[test]
fn namespaces_that_are_not_the_machines_are_named() {
    let place = Place::new();
    let report = examine_in(&["unshare", "-m"], &place);
    assert_eq!(report.status, 0);
    report.shows("namespaces", "warn", &["mount namespace"]);

    let report = examine_in(&["unshare", "-p", "-f", "--mount-proc"], &place);
    assert_eq!(report.status, 2);
    report.shows("namespaces", "fail", &["pid namespace", "--pid=host"]);
    report.shows("connector", "fail", &["ignores our subscription", "--pid=host"]);

    let report = examine_in(&["unshare", "-n"], &place);
    assert_eq!(report.status, 0);
    report.shows("namespaces", "warn", &["network namespace"]);
    report.shows("connector", "warn", &["network namespace", "BPF programs do instead", "--network=host"]);

    let report = examine_in(&["unshare", "-U", "-r"], &place);
    assert_eq!(report.status, 2);
    report.shows("namespaces", "fail", &["user namespace"]);

    let report = examine_in(&["unshare", "-T", "--monotonic", "1000"], &place);
    assert_eq!(report.status, 0);
    report.shows("namespaces", "ok", &["time is not"]);
    place.assert_clean();
}

#[test]
fn a_client_in_another_pid_namespace_is_told_that_its_pids_are_not_the_daemons() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let report = examine_in(&["unshare", "-p", "-f", "--mount-proc"], &place);
    assert_eq!(report.status, 2);
    report.shows("events", "fail", &["no signal reported the fork", "pid namespace of its daemon"]);
    report.shows("daemon", "warn", &["another pid namespace"]);
    let report = examine_in(&["unshare", "-m"], &place);
    assert_eq!(report.status, 0, "{}", report.json);
    report.shows("namespaces", "ok", &["that matters to the daemon alone"]);
    daemon.stop();
}

#[test]
fn low_limits_are_named() {
    let place = Place::new();
    let report = examine_in(&["prlimit", "--nofile=64:64"], &place);
    assert_eq!(report.status, 0);
    report.shows("limits", "warn", &["64 open files", "LimitNOFILE="]);
    let report = examine_in(&["prlimit", "--nofile=20:20"], &place);
    assert_eq!(report.status, 2);
    report.shows("limits", "fail", &["20 open files"]);
    examine_in(&["prlimit", "--sigpending=16"], &place).shows(
        "limits",
        "warn",
        &["16 pending signals", "ulimit -i"],
    );

    // Of a daemon that serves, its own limit counts.
    let mut command = Command::new("prlimit");
    command.arg("--nofile=100:100").arg(KMONITOR).args(["serve", "--path", place.text()]);
    let daemon = place.serve_by(command);
    examine(&place).shows("limits", "warn", &["100 open files"]);
    daemon.stop();
}

#[test]
fn capabilities_that_are_missing_are_named() {
    let place = Place::new();
    let report = examine_in(&["setpriv", "--bounding-set", "-sys_admin"], &place);
    assert_eq!(report.status, 2);
    report.shows("capabilities", "fail", &["CAP_SYS_ADMIN", "--cap-add"]);
    let report = examine_in(&["setpriv", "--bounding-set", "-sys_nice"], &place);
    assert_eq!(report.status, 0);
    report.shows("capabilities", "warn", &["CAP_SYS_NICE"]);
}

#[test]
fn a_kernel_that_lacks_something_is_told_apart() {
    const NETLINK_CONNECTOR: u64 = 11;
    let place = Place::new();
    let connector = [(0, libc::AF_NETLINK as u64), (2, NETLINK_CONNECTOR)];
    let mut command = doctor(place.path());
    refusing(&mut command, libc::SYS_socket, &connector, libc::EPROTONOSUPPORT);
    let report = Report::of(&mut command);
    assert_eq!(report.status, 0);
    report.shows(
        "connector",
        "warn",
        &["no proc connector", "BPF programs do instead", "CONFIG_PROC_EVENTS=y"],
    );
    let report = Report::of(refusing(&mut command, libc::SYS_bpf, &[], libc::EPERM));
    assert_eq!(report.status, 2);
    report.shows("connector", "fail", &["no proc connector", "CONFIG_PROC_EVENTS=y"]);

    let mut command = doctor(place.path());
    let report = Report::of(refusing(&mut command, libc::SYS_bpf, &[], libc::EPERM));
    assert_eq!(report.status, 0);
    report.shows(
        "bpf",
        "warn",
        &["load no BPF programs", "the proc connector does instead", "permit bpf(2)"],
    );

    let script = "mount -t tmpfs none /dev && exec \"$0\" doctor --json --path \"$1\"";
    let report =
        Report::of(Command::new("unshare").args(["-m", "sh", "-c", script, KMONITOR]).arg(place.path()));
    assert_eq!(report.status, 2);
    report.shows("fuse", "fail", &["/dev/fuse", "--device /dev/fuse"]);
}

#[test]
fn what_was_installed_in_part_is_pointed_out() {
    let place = Place::new();
    // In mount namespaces of their own: /run for the files, and a list of groups without kmonitor.
    let script = "mount -t tmpfs none /run && mkdir -p /run/udev/rules.d /run/sysusers.d &&
        grep -v ^kmonitor: /etc/group >/run/group && mount --bind /run/group /etc/group &&
        cp \"$2\" /run/udev/rules.d/70-kmonitor.rules && cp \"$3\" /run/sysusers.d/kmonitor.conf &&
        exec \"$0\" doctor --json --path \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, KMONITOR, place.text()]);
    command.arg(project("packaging/70-kmonitor.rules")).arg(project("packaging/kmonitor.sysusers"));
    let report = Report::of(&mut command);
    report.shows("group", "warn", &["kmonitor.conf", "systemd-sysusers"]);
    report.shows("udev", "warn", &["70-kmonitor.rules", "group kmonitor, which does not exist"]);
}

#[test]
fn a_daemon_whose_program_was_replaced_is_noticed() {
    let place = Place::new();
    // Its name is what /proc shows of a daemon.
    let directory = place.beside("bin");
    fs::create_dir(&directory).expect("mkdir");
    let kmonitor = directory.join("kmonitor");
    fs::rename(copy(&place), &kmonitor).expect("mv");
    let mut command = Command::new(&kmonitor);
    command.args(["serve", "--path", place.text()]);
    let daemon = place.serve_by(command);
    let other = kmonitor.to_str().expect("text");
    examine(&place).shows("daemon", "warn", &["runs another program", other]);
    Report::of(&mut doctor_by(&kmonitor, place.path())).shows("daemon", "ok", &["this very program"]);
    fs::rename(copy(&place), &kmonitor).expect("mv");
    let report = Report::of(&mut doctor_by(&kmonitor, place.path()));
    report.shows("daemon", "warn", &["was replaced since it began", "systemctl restart"]);
    daemon.stop();
}

#[test]
fn wrong_usage_is_one_sentence_and_status_1() {
    for arguments in [&["--jsn"][..], &["extra"], &["--path"], &["--color", "blue"]] {
        finish(Command::new(KMONITOR).arg("doctor").args(arguments)).gave_up(1, &[arguments[0]]);
    }
}

/// On a terminal, with this environment.
fn on_a_terminal(place: &Place, options: &str, variable: (&str, &str)) -> String {
    let command = format!("{KMONITOR} doctor --path {} {options}", place.text());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).env("TERM", "xterm");
    finish(script.env_remove("NO_COLOR").env(variable.0, variable.1)).well()
}

#[test]
fn a_line_a_check_in_colour_on_a_terminal_only() {
    let place = Place::new();
    let run = |options: &[&str]| -> Ended {
        finish(Command::new(KMONITOR).args(["doctor", "--path", place.text()]).args(options))
    };
    let plain = run(&[]).well();
    assert!(!plain.contains('\x1b'), "{plain}");
    assert!(plain.starts_with("ok    versions      kmonitor "), "{plain}");
    assert!(plain.contains("\nok    leftovers     nothing is in the way\nusable: "), "{plain}");
    assert!(run(&["--color", "always"]).well().contains("\x1b[32mok  \x1b[0m  "));
    assert!(on_a_terminal(&place, "", ("LANG", "C")).contains("\x1b[32mok"));
    for (options, variable) in
        [("", ("NO_COLOR", "1")), ("", ("TERM", "dumb")), ("--color never", ("LANG", "C"))]
    {
        let output = on_a_terminal(&place, options, variable);
        assert!(!output.contains('\x1b'), "{options} {variable:?}: {output}");
    }
}
