//! What a new user's system may lack: each a sentence with the remedy, and no node left.

use super::client::{Client, Signalled, event};
use super::program::{Program, finish};
use super::served::{KMONITOR, Place};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, chown};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

const CONNECTOR: [&str; 2] = ["--source", "connector"];

/// `kmonitor serve` in a namespace of its own, made by unshare(1) with these options.
fn refused_in_namespace(unshare: &[&str], options: &[&str], parts: &[&str]) {
    let place = Place::new();
    let mut command = Command::new("unshare");
    command.args(unshare).arg(KMONITOR).args(["serve", "--path", place.text()]).args(options);
    finish(&mut command).gave_up(2, parts);
    place.assert_clean();
}

#[test]
fn a_user_who_is_not_root_is_told_to_become_root() {
    let place = Place::new();
    // The target directory may be closed to others; and a copy that we wrote ourselves could be busy.
    let copy = place.beside("copy");
    finish(Command::new("install").args(["-m", "755", KMONITOR]).arg(&copy)).well();
    let directory = copy.parent().expect("it has one");
    chown(directory, Some(Uid::from_raw(65534)), None).expect("chown");
    for (command, status) in [("serve", 2), ("run", 125)] {
        let mut kmonitor = Command::new(&copy);
        kmonitor.args([command, "--path", place.text()]).uid(65534).gid(65534);
        if command == "run" {
            kmonitor.args(["--", "true"]);
        }
        finish(&mut kmonitor).gave_up(status, &["root", "sudo"]);
        place.assert_clean();
    }
}

#[test]
fn root_without_the_right_to_signal_is_told_which_that_is() {
    let place = Place::new();
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-kill", "--inh-caps=-kill", KMONITOR, "serve", "--path", place.text()]);
    finish(&mut command).gave_up(2, &["CAP_KILL", "--cap-add KILL"]);
    place.assert_clean();
}

#[test]
fn without_fuse_the_user_is_told_how_to_get_it() {
    let place = Place::new();
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", "mount -t tmpfs none /dev && exec \"$0\" serve --path \"$1\"", KMONITOR]);
    finish(command.arg(place.path())).gave_up(2, &["/dev/fuse", "modprobe fuse", "--device /dev/fuse"]);
    place.assert_clean();
}

/// Has the kernel answer this system call so, where its arguments are these.
pub fn refusing<'a>(
    command: &'a mut Command,
    call: libc::c_long,
    arguments: &[(u8, u64)],
    errno: i32,
) -> &'a mut Command {
    let is = |(argument, value): &(u8, u64)| {
        SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *value)
            .expect("a condition")
    };
    let conditions: Vec<_> = arguments.iter().map(is).collect();
    let rule = (!conditions.is_empty()).then(|| SeccompRule::new(conditions).expect("a rule"));
    let filter = SeccompFilter::new(
        [(call, rule.into_iter().collect())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno as u32),
        std::env::consts::ARCH.try_into().expect("seccompiler knows this machine"),
    );
    let program: BpfProgram = filter.expect("a filter").try_into().expect("it compiles");
    // SAFETY: between fork and exec the closure makes two system calls, and allocates nothing.
    unsafe { command.pre_exec(move || seccompiler::apply_filter(&program).map_err(io::Error::other)) }
}

/// Has the kernel answer socket(2) for the connector as one without it does.
fn without_connector(command: &mut Command) -> &mut Command {
    const NETLINK_CONNECTOR: u64 = 11;
    let connector = [(0, libc::AF_NETLINK as u64), (2, NETLINK_CONNECTOR)];
    refusing(command, libc::SYS_socket, &connector, libc::EPROTONOSUPPORT)
}

#[test]
fn without_a_proc_connector_the_user_is_told_which_kernel_has_one() {
    let place = Place::new();
    let parts = ["no proc connector", "CONFIG_CONNECTOR=y", "CONFIG_PROC_EVENTS=y"];
    finish(without_connector(&mut place.serve_command(&CONNECTOR))).gave_up(2, &parts);
    place.assert_clean();
    finish(without_connector(&mut place.run_command(&CONNECTOR, &["true"]))).gave_up(125, &parts);
    place.assert_clean();
}

