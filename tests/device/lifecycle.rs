//! How the node comes, who may open it, and how it goes.

use super::client::{Client, event};
use super::place::{MARKER, open_as};
use super::program::Program;
use super::served::{Place, is_mounted};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, chown};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
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
