//! Processes to wait for, and the command that waits.

use crate::device::client::{digest, gcc, project};
use crate::device::program::{Ended, Program, Reachable, finish, until, waits_in};
use crate::device::served::KMONITOR;
use crate::guest::host::{self, Scratch};
use std::env;
use std::mem;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A user who is nobody in particular.
pub const ORDINARY: u32 = 65534;

/// The program of `target.c`, built once.
pub fn target_program() -> PathBuf {
    let name = format!("target-{}", digest(&["tests/cli", "tests/device/clients", "compat/linux"]));
    let built = host::once(&name, |directory| {
        let source = project("tests/cli/target.c");
        host::run(gcc(&source, &directory.join("target")).arg("-O2"), "gcc").map(drop)
    });
    built.unwrap_or_else(|error| panic!("{error}")).join("target")
}

/// A target of a kind; see `target.c`.
pub fn target(kind: &[&str]) -> Program {
    Program::start(Command::new(target_program()).args(kind))
}

/// A target, and the id that it printed.
pub fn target_and_pid(kind: &[&str]) -> (Program, String) {
    let mut target = target(kind);
    let pid = target.line();
    (target, pid)
}

/// A directory that every user can reach, for the time of a test.
pub fn scratch() -> Scratch {
    let directory = env::temp_dir().canonicalize().expect("there is a directory for temporary files");
    Scratch::new(&directory).expect("a directory for the test")
}

/// The program, run by an ordinary user.
pub fn as_ordinary(program: impl AsRef<Path>) -> Command {
    let program = Reachable::new(program);
    let command = program.by(ORDINARY);
    // The command may be started at any time.
    mem::forget(program);
    command
}

/// `kmonitor wait ARGUMENT...`
pub fn wait_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(KMONITOR);
    command.arg("wait").args(arguments);
    command
}

/// Runs `kmonitor wait ARGUMENT...` to its end.
pub fn wait(arguments: &[&str]) -> Ended {
    finish(&mut wait_command(arguments))
}

/// Starts the command, and returns when it waits.
pub fn waiting(command: &mut Command) -> Program {
    let program = Program::start(command);
    until("kmonitor waits", || is_waiting(program.id()));
    program
}

/// True if this kmonitor waits for events.
pub fn is_waiting(pid: i32) -> bool {
    // The C library has one by the other, on some machines.
    #[cfg(target_arch = "x86_64")]
    let calls = [libc::SYS_epoll_wait, libc::SYS_epoll_pwait];
    #[cfg(not(target_arch = "x86_64"))]
    let calls = [libc::SYS_epoll_pwait];
    calls.into_iter().any(|call| waits_in(pid, call))
}

/// Asserts that this is what `kmonitor wait` prints of an end.
pub fn assert_exited(line: &str, pid: &str, how: &str) {
    let start = format!("{pid} exited, {how}, after ");
    let time = line.strip_prefix(&start).and_then(|rest| rest.strip_suffix(" s"));
    assert!(time.is_some_and(|time| time.parse::<f64>().is_ok()), "{line:?} is not {start:?}...");
}