#[test]
fn without_bpf_the_proc_connector_tells_exits_all_the_same_and_the_user_hears_why_later() {
    let errors = serves_without_bpf(&CONNECTOR);
    assert!(
        errors.contains("later than they could be: the kernel lets us load no BPF programs: run it as root"),
        "{errors}"
    );
}

#[test]
fn without_bpf_events_come_from_the_proc_connector_and_the_user_hears_why() {
    let errors = serves_without_bpf(&[]);
    assert!(
        errors.contains("events come from the proc connector, since the kernel lets us load no BPF"),
        "{errors}"
    );
    let place = Place::new();
    let mut command = place.serve_command(&["--source", "bpf"]);
    refusing(&mut command, libc::SYS_bpf, &[], libc::EPERM);
    finish(&mut command).gave_up(2, &["CAP_BPF", "--source connector"]);
    place.assert_clean();
}

/// Has a daemon that may not call bpf(2) report an exit. What it says.
fn serves_without_bpf(options: &[&str]) -> String {
    let place = Place::new();
    let mut command = place.serve_command(options);
    refusing(&mut command, libc::SYS_bpf, &[], libc::EPERM);
    let mut daemon = place.serve_by(command);
    let mut target = Program::quiet(&mut Command::new("cat"));
    let mut client = Client::of(&place);
    assert_eq!(client.register(target.id(), event::PROCESS_EXIT), Ok(0));
    target.hang_up();
    assert_eq!(client.take(1), [Signalled::of(target.id(), 0, event::PROCESS_EXIT)]);
    daemon.program.signal(Signal::SIGTERM);
    assert!(daemon.end().success());
    fs::read_to_string(place.beside("errors")).expect("its errors are text")
}

#[test]
fn in_a_network_namespace_events_come_from_bpf_and_not_from_the_proc_connector() {
    let place = Place::new();
    let mut command = Command::new("unshare");
    command.arg("-n").arg(KMONITOR).args(["serve", "--path", place.text()]);
    let daemon = place.serve_by(command);
    let mut target = Program::quiet(&mut Command::new("cat"));
    let mut client = Client::of(&place);
    assert_eq!(client.register(target.id(), event::PROCESS_EXIT), Ok(0));
    target.hang_up();
    assert_eq!(client.take(1), [Signalled::of(target.id(), 0, event::PROCESS_EXIT)]);
    daemon.stop();
    refused_in_namespace(&["-n"], &CONNECTOR, &["network namespace", "on the host", "--network=host"]);
}

#[test]
fn in_a_pid_namespace_the_user_is_told_to_use_the_hosts() {
    refused_in_namespace(
        &["-p", "-f", "--mount-proc"],
        &[],
        &["pid", "namespace", "on the host", "--pid=host"],
    );
}

#[test]
fn in_a_user_namespace_the_user_is_told_to_use_the_host() {
    refused_in_namespace(&["-r"], &[], &["user namespace", "on the host"]);
}

#[test]
fn in_a_mount_namespace_of_its_own_the_daemon_warns_that_nobody_sees_the_node() {
    let place = Place::new();
    for (options, is_seen) in
        [(&["-m"][..], false), (&["-m", "--propagation", "unchanged"], is_shared(&place))]
    {
        let mut command = Command::new("unshare");
        command.args(options).arg(KMONITOR).args(["serve", "--path", place.text()]);
        let mut daemon = place.serve_by(command);
        daemon.program.signal(Signal::SIGTERM);
        assert!(daemon.end().success());
        let complaints = fs::read_to_string(place.beside("errors")).expect("its errors are text");
        let warned = complaints.contains("do not see") && complaints.contains("PrivateTmp=");
        assert_eq!(warned, !is_seen, "{options:?}: {complaints}");
    }
}

