//! How the node comes, who may open it, and how it goes.

use super::client::{Client, event};
use super::place::{MARKER, open_as};
use super::program::{LIMIT, Program, finish, until, within};
use super::served::{KMONITOR, Place, is_mounted};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, chown};
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A user who is nobody in particular.
const USER: u32 = 65534;
const OTHER: u32 = 65533;

fn owner_and_mode(path: &Path) -> (u32, u32, u32) {
    let metadata = fs::metadata(path).expect("the node is there");
    assert!(metadata.is_file(), "a regular file is expected");
    (metadata.uid(), metadata.gid(), metadata.permissions().mode() & 0o7777)
}

#[test]
fn the_node_is_a_file_for_root_alone() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    assert_eq!(owner_and_mode(place.path()), (0, 0, 0o600));
    assert!(open_as(0, place.path(), "<>"));
    assert!(!open_as(USER, place.path(), "<"));
    daemon.stop();
}

#[test]
fn mode_owner_and_group_are_options_that_the_kernel_enforces() {
    let place = Place::new();
    for (options, may) in [
        (vec!["--mode", "666"], [(USER, "<>", true), (OTHER, "<>", true)]),
        (vec!["--mode", "604"], [(USER, "<", true), (USER, ">", false)]),
        (vec!["--owner", "65534"], [(USER, "<>", true), (OTHER, "<", false)]),
        (vec!["--mode", "640", "--group", "65534"], [(USER, "<", true), (USER, ">", false)]),
        (vec!["--mode", "660", "--group", "nogroup"], [(USER, "<>", true), (OTHER, "<", false)]),
    ] {
        let daemon = place.serve(&options);
        for (user, how, allowed) in may {
            assert_eq!(open_as(user, place.path(), how), allowed, "{options:?}: {user} opens {how}");
        }
        daemon.stop();
    }
}

#[test]
fn root_can_open_the_node_up_with_chmod_and_chown() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    fs::set_permissions(place.path(), Permissions::from_mode(0o606)).expect("chmod");
    assert_eq!(owner_and_mode(place.path()), (0, 0, 0o606));
    assert!(open_as(USER, place.path(), "<>"));
    fs::set_permissions(place.path(), Permissions::from_mode(0o600)).expect("chmod");
    assert!(!open_as(USER, place.path(), "<"));
    chown(place.path(), Some(Uid::from_raw(USER)), Some(Gid::from_raw(OTHER))).expect("chown");
    assert_eq!(owner_and_mode(place.path()), (USER, OTHER, 0o600));
    assert!(open_as(USER, place.path(), "<>"));
    assert!(!open_as(OTHER, place.path(), "<"));
    daemon.stop();
}

#[test]
fn systemd_is_told_of_readiness_and_of_the_end() {
    let place = Place::new();
    let address = place.beside("notify");
    let socket = UnixDatagram::bind(&address).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
    let heard = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).expect("kmonitor notifies");
        String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned()
    };
    let mut command = place.serve_command(&[]);
    command.env("NOTIFY_SOCKET", &address);
    let daemon = place.serve_by(command);
    assert_eq!(heard(), "READY=1");
    daemon.stop();
    assert_eq!(heard(), "STOPPING=1");
}

#[test]
fn sigterm_and_sigint_take_the_node_away_while_clients_hold_it() {
    let place = Place::new();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let daemon = place.serve(&[]);
        let mut client = Client::of(&place);
        assert_eq!(client.register(1, event::PROCESS_EXIT), Ok(0));
        daemon.stop_by(signal);
        assert_eq!(client.register(1, event::PROCESS_EXIT), Err(Errno::ENOTCONN));
        assert_eq!(client.open(place.path()), Err(Errno::ENOENT));
    }
}

#[test]
fn a_killed_daemon_leaves_nothing() {
    let place = Place::new();
    let mut daemon = place.serve(&[]);
    let mut client = Client::of(&place);
    daemon.program.signal(Signal::SIGKILL);
    daemon.end();
    // Of a dead mount the kernel says ENOTCONN.
    let is_gone =
        || fs::symlink_metadata(place.path()).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    until("the node is taken away", is_gone);
    place.assert_clean();
    assert_eq!(client.register(1, event::PROCESS_EXIT), Err(Errno::ENOTCONN));
}

