//! Checks of the device: served, not served, and what may be left of it.

use super::report::{Report, copy, doctor, doctor_by, examine, examine_as};
use crate::device::client::{Client, Signalled, event};
use crate::device::place::MARKER;
use crate::device::program::{Program, until};
use crate::device::served::{Place, is_mounted};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

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
