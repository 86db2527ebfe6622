//! `kmonitor status`: what a daemon at work tells about itself.

use super::client::{Client, SIGNAL, build, event};
use super::program::{Program, Reachable, finish};
use super::served::{KMONITOR, Place};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::os::linux::fs::MetadataExt;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

/// More than sockets have room for.
const CROWD: u64 = 100_000;

fn status(path: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(KMONITOR);
    command.arg("status").arg("--path").arg(path).args(options);
    command
}

/// The lines of `--json`.
fn lines(path: &Path) -> Vec<Value> {
    let text = finish(&mut status(path, &["--json"])).well();
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// Where the daemon's socket is.
fn address(node: &Path) -> SocketAddr {
    let device = node.metadata().expect("it is there").st_dev();
    let name = format!("kmonitor-status-{}:{}", libc::major(device), libc::minor(device));
    SocketAddr::from_abstract_name(name).expect("it is short")
}

/// What a thread gets that is nobody's and not root's.
fn as_nobody<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        // SAFETY: it takes numbers; the system call, unlike libc's function, changes this thread alone.
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, -1, 65534, -1) };
        assert_eq!(changed, 0);
        work()
    });
    thread.join().expect("it does not panic")
}

#[test]
fn a_registration_is_listed_with_its_monitor_and_its_target() {
    let place = Place::new();
    let daemon = place.serve(&["--node", "fuse"]);
    let target = Program::quiet(&mut Command::new("cat"));
    let mut client = Client::of(&place);
    client.register(target.id(), event::PROCESS_EXEC | event::PROCESS_EXIT).expect("registered");

    let told = lines(place.path());
    let registration = json!({
        "kind": "registration", "monitor": client.program.id(), "uid": 0, "target": target.id(),
        "events": ["process_exec", "process_exit"], "signal": SIGNAL,
    });
    assert_eq!(told[1..], [registration, json!({"kind": "end", "listed": 1})]);
    let expected = json!({
        "kind": "daemon", "v": 1, "version": env!("CARGO_PKG_VERSION"), "pid": daemon.program.id(),
        "path": place.text(), "registrations": 1, "monitors": 1, "targets": 1, "open_files": 1, "waiting_signals": 0,
    });
    for (name, value) in expected.as_object().expect("it is one") {
        assert_eq!(&told[0][name], value, "{name}");
    }

    let text = finish(&mut status(place.path(), &[])).well();
    let row = text.lines().last().expect("a row");
    let words: Vec<&str> = row.split_whitespace().collect();
    let (monitor, watched) = (client.program.id().to_string(), target.id().to_string());
    assert_eq!(words, [&monitor, "client", &watched, "cat", &SIGNAL.to_string(), "exec,exit"]);

    drop(target);
    client.take(1);
    let told = lines(place.path());
    assert_eq!((&told[0]["counters"]["signals"], &told[0]["counters"]["events"]), (&json!(1), &json!(1)));
    let metrics = finish(&mut status(place.path(), &["--metrics"])).well();
    assert!(
        metrics.contains(&format!("kmonitor_signals_total{{path=\"{}\"}} 1\n", place.text())),
        "{metrics}"
    );

    assert_eq!(client.close(), Ok(0));
    assert_eq!(lines(place.path())[1..], [json!({"kind": "end", "listed": 0})]);
    daemon.stop();
}

#[test]
fn a_reader_of_many_registrations_holds_up_neither_the_daemon_nor_other_readers() {
    let place = Place::new();
    let daemon = place.serve(&["--node", "fuse"]);
    let crowd = CROWD.to_string();
    let mut many = Program::start(Command::new(build("many")).args([place.text(), &crowd]));
    assert_eq!(many.line(), format!("{crowd} 0"));
    let mut idle = UnixStream::connect_addr(&address(place.path())).expect("it listens");
    idle.write_all(b"a").expect("it reads");
    // It has begun to answer, and waits for us.
    idle.read_exact(&mut [0]).expect("it answers");

    let mut client = Client::of(&place);
    client.register(1, event::PROCESS_EXIT).expect("it serves");
    let told = lines(place.path());
    assert_eq!(told.last(), Some(&json!({"kind": "end", "listed": CROWD + 1})));
    assert_eq!(told.len() as u64, 1 + CROWD + 1 + 1);
    // Who was too slow does not get the whole.
    let mut rest = String::new();
    idle.read_to_string(&mut rest).expect("what the socket had room for");
    assert!(!rest.contains("\"end\""));
    many.hang_up();
    assert!(many.end().success());
    daemon.stop();
}

#[test]
fn a_daemon_that_ends_waits_for_no_reader() {
    let place = Place::new();
    let daemon = place.serve(&["--node", "fuse"]);
    let (address, pid) = (address(place.path()), daemon.program.id());
    // It has not asked yet.
    let mut idle = UnixStream::connect_addr(&address).expect("it listens");
    daemon.stop();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).expect("the end of it");
    assert_eq!(rest, b"");
    // Another daemon's device may have the number by now, and its socket the name.
    if let Ok(next) = UnixStream::connect_addr(&address) {
        assert_ne!(getsockopt(&next, PeerCredentials).expect("who listens").pid(), pid);
    }
}

#[test]
fn root_alone_is_told() {
    let place = Place::new();
    let daemon = place.serve(&["--node", "fuse", "--mode", "666"]);
    let kmonitor = Reachable::new(KMONITOR);
    finish(kmonitor.by(65534).arg("status").arg("--path").arg(place.path()))
        .gave_up(2, &["root alone", "sudo"]);
    let address = address(place.path());
    let told = as_nobody(move || {
        let mut connection = UnixStream::connect_addr(&address).expect("anybody may connect");
        let _ = connection.write_all(b"a");
        let mut told = Vec::new();
        let _ = connection.read_to_end(&mut told);
        told
    });
    assert_eq!(told, b"");
    daemon.stop();
}

#[test]
fn where_no_daemon_answers_that_is_said() {
    let place = Place::new();
    finish(&mut status(place.path(), &[])).gave_up(2, &["no daemon serves", "kmonitor serve", place.text()]);
    let daemon = place.serve(&["--node", "fuse"]);
    daemon.kill();
    finish(&mut status(place.path(), &[])).gave_up(2, &["nobody answers", place.text()]);
    // The next one clears what the last one left, and is found.
    let daemon = place.serve(&["--node", "fuse"]);
    finish(&mut status(place.path(), &[])).well();
    daemon.stop();
}

#[test]
fn a_program_that_poses_as_the_daemon_is_not_believed() {
    let place = Place::new();
    let file = place.beside("file");
    File::create(&file).expect("a file");
    let address = address(&file);
    let listener = as_nobody(move || UnixListener::bind_addr(&address).expect("nobody has the name"));
    finish(&mut status(&file, &[])).gave_up(1, &["not root's", "ss -xlp"]);
    drop(listener);
}

#[test]
fn an_output_that_nobody_reads_any_more_ends_it_quietly() {
    let place = Place::new();
    let daemon = place.serve(&["--node", "fuse"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ended = status(place.path(), &["--json"]).stdout(writer).output().expect("it runs");
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(141), &b""[..]));
    daemon.stop();
}
