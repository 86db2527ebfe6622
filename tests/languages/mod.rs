//! The examples of docs/languages.md and README.md, extracted and run by the commands that stand there, on a
//! device of their own.

use crate::device::client::project;
use crate::device::examples::examples;
use crate::device::program::{LONG, Program, finish_within, until, waits_in};
use crate::device::served::Place;
use crate::guest::host;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

const FORKS: usize = 300;

/// Makes each example a test, and a table of them all.
macro_rules! examples {
    ($($test:ident: $command:literal,)*) => {
        $(#[test]
        fn $test() {
            prints_every_fork(&Document::read("docs/languages.md"), $command);
        })*

        const COMMANDS: &[&str] = &[$($command),*];
    };
}

examples! {
    c_with_epoll: "./watch_epoll PID",
    c_with_libuv: "./watch_uv PID",
    c_with_libev: "./watch_ev PID",
    c_with_libevent: "./watch_event PID",
    cplusplus: "./watch_cc PID",
    rust: "cargo run PID",
    python: "python3 watch.py PID",
    python_with_asyncio: "python3 watch_asyncio.py PID",
    go: "env --block-signal=40 ./watch_go PID",
    java: "env --block-signal=40 java -cp /usr/share/java/jna.jar Watch.java PID",
    perl: "perl watch.pl PID",
    ruby: "ruby watch.rb PID",
    node: "node watch.js PID",
    gdb: "gdb -q -batch -ex 'handle SIG34 nostop noprint pass' -ex run --args perl watch.pl PID",
}

#[test]
fn every_example_is_run() {
    let document = Document::read("docs/languages.md");
    let commands: Vec<&str> =
        document.consoles.iter().map(|console| console.last().expect("a command").as_str()).collect();
    assert_eq!(commands, COMMANDS);
    for (name, _) in &document.programs {
        let is_used = document.consoles.iter().flatten().any(|command| command.contains(name.as_str()));
        let is_special = ["watch.h", "watch.rs"].contains(&name.as_str());
        assert!(is_used || is_special, "no command has {name}");
    }
}

/// The programs of a page, each below its name, and the commands of its consoles.
struct Document {
    programs: Vec<(String, String)>,
    consoles: Vec<Vec<String>>,
}

impl Document {
    fn read(path: &str) -> Document {
        let text = fs::read_to_string(project(path)).expect("it is text");
        let (mut programs, mut consoles) = (Vec::new(), Vec::new());
        // Text and code take turns.
        let parts: Vec<&str> = text.split("```").collect();
        for pair in parts.chunks_exact(2) {
            let (kind, code) = pair[1].split_once('\n').expect("a line");
            let before = pair[0].trim_end().lines().last().unwrap_or_default();
            let name = before.strip_prefix('`').and_then(|rest| rest.split_once('`'));
            if kind == "console" {
                consoles.push(
                    code.lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect(),
                );
            } else if let Some((name, _)) = name {
                programs.push((name.to_owned(), code.to_owned()));
            }
        }
        Document { programs, consoles }
    }

    /// Lays the programs out for a device at this place, with what their commands name; tells the directory.
    fn lay_out(&self, place: &Place) -> PathBuf {
        let directory = place.beside("examples");
        fs::create_dir(&directory).expect("mkdir");
        for (name, text) in &self.programs {
            let here = text.replace("/dev/kmonitor", place.text());
            fs::write(directory.join(name), here).expect("write");
        }
        symlink(project("compat"), directory.join("compat")).expect("link");
        symlink(examples(), directory.join("c-examples")).expect("link");
        directory
    }
}

/// A shell command in the directory of the examples.
fn shell(directory: &Path, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(directory);
    command.env("GOPATH", directory.join("go")).env("GOCACHE", host::cache().expect("a cache").join("go"));
    command.env("GOFLAGS", "-mod=mod");
    command
}

fn build(directory: &Path, script: &str) {
    let built = finish_within(LONG, &mut shell(directory, script));
    assert!(
        built.status.success(),
        "{script}\n{}{}\ntests/run installs what it needs",
        built.output,
        built.errors
    );
}

/// Builds the Rust program as cargo would: by the compiler that built this test, with the libc that it uses.
fn build_rust(directory: &Path) {
    let tests = env::current_exe().expect("the running test");
    let crates = fs::read_dir(tests.parent().expect("a directory")).expect("it is readable");
    let mut crates: Vec<PathBuf> = crates.flatten().map(|entry| entry.path()).collect();
    crates.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("liblibc-") && name.ends_with(".rlib")
    });
    crates.sort_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    let rustc = Path::new(env!("CARGO")).with_file_name("rustc");
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "-o", "watch_rs", "watch.rs", "--extern"]).current_dir(directory);
    command.arg(format!("libc={}", crates.last().expect("the tests use libc").display()));
    let built = finish_within(LONG, &mut command);
    assert!(built.status.success(), "{}", built.errors);
}

/// Asserts that the example prints every fork of a target, in order, and its exit.
fn prints_every_fork(document: &Document, command: &str) {
    let console = document.consoles.iter().find(|console| console.last().is_some_and(|last| last == command));
    let console = console.unwrap_or_else(|| panic!("no such command: {command}"));
    let place = Place::new();
    let daemon = place.serve(&[]);
    let directory = document.lay_out(&place);
    for step in &console[..console.len() - 1] {
        build(&directory, step);
    }
    let mut run = command.to_owned();
    if command.starts_with("cargo") {
        build_rust(&directory);
        run = "./watch_rs PID".to_owned();
    }
    let script = format!(
        "read line; i=0; while [ $i -lt {FORKS} ]; do : & echo $!; wait $!; i=$((i+1)); done; echo done"
    );
    let mut target = Program::start(Command::new("sh").arg("-c").arg(script));
    let run = run.replace("PID", &target.id().to_string());
    let mut example = Program::start(&mut shell(&directory, &format!("exec {run}")));
    let watching = format!("watching {}", target.id());
    while example.line_at_last() != watching {}

    target.say("");
    let mut children = target.lines();
    assert_eq!(children.pop().as_deref(), Some("done"));
    target.end();
    let (mut forks, mut printed) = (Vec::new(), Vec::new());
    loop {
        let line = example.line_at_last();
        printed.push(line.clone());
        match line.split_once(' ') {
            Some(("0x8" | "fork", child)) => forks.push(child.to_owned()),
            Some(("0x40" | "exit", pid)) if pid == target.id().to_string() => break,
            _ => {}
        }
    }
    assert_eq!(forks, children, "{printed:?}");
    assert!(example.end().success(), "{printed:?}");
    daemon.stop();
}

/// The program in README.md, on its own target.
#[test]
fn the_readmes_program_prints_events() {
    let document = Document::read("README.md");
    let place = Place::new();
    let daemon = place.serve(&[]);
    let directory = document.lay_out(&place);
    build(&directory, "cc -Wall -Wextra -Werror -I compat -o watch watch.c");
    let mut target = Program::start(Command::new("sh").args(["-c", "read line; : & echo $!; exec true"]));
    let pid = target.id();
    let mut watch = Program::start(Command::new(directory.join("watch")).arg(pid.to_string()));
    until("it waits for signals", || waits_in(watch.id(), libc::SYS_rt_sigtimedwait));
    target.say("");
    let events = [("0x8", target.line()), ("0x20", pid.to_string()), ("0x40", pid.to_string())];
    target.end();
    let expected = events.map(|(event, process)| format!("event {event}, process {process}, user 0"));
    assert_eq!(watch.lines(), expected);
    assert!(watch.end().success());
    daemon.stop();
}