/// Runs a command in a chroot that is no mount point, as debootstrap makes one: ROOT KMONITOR PLACE COMMAND...
const IN_CHROOT: &str = "root=$1
for directory in /bin /lib /lib64 /usr /proc /dev \"${2%/*}\" \"${3%/*}\"; do
    mkdir -p \"$root${directory%/*}\"
    if [ -L $directory ]; then
        cp -a $directory $root$directory
    elif [ -e $directory ]; then
        mkdir -p $root$directory
        mount --bind $directory $root$directory
    fi
done
shift 3
exec chroot $root \"$@\"";

#[test]
fn in_a_chroot_it_serves_with_few_rights() {
    let place = Place::new();
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-ec", IN_CHROOT, "sh"]).arg(place.beside("root"));
    command.args([KMONITOR, place.text(), KMONITOR, "run", "--path", place.text(), "--"]);
    let ended = finish(command.args(["sh", "-c", "test -e \"$0\" && echo served", place.text()]));
    assert_eq!(ended.well(), "served\n");
    place.assert_clean();
}

/// True if what is mounted below the place is mounted in other namespaces, too.
fn is_shared(place: &Place) -> bool {
    let directory = place.path().parent().expect("it has one");
    finish(Command::new("findmnt").args(["-n", "-o", "PROPAGATION", "-T"]).arg(directory))
        .well()
        .starts_with("shared")
}

#[test]
fn without_the_capability_to_mount_the_user_is_told_so() {
    let place = Place::new();
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-sys_admin", KMONITOR, "serve", "--path", place.text()]);
    finish(&mut command).gave_up(2, &[place.text(), "CAP_SYS_ADMIN", "sudo", "--cap-add SYS_ADMIN"]);
    place.assert_clean();
}

#[test]
fn with_few_descriptors_it_serves_or_says_which_limit_to_raise() {
    let place = Place::new();
    for descriptors in [8, 10, 12, 16, 32, 63] {
        let command = place.serve_command(&[]);
        let limit = format!("ulimit -n {descriptors}; exec \"$@\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &limit, "sh"]).arg(command.get_program()).args(command.get_args());
        finish(&mut shell).gave_up(1, &["raise the limit", "ulimit -n", "LimitNOFILE="]);
        place.assert_clean();
    }
    let mut enough = Command::new("sh");
    enough.args(["-c", "ulimit -n 64; exec \"$0\" serve --path \"$1\"", KMONITOR]).arg(place.path());
    let daemon = place.serve_by(enough);
    let mut client = Client::of(&place);
    let mut target = Program::quiet(&mut Command::new("cat"));
    assert_eq!(client.register(target.id(), event::PROCESS_EXIT), Ok(0));
    target.hang_up();
    assert_eq!(client.take(1), [Signalled::of(target.id(), 0, event::PROCESS_EXIT)]);
    daemon.stop_complaining();
}

#[test]
fn a_program_under_run_has_its_limit_of_descriptors_as_it_was() {
    let place = Place::new();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -S -n 50; exec \"$0\" run --path \"$1\" -- sh -c 'ulimit -S -n'", KMONITOR]);
    assert_eq!(finish(command.arg(place.path())).well(), "50\n");
}

#[test]
fn a_program_under_run_is_waited_for_where_the_ends_of_children_were_ignored() {
    let place = Place::new();
    let mut command = Command::new("env");
    command.args(["--ignore-signal=CHLD", KMONITOR, "run", "--path", place.text(), "--"]);
    let ignored = finish(command.args(["grep", "SigIgn", "/proc/self/status"])).well();
    let ignored = u64::from_str_radix(ignored.trim().trim_start_matches("SigIgn:\t"), 16).expect("a mask");
    assert_ne!(ignored & 1 << (libc::SIGCHLD - 1), 0, "the program does not ignore them: {ignored:#x}");
}
