//! A source with a test at its end.

use crate::device::client::{digest, gcc, project};
use crate::device::program::Program;
use crate::guest::host;
use kmonitor::abi::EventMask;
use kmonitor::event::Kind;
use kmonitor::ids::Tid;
use kmonitor::source::bpf::{BpfSource, Input, Options, TaskEvent};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::env;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that takes a moment; a busy machine may stretch it.
pub const LIMIT: Duration = Duration::from_secs(60);

pub const EXIT: EventMask = EventMask::PROCESS_EXIT;

/// Every event.
pub const ALL: EventMask = EventMask(0x7f);

/// The variable that says where the clients are in a guest, which cannot build them.
pub const CLIENTS: &str = "KMONITOR_TEST_CLIENTS";

/// The program of `clients/NAME.c`, built once.
pub fn build(name: &str) -> PathBuf {
    if let Some(directory) = env::var_os(CLIENTS) {
        return PathBuf::from(directory).join(name);
    }
    let digest = digest(&["tests/bpf/clients"]);
    let built = host::once(&format!("bpf-{name}-{digest}"), |directory| {
        let source = project(&format!("tests/bpf/clients/{name}.c"));
        host::run(gcc(&source, &directory.join(name)).arg("-O2"), "gcc").map(drop)
    });
    built.unwrap_or_else(|error| panic!("{error}")).join(name)
}

/// Starts such a program, and waits until it is ready.
pub fn start(name: &str, arguments: &[&str]) -> Program {
    let mut program = Program::start(Command::new(build(name)).args(arguments));
    assert_eq!(program.line(), "ready");
    program
}

/// The id of the task of a program.
pub fn id(program: &Program) -> Tid {
    Tid(program.id())
}

/// A child that does nothing.
pub fn quiet_child() -> Child {
    Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat")
}

/// A number that nobody has now.
pub fn free_number() -> Tid {
    let mut child = quiet_child();
    child.kill().and_then(|()| child.wait()).expect("it is ours");
    Tid(child.id() as i32)
}

/// A source, and all that has come out of it.
pub struct Watcher {
    pub source: BpfSource,
    pub inputs: Vec<Input>,
    /// How often the descriptor woke us.
    pub wakes: usize,
}

impl Watcher {
    pub fn new() -> Watcher {
        Watcher::with(Options::default())
    }

    /// One that can follow.
    pub fn following() -> Watcher {
        Watcher::with(Options { follow: true, ..Options::default() })
    }

    pub fn with(options: Options) -> Watcher {
        let source = BpfSource::new(options)
            .unwrap_or_else(|refusal| panic!("these tests need root, and a kernel with BTF: {refusal}"));
        Watcher { source, inputs: Vec::new(), wakes: 0 }
    }

    /// Watches a program, with what the owner of a source does when it has time.
    pub fn watch(&mut self, tid: Tid, events: EventMask) {
        self.source.watch(tid, events);
        self.settle();
    }

    /// Has the source do all that it has to do within some moments.
    pub fn settle(&mut self) {
        let soon = Duration::from_millis(100);
        while let Some(at) = self.source.deadline().filter(|at| *at < Instant::now() + soon) {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            self.drain();
            self.source.idle();
        }
    }

    /// Takes all that there is.
    pub fn drain(&mut self) {
        while let Some(input) = self.source.next_input() {
            self.inputs.push(input);
        }
    }

    /// Takes all that happened before this call.
    pub fn drain_to_mark(&mut self) {
        let mark = self.source.mark();
        while !self.source.has_passed(mark) {
            match self.source.next_input() {
                Some(input) => self.inputs.push(input),
                None => assert!(self.source.has_passed(mark), "a drained source has passed all marks"),
            }
        }
    }

    /// Sleeps until the source has something, as its owner does; false if nothing came in this time.
    pub fn sleep(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let end = self.source.deadline().map_or(until, |deadline| deadline.min(until));
        let left = end.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left + Duration::from_millis(1)).expect("it is short");
        let ready = poll(&mut [PollFd::new(self.source.poll_fd(), PollFlags::POLLIN)], left).expect("poll");
        self.wakes += ready as usize;
        ready > 0
    }

    /// Takes what comes until something holds.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&[Input]) -> bool) {
        let deadline = Instant::now() + LIMIT;
        self.drain();
        while !holds(&self.inputs) {
            let now = Instant::now();
            assert!(now < deadline, "{what}: not so after {LIMIT:?}: {:?}", self.inputs);
            self.sleep(deadline - now);
            self.drain();
        }
    }

    /// Waits for the exit of this process.
    pub fn exit_of(&mut self, tid: Tid) -> TaskEvent {
        self.until("its exit", |inputs| events(inputs).any(|event| is_exit_of(event, tid)));
        *events(&self.inputs).find(|event| is_exit_of(event, tid)).expect("it is there")
    }

    /// How many exits of this process there were.
    pub fn exits_of(&self, tid: Tid) -> usize {
        events(&self.inputs).filter(|event| is_exit_of(event, tid)).count()
    }
}

/// The events among these inputs.
pub fn events(inputs: &[Input]) -> impl Iterator<Item = &TaskEvent> {
    inputs.iter().filter_map(|input| match input {
        Input::Event(event) => Some(event),
        Input::Member(_) | Input::Lost { .. } => None,
    })
}

fn is_exit_of(event: &TaskEvent, tid: Tid) -> bool {
    event.kind == Kind::ProcessExit && event.subject == tid
}

/// True if the process is dead: its pidfd, opened while it lived, is readable.
pub struct Death(kmonitor::sys::pidfd::PidFd);

impl Death {
    pub fn of(tid: Tid) -> Death {
        Death(kmonitor::sys::pidfd::PidFd::open(tid.0).expect("it lives"))
    }

    pub fn has_come(&self) -> bool {
        self.0.has_exited()
    }
}
