//! Clients of the device: C programs, built against compat/ as their users would.

use super::program::{Program, until, waits_in};
use super::served::Place;
use crate::guest::host;
use nix::errno::Errno;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The signal that tests register.
pub const SIGNAL: i32 = 40;

/// The event bits, as compat/linux/kmonitor.h has them.
pub mod event {
    pub const THREAD_ABORT: i32 = 0x02;
    pub const THREAD_EXIT: i32 = 0x04;
    pub const PROCESS_FORK: i32 = 0x08;
    pub const PROCESS_EXEC: i32 = 0x20;
    pub const PROCESS_ABORT: i32 = 0x10;
    pub const PROCESS_EXIT: i32 = 0x40;
    pub const ALL: i32 = 0x7f;
}

/// A path in the project.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What the files of these folders hold, in a name.
pub fn digest(folders: &[&str]) -> String {
    let mut hasher = DefaultHasher::new();
    for folder in folders {
        let entries = fs::read_dir(project(folder)).unwrap_or_else(|error| panic!("read {folder}: {error}"));
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("it is readable").path()).collect();
        files.sort();
        for file in files.iter().filter(|file| file.is_file()) {
            (file, fs::read(file).expect("it is readable")).hash(&mut hasher);
        }
    }
    format!("{:016x}", hasher.finish())
}

/// The compiler with our header, every warning an error.
pub fn gcc(source: &Path, program: &Path) -> Command {
    let mut gcc = Command::new("gcc");
    gcc.args(["-Wall", "-Wextra", "-Werror", "-pthread", "-I"]).arg(project("compat"));
    gcc.arg("-o").arg(program).arg(source);
    gcc
}

/// The program of `clients/NAME.c`, built once.
pub fn build(name: &str) -> PathBuf {
    build_for(name, "-m64")
}

/// The same for 32 bits.
pub fn build_32(name: &str) -> PathBuf {
    build_for(name, "-m32")
}

fn build_for(name: &str, bits: &str) -> PathBuf {
    let digest = digest(&["tests/device/clients", "compat/linux", "compat/bits/types"]);
    let built = host::once(&format!("{name}{bits}-{digest}"), |directory| {
        let source = project(&format!("tests/device/clients/{name}.c"));
        host::run(gcc(&source, &directory.join(name)).args(["-O2", bits]), "gcc-multilib").map(drop)
    });
    built.unwrap_or_else(|error| panic!("{error}")).join(name)
}

/// A signal as a client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signalled {
    pub signal: i32,
    pub code: i32,
    pub errno: i32,
    pub pid: i32,
    pub uid: u32,
    pub value: i64,
}

impl Signalled {
    /// What the device sends for an event of this subject.
    pub fn of(pid: i32, uid: u32, event: i32) -> Signalled {
        Signalled { signal: SIGNAL, code: libc::SI_QUEUE, errno: 0, pid, uid, value: event.into() }
    }

    fn parse(text: &str) -> Option<Signalled> {
        let mut fields = text.split(':');
        let signal = fields.next()?.parse().ok()?;
        let code = fields.next()?.parse().ok()?;
        let errno = fields.next()?.parse().ok()?;
        let pid = fields.next()?.parse().ok()?;
        let uid = fields.next()?.parse().ok()?;
        let value = fields.next()?.parse().ok()?;
        Some(Signalled { signal, code, errno, pid, uid, value })
    }
}

/// A client that does what it is told.
pub struct Client {
    /// Its process.
    pub program: Program,
}

impl Client {
    /// One that has nothing open.
    pub fn start() -> Client {
        Client { program: Program::start(&mut Command::new(build("client"))) }
    }

    /// One that has the device open.
    pub fn of(place: &Place) -> Client {
        let mut client = Client::start();
        assert_eq!(client.open(place.path()), Ok(0));
        client
    }

    fn ask(&mut self, line: &str) -> String {
        self.program.say(line);
        self.program.line()
    }

    fn call(&mut self, line: &str) -> Result<i32, Errno> {
        self.program.say(line);
        self.result()
    }

    /// Has it make a call, and waits until it waits in this system call.
    pub fn begin(&mut self, line: &str, syscall: libc::c_long) {
        self.program.say(line);
        let pid = self.program.id();
        until(&format!("the client waits for: {line}"), || waits_in(pid, syscall));
    }

    /// The result of a call that was begun.
    pub fn result(&mut self) -> Result<i32, Errno> {
        let answer: i32 = self.program.line().parse().expect("it answers with a number");
        if answer < 0 { Err(Errno::from_raw(-answer)) } else { Ok(answer) }
    }

    pub fn open(&mut self, path: &Path) -> Result<i32, Errno> {
        self.call(&format!("open {}", path.display()))
    }

    pub fn close(&mut self) -> Result<i32, Errno> {
        self.call("close")
    }

    pub fn register(&mut self, pid: i32, events: i32) -> Result<i32, Errno> {
        self.call(&format!("register {pid} {events} {SIGNAL}"))
    }

    pub fn deregister(&mut self, pid: i32, events: i32) -> Result<i32, Errno> {
        self.call(&format!("deregister {pid} {events}"))
    }

    /// Starts a thread in the client; its id.
    pub fn thread(&mut self) -> i32 {
        self.call("thread").expect("it can start a thread")
    }

    /// Ends the thread that was started last.
    pub fn end_thread(&mut self) {
        assert_eq!(self.call("end"), Ok(0));
    }

    /// Waits for so many signals.
    pub fn take(&mut self, count: usize) -> Vec<Signalled> {
        let signals = self.signals(&format!("take {count}"));
        assert_eq!(signals.len(), count, "signals that came: {signals:?}");
        signals
    }

    /// The signals that are pending now.
    pub fn pending(&mut self) -> Vec<Signalled> {
        self.signals("pending")
    }

    fn signals(&mut self, line: &str) -> Vec<Signalled> {
        let answer = self.ask(line);
        let parse = |text| Signalled::parse(text).unwrap_or_else(|| panic!("not a signal: {text}"));
        answer.split_whitespace().map(parse).collect()
    }
}
