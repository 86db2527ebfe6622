//! `kmonitor wait --pidfile`

use super::target::{
    ORDINARY, as_ordinary, assert_exited, scratch, target_and_pid, target_program, wait, wait_command,
    waiting,
};
use crate::device::program::{Program, finish};
use crate::device::served::KMONITOR;
use crate::guest::host::Scratch;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chown, mkfifo};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// A pidfile that holds this, as others may read it.
fn pidfile(text: &str) -> (Scratch, PathBuf) {
    let directory = scratch();
    let path = directory.path("daemon.pid");
    fs::write(&path, text).expect("write");
    (directory, path)
}

#[test]
fn its_process_is_waited_for() {
    for end in ["", "\n", "\nmore lines\n"] {
        let (mut target, pid) = target_and_pid(&["plain"]);
        let (_directory, path) = pidfile(&format!("{pid}{end}"));
        let path = path.to_str().expect("text");
        let mut kmonitor = waiting(&mut wait_command(&["--pidfile", path]));
        target.say("exit 7");
        assert_exited(&kmonitor.line(), &pid, "status 7");
        assert_eq!(kmonitor.end().code(), Some(0));
        target.end();
        wait(&["--pidfile", path]).gave_up(1, &["no process", &pid, path, "-e"]);
        assert_eq!(wait(&["-e", "--pidfile", path]).well(), format!("{pid} (of {path}) does not exist\n"));
    }
}

#[test]
fn a_file_that_is_none_is_an_error() {
    for (text, what) in [("", "empty"), ("\n", "first line"), ("cron\n", "first line"), ("0\n", "first line")]
    {
        let (_directory, path) = pidfile(text);
        let path = path.to_str().expect("text");
        for e in [&[][..], &["-e"]] {
            wait(&[e, &["--pidfile", path]].concat()).gave_up(1, &[path, "not a pidfile", what]);
        }
    }
    let directory = scratch();
    let fifo = directory.path("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).expect("mkfifo");
    for path in [fifo.to_str().expect("text"), "/", "/dev/zero"] {
        wait(&["--pidfile", path]).gave_up(1, &[path, "not a pidfile", "regular file"]);
    }
}

#[test]
fn a_file_that_is_not_there_is_an_error_but_for_e() {
    let path = "/no/such/file.pid";
    wait(&["--pidfile", path]).gave_up(1, &[path, "cannot read", "No such file"]);
    assert_eq!(wait(&["-e", "--pidfile", path]).well(), format!("{path} does not exist\n"));
}

#[test]
fn a_file_that_is_older_than_its_process_is_stale_and_nobody_is_waited_for() {
    let (_target, pid) = target_and_pid(&["plain"]);
    let (_directory, path) = pidfile(&pid);
    let before = SystemTime::now() - Duration::from_secs(60);
    File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_modified(before))
        .expect("its time can be set");
    let path = path.to_str().expect("text");
    for e in [&[][..], &["-e"]] {
        wait(&[e, &["--pidfile", path]].concat()).gave_up(1, &[path, &pid, "stale", "started after"]);
    }
}

#[test]
fn another_users_file_is_read_if_it_may_be() {
    let (mut target, pid) = target_and_pid(&["plain"]);
    let (directory, path) = pidfile(&pid);
    let text = path.to_str().expect("text");
    // Root's, and readable.
    let mut kmonitor = waiting(as_ordinary(KMONITOR).args(["wait", "--pidfile", text]));
    // An ordinary user's, which names root's process.
    let theirs = directory.path("theirs.pid");
    fs::write(&theirs, &pid).expect("write");
    chown(&theirs, Some(Uid::from_raw(ORDINARY)), Some(Gid::from_raw(ORDINARY))).expect("chown");
    let mut second = waiting(&mut wait_command(&["--pidfile", theirs.to_str().expect("text")]));
    // Root's, and not readable.
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
    finish(as_ordinary(KMONITOR).args(["wait", "-e", "--pidfile", text]))
        .gave_up(1, &[text, "ermission denied"]);
    target.say("exit 7");
    assert!(kmonitor.line().starts_with(&format!("{pid} exited, ")));
    assert_exited(&second.line(), &pid, "status 7");
    assert_eq!((kmonitor.end().code(), second.end().code()), (Some(0), Some(0)));
}

#[test]
fn another_users_process_is_waited_for() {
    let mut target = Program::start(as_ordinary(target_program()).arg("plain"));
    let pid = target.line();
    let (_directory, path) = pidfile(&pid);
    let mut kmonitor = waiting(wait_command(&["--pidfile"]).arg(path));
    target.say("exit 7");
    assert_exited(&kmonitor.line(), &pid, "status 7");
    assert_eq!(kmonitor.end().code(), Some(0));
}