#[test]
fn a_killed_daemons_mount_is_dead_and_the_next_start_clears_it() {
    let place = Place::new();
    place.serve(&[]).kill();
    assert!(is_mounted(place.path()));
    assert_eq!(Client::start().open(place.path()), Err(Errno::ENOTCONN));
    let daemon = place.serve(&[]);
    assert_eq!(Client::start().open(place.path()), Ok(0));
    daemon.stop();
}

#[test]
fn a_client_of_a_killed_daemon_does_not_hinder_the_next_one() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let mut old = Client::of(&place);
    daemon.kill();
    assert_eq!(old.register(1, event::PROCESS_EXIT), Err(Errno::ENOTCONN));
    let daemon = place.serve(&[]);
    assert_eq!(old.register(1, event::PROCESS_EXIT), Err(Errno::ENOTCONN));
    assert_eq!(Client::of(&place).register(1, event::PROCESS_EXIT), Ok(0));
    daemon.stop();
}

#[test]
fn a_file_left_by_a_crash_is_known_and_taken_over() {
    let place = Place::new();
    place.serve(&[]).kill();
    umount2(place.path(), MntFlags::MNT_DETACH).expect("unmount");
    let left = fs::read_to_string(place.path()).expect("the file that was under the mount");
    assert_eq!(left, MARKER);
    place.serve(&[]).stop();
}

#[test]
fn a_second_daemon_is_refused_and_the_first_serves_on() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let mut client = Client::of(&place);
    place.refused().gave_up(1, &[place.text(), "already served", "stop it first", "--path"]);
    assert_eq!(client.register(1, event::PROCESS_EXIT), Ok(0));
    assert_eq!(Client::start().open(place.path()), Ok(0));
    daemon.stop();
}

#[test]
fn a_stopped_daemon_is_told_from_a_dead_one() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    daemon.pause();
    place.refused().gave_up(1, &[place.text(), "does not answer", "continue or kill"]);
    daemon.resume();
    assert_eq!(Client::start().open(place.path()), Ok(0));
    daemon.stop();
}

#[test]
fn an_unmount_from_outside_ends_the_daemon_with_an_error() {
    let place = Place::new();
    let mut daemon = place.serve(&[]);
    umount2(place.path(), MntFlags::MNT_DETACH).expect("unmount");
    assert_eq!(daemon.end().code(), Some(1));
    let complaint = daemon.complaints();
    assert!(complaint.starts_with("kmonitor: ") && complaint.contains("taken away"), "{complaint}");
    place.assert_clean();
}

#[test]
fn thirty_starts_and_stops_leave_nothing() {
    let place = Place::default_path();
    for _ in 0..30 {
        assert_eq!(place.run(&["true"]).well(), "");
    }
}

#[test]
fn targets_and_monitors_notice_nothing_of_the_daemons_end() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let mut target = Program::quiet(&mut Command::new("cat"));
    let mut client = Client::of(&place);
    assert_eq!(client.register(target.id(), event::ALL), Ok(0));
    daemon.stop();
    assert_eq!(client.close(), Err(Errno::ENOTCONN));
    target.hang_up();
    assert!(target.end().success());
    assert_eq!(client.pending(), []);
}

/// A daemon whose node is in a directory of its own within the place's.
fn serve_in(place: &Place, directory: &str) -> (Program, PathBuf) {
    let node = place.beside(directory).join("kmonitor");
    fs::create_dir(place.beside(directory)).expect("mkdir");
    let errors = File::create(place.beside("errors")).expect("a file for its errors");
    let mut daemon =
        Program::start(Command::new(KMONITOR).args(["serve", "--path"]).arg(&node).stderr(errors));
    assert!(daemon.line().contains("ready"));
    (daemon, node)
}

