//! A daemon in service, and the place of its node, which it must leave as it found it.

use super::program::{Ended, Program, finish, is_in_state, until};
use crate::guest::host::Scratch;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// The command under test.
pub const KMONITOR: &str = env!("CARGO_BIN_EXE_kmonitor");

/// Where the device is by default.
pub const DEVICE: &str = "/dev/kmonitor";

/// What each daemon says at its start on standard error.
const NEWS: [&str; 2] = ["kmonitor: events come from ", "kmonitor: the device is a "];

/// A directory of one test, and in it, or in /dev, a path at which a node can be.
pub struct Place {
    path: PathBuf,
    directory: Scratch,
    turn: Option<Flock<File>>,
}

impl Place {
    /// A path in a fresh directory, which everybody can reach.
    pub fn new() -> Place {
        require_root_and_fuse();
        let scratch = env::temp_dir().canonicalize().expect("there is a directory for temporary files");
        let directory = Scratch::new(&scratch).expect("a directory for the test");
        Place { path: directory.path("kmonitor"), directory, turn: None }
    }

    /// The default path. Tests in all processes take turns at it.
    pub fn default_path() -> Place {
        let mut place = Place::new();
        let anchor = File::open("/dev/fuse").expect("/dev/fuse can be opened by root");
        let turn = Flock::lock(anchor, FlockArg::LockExclusive).map_err(|(_, errno)| errno);
        assert!(
            !Path::new(DEVICE).exists(),
            "{DEVICE} is there: stop the kmonitor that serves it, or unload the driver, for the time of the tests"
        );
        place.path = DEVICE.into();
        place.turn = Some(turn.expect("/dev/fuse can be locked"));
        place
    }

    /// Where the node is, or will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same, as programs take it.
    pub fn text(&self) -> &str {
        self.path.to_str().expect("the path is text")
    }

    /// Another path in the directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path(name)
    }

    /// Starts a daemon and waits for its word that it serves.
    pub fn serve(&self, options: &[&str]) -> Served {
        self.serve_by(self.serve_command(options))
    }

    /// The command that serves here.
    pub fn serve_command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(KMONITOR);
        command.arg("serve").arg("--path").arg(&self.path).args(options);
        command
    }

    /// Starts a daemon by this command.
    pub fn serve_by(&self, mut command: Command) -> Served {
        let errors = self.beside("errors");
        command.stderr(File::create(&errors).expect("a file for its errors"));
        let mut program = Program::start(&mut command);
        match program.next_line() {
            Some(line) => assert_eq!(line, format!("kmonitor: ready: {}", self.path.display())),
            None => panic!("it does not serve: {}", fs::read_to_string(&errors).unwrap_or_default()),
        }
        Served { program, path: self.path.clone(), errors }
    }

    /// Runs `kmonitor serve`, which is expected not to serve.
    pub fn refused(&self) -> Ended {
        finish(&mut self.serve_command(&[]))
    }

    /// The command `kmonitor run -- PROGRAM...` here.
    pub fn run_command(&self, options: &[&str], program: &[&str]) -> Command {
        let mut command = Command::new(KMONITOR);
        command.arg("run").arg("--path").arg(&self.path).args(options).arg("--").args(program);
        command
    }

    /// Runs a program by `kmonitor run`, which must leave nothing.
    pub fn run(&self, program: &[&str]) -> Ended {
        let ended = finish(&mut self.run_command(&[], program));
        assert!(self.is_clean(), "{} was left: {ended:?}", self.path.display());
        ended
    }

    /// Asserts that neither a node nor a mount is here.
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "{} was left", self.path.display());
    }

    fn is_clean(&self) -> bool {
        !is_mounted(&self.path) && fs::symlink_metadata(&self.path).is_err()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Only after a failure is there anything.
        while is_mounted(&self.path) && umount2(&self.path, MntFlags::MNT_DETACH).is_ok() {}
        if self.turn.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn require_root_and_fuse() {
    assert!(geteuid().is_root(), "the device tests mount and signal as root: run them with sudo");
    assert!(
        Path::new("/dev/fuse").exists(),
        "/dev/fuse is missing: load it with `modprobe fuse`, or pass it into the container (--device /dev/fuse)"
    );
}

/// True if a mount covers this path.
pub fn is_mounted(path: &Path) -> bool {
    let path = path.to_str().expect("the path is text");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(path))
}

/// A daemon in service. It is stopped if the test ends before it.
pub struct Served {
    /// Its process.
    pub program: Program,
    path: PathBuf,
    errors: PathBuf,
}

impl Served {
    /// What it wrote to its standard error, but for the lines that say what carries the node and where events
    /// come from.
    pub fn complaints(&self) -> String {
        let errors = fs::read_to_string(&self.errors).expect("its errors are text");
        let (news, complaints): (Vec<&str>, Vec<&str>) =
            errors.split_inclusive('\n').partition(|line| NEWS.iter().any(|news| line.starts_with(news)));
        assert_eq!(news.len(), NEWS.len(), "{errors}");
        complaints.concat()
    }

    /// Stops its work for the time being.
    pub fn pause(&self) {
        self.program.signal(Signal::SIGSTOP);
        until("the daemon is stopped", || is_in_state(self.program.id(), 'T'));
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.program.signal(Signal::SIGCONT);
    }

    /// Waits for its end.
    pub fn end(&mut self) -> ExitStatus {
        self.program.end()
    }

    /// Stops it by SIGTERM; it must end well, in silence, and leave nothing.
    pub fn stop(self) {
        self.stop_by(Signal::SIGTERM);
    }

    /// Stops it by this signal.
    pub fn stop_by(mut self, signal: Signal) {
        self.program.signal(signal);
        let status = self.end();
        assert!(status.success(), "{status}: {}", self.complaints());
        assert_eq!(self.complaints(), "", "it had something to complain of");
        assert!(!is_mounted(&self.path), "the mount was left");
        assert!(fs::symlink_metadata(&self.path).is_err(), "the node was left");
    }

    /// Stops it by SIGTERM; it must end well and leave nothing. What it had to complain of.
    pub fn stop_complaining(mut self) -> String {
        self.program.signal(Signal::SIGTERM);
        let status = self.end();
        assert!(status.success(), "{status}: {}", self.complaints());
        assert!(fs::symlink_metadata(&self.path).is_err(), "the node was left");
        self.complaints()
    }

    /// What its counter of this name says.
    pub fn counter(&self, name: &str) -> u64 {
        let lines = || self.complaints().lines().filter(|line| line.contains("events=")).count();
        let before = lines();
        self.program.signal(Signal::SIGUSR1);
        until("it prints its counters", || lines() > before);
        let complaints = self.complaints();
        let last = complaints.lines().rfind(|line| line.contains("events=")).expect("it did");
        let value = last.split(' ').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("no {name} in {last}")).parse().expect("a number")
    }

    /// The process that takes the node away.
    pub fn keeper(&self) -> Pid {
        let pid = self.program.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it lives");
        Pid::from_raw(children.trim().parse().expect("it has one child"))
    }

    /// Kills it by SIGKILL, and first the process that would clean up.
    pub fn kill(mut self) {
        kill(self.keeper(), Signal::SIGKILL).expect("it lives");
        self.program.signal(Signal::SIGKILL);
        self.end();
    }
}
