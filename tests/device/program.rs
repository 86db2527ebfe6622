//! Programs that a test starts: with limits to every wait, and none left behind.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// What takes a moment on an idle machine hangs if it takes longer.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Likewise a program that does thousands of rounds.
pub const LONG: Duration = Duration::from_secs(900);

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    assert!(within(LIMIT, &mut holds), "{what}: not so after {LIMIT:?}");
}

/// True once something holds; false if it does not in this time.
pub fn within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

/// True if the process's main thread waits in this system call.
pub fn waits_in(pid: i32, syscall: libc::c_long) -> bool {
    let now = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    now.starts_with(&format!("{syscall} "))
}

/// True if the process is in this state, a letter as in /proc.
pub fn is_in_state(pid: i32, state: char) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(state))
}

/// A program for users from whom the directory that it lies in may be hidden.
pub struct Reachable(File);

impl Reachable {
    pub fn new(program: impl AsRef<Path>) -> Reachable {
        Reachable(File::open(program).expect("the program can be opened"))
    }

    /// The program, run by this user and the group of the same number while this is there.
    pub fn by(&self, user: u32) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        command.uid(user).gid(user);
        command
    }
}

/// A program at work, whose output is read line by line. It is killed if the test ends before it.
pub struct Program {
    child: Child,
    name: String,
    input: Option<ChildStdin>,
    output: Receiver<String>,
}

impl Program {
    /// Starts it with our end of its standard input and output.
    pub fn start(command: &mut Command) -> Program {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("it has a pipe"));
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Program { child, name, input, output: receiver }
    }

    /// A process that does nothing until it is hung up on, and then ends well: `command`, which must become cat.
    pub fn quiet(command: &mut Command) -> Program {
        let mut program = Program::start(command);
        // Once it echoes, its own exec is past.
        program.say("ready");
        assert_eq!(program.line(), "ready");
        program
    }

    /// Its process id.
    pub fn id(&self) -> i32 {
        self.child.id() as i32
    }

    /// Its next line; `None` at the end of its output.
    pub fn next_line(&mut self) -> Option<String> {
        self.next_line_within(LIMIT)
    }

    fn next_line_within(&mut self, limit: Duration) -> Option<String> {
        match self.output.recv_timeout(limit) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{} said nothing for {limit:?}", self.name),
        }
    }

    /// Its next line, if it has written one.
    pub fn line_if_any(&mut self) -> Option<String> {
        self.output.try_recv().ok()
    }

    /// Its next line, which must come, but may take its time.
    pub fn line_at_last(&mut self) -> String {
        self.next_line_within(LONG).unwrap_or_else(|| panic!("{} ended where a line was expected", self.name))
    }

    /// Its next line, which must come.
    pub fn line(&mut self) -> String {
        self.next_line().unwrap_or_else(|| panic!("{} ended where a line was expected", self.name))
    }

    /// All lines to the end of its output.
    pub fn lines(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next_line()).collect()
    }

    /// Writes a line to its standard input.
    pub fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is open");
        writeln!(input, "{line}").unwrap_or_else(|error| panic!("{} does not listen: {error}", self.name));
    }

    /// Closes its standard input, at which programs like cat end.
    pub fn hang_up(&mut self) {
        self.input = None;
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id()), signal)
            .unwrap_or_else(|errno| panic!("signal {}: {errno}", self.name));
    }

    /// True while it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Waits for its end.
    pub fn end(&mut self) -> ExitStatus {
        self.end_within(LIMIT)
    }

    fn end_within(&mut self, limit: Duration) -> ExitStatus {
        if !within(limit, &mut || !self.is_running()) {
            panic!("{} has not ended after {limit:?}", self.name);
        }
        self.child.wait().expect("it is our child")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.hang_up();
        // A daemon gets the chance to clean up.
        if self.is_running() {
            let _ = kill(Pid::from_raw(self.id()), Signal::SIGTERM);
            let _ = kill(Pid::from_raw(self.id()), Signal::SIGCONT);
            within(Duration::from_secs(5), &mut || !self.is_running());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub output: String,
    /// What it wrote to its standard error.
    pub errors: String,
}

impl Ended {
    /// Its exit status; a signal that ended it fails the test.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by signal {:?}: {self:?}", self.status.signal()))
    }

    /// Asserts that it succeeded, and tells what it said.
    pub fn well(self) -> String {
        assert!(self.status.success(), "{self:?}");
        self.output
    }

    /// Asserts that it gave up with this status and one sentence that has all these parts.
    pub fn gave_up(&self, status: i32, parts: &[&str]) {
        assert_eq!(self.code(), status, "{self:?}");
        assert_eq!(self.errors.lines().count(), 1, "one sentence: {self:?}");
        assert!(self.errors.starts_with("kmonitor: "), "{self:?}");
        for part in parts {
            assert!(self.errors.contains(part), "no {part:?} in {self:?}");
        }
    }
}

/// Runs a program to its end.
pub fn finish(command: &mut Command) -> Ended {
    finish_within(LIMIT, command)
}

/// Runs a program to its end, which may take this long.
pub fn finish_within(limit: Duration, command: &mut Command) -> Ended {
    let mut program = Program::start(command.stderr(Stdio::piped()));
    program.hang_up();
    let mut stderr = program.child.stderr.take().expect("it has a pipe");
    let errors = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    let status = program.end_within(limit);
    let output = program.lines().iter().map(|line| format!("{line}\n")).collect();
    let errors = errors.join().expect("it does not panic").expect("its errors are text");
    Ended { status, output, errors }
}
