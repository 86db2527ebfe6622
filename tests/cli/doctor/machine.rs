//! Checks of the machine: namespaces, limits, rights, kernel, and what is installed.

use super::report::{Report, doctor, examine, examine_in};
use crate::device::client::project;
use crate::device::environment::refusing;
use crate::device::served::{KMONITOR, Place};
use std::process::Command;

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

    let report = examine_in(&["unshare", "-T", "--monotonic", "1000"], &place);
    assert_eq!(report.status, 0);
    report.shows("namespaces", "ok", &["time is not"]);
    place.assert_clean();
}

#[test]
fn a_user_namespace_is_named() {
    let place = Place::new();
    let report = examine_in(&["unshare", "-U", "-r"], &place);
    assert_eq!(report.status, 2);
    report.shows("namespaces", "fail", &["user namespace"]);
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