#[test]
fn a_node_whose_directory_was_renamed_goes_from_where_it_is_by_now() {
    let place = Place::new();
    let (mut daemon, node) = serve_in(&place, "before");
    fs::rename(place.beside("before"), place.beside("after")).expect("rename");
    // A daemon at the old path is none of the first one's business.
    let (mut second, _) = serve_in(&place, "before");
    daemon.signal(Signal::SIGTERM);
    let status = daemon.end();
    let moved = place.beside("after").join("kmonitor");
    let left = is_mounted(&moved);
    let _ = umount2(&moved, MntFlags::MNT_DETACH);
    assert!(!left && fs::symlink_metadata(&moved).is_err(), "the node was left at {}", moved.display());
    assert!(status.success());
    assert!(is_mounted(&node), "the second daemon's mount has gone");
    second.signal(Signal::SIGTERM);
    assert!(second.end().success());
    assert!(fs::symlink_metadata(&node).is_err());
}

#[test]
fn what_was_mounted_over_the_node_stays_and_the_user_is_told_what_to_do() {
    let place = Place::new();
    let mut daemon = place.serve(&[]);
    let file = place.beside("file");
    fs::write(&file, "mine").expect("write");
    mount(Some(&file), place.path(), None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("mount");
    daemon.program.signal(Signal::SIGTERM);
    assert_eq!(daemon.end().code(), Some(1));
    let complaint = daemon.complaints();
    assert!(complaint.contains(&format!("umount -l {0} && rm {0}", place.text())), "{complaint}");
    assert_eq!(fs::read_to_string(place.path()).expect("it is still mounted"), "mine");
    // As the daemon said.
    finish(Command::new("umount").arg(place.path())).well();
    finish(Command::new("umount").arg("-l").arg(place.path())).well();
    fs::remove_file(place.path()).expect("remove");
    place.assert_clean();
}

#[test]
fn signals_that_were_ignored_at_the_start_stay_ignored() {
    let place = Place::new();
    for (signal, name) in [(Signal::SIGHUP, "HUP"), (Signal::SIGINT, "INT"), (Signal::SIGUSR1, "USR1")] {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("trap '' {name}; exec \"$0\" serve --path \"$1\""), KMONITOR]);
        command.arg(place.path());
        let daemon = place.serve_by(command);
        daemon.program.signal(signal);
        // It takes a call after that.
        assert_eq!(Client::start().open(place.path()), Ok(0), "{name} ended it");
        daemon.stop();
    }
}

#[test]
fn outputs_that_nobody_reads_hold_up_neither_the_start_nor_the_end() {
    let place = Place::new();
    for full in ["output", "errors"] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        fill(&writer);
        let mut command = place.serve_command(&[]);
        if full == "output" {
            command.stdout(writer).stderr(Stdio::null());
        } else {
            command.stderr(writer).stdout(Stdio::null());
        }
        let mut daemon = command.spawn().expect("it starts");
        until("the node is there", || is_mounted(place.path()));
        assert_eq!(Client::start().open(place.path()), Ok(0), "{full}");
        kill(Pid::from_raw(daemon.id() as i32), Signal::SIGTERM).expect("it lives");
        let mut status = None;
        let ended = || {
            status = daemon.try_wait().expect("it is our child");
            status.is_some()
        };
        let in_time = within(LIMIT, ended);
        if !in_time {
            daemon.kill().expect("it lives");
            daemon.wait().expect("it is our child");
        }
        assert!(in_time, "it has not ended, its {full} being full");
        assert!(status.is_some_and(|status| status.success()), "{full}: {status:?}");
        place.assert_clean();
        drop(reader);
    }
}

/// Writes until the pipe takes no more.
fn fill(pipe: &std::io::PipeWriter) {
    let nonblocking =
        |on| fcntl(pipe, FcntlArg::F_SETFL(if on { OFlag::O_NONBLOCK } else { OFlag::empty() }));
    nonblocking(true).expect("fcntl");
    let mut writer = pipe;
    while writer.write(&[b'x'; 4096]).is_ok() {}
    nonblocking(false).expect("fcntl");
}
