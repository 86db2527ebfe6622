//! What the C examples say of ends that are hard to see: of a process that goes on by a thread's exec, of
//! zombies that /proc does not show, of an exit that has only begun.

use super::client::{Client, build, project};
use super::examples::{Followed, example, examples, target};
use super::program::{Ended, Program, finish, is_in_state, until, waits_in};
use super::served::{KMONITOR, Place, Served};
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::process::{Child, Command};

/// PF_EXITING in the flags of /proc/PID/stat.
const EXITING: u64 = 4;

/// A program that executes cat by a thread other than its main one, after it was told to.
fn threads(how: &str) -> (Program, i32) {
    let mut program = Program::start(Command::new(build("threads")).arg(how));
    let thread = program.line().parse().expect("a thread id");
    (program, thread)
}

/// Has a program of `threads` execute cat.
fn execute(program: &mut Program) {
    program.say("");
    until("it has become cat", || {
        fs::read_to_string(format!("/proc/{}/comm", program.id())).is_ok_and(|name| name == "cat\n")
    });
}

/// A child that has ended and is not waited for.
fn zombie() -> Child {
    let child = Command::new("true").spawn().expect("true can run");
    until("the child is a zombie", || is_in_state(child.id() as i32, 'Z'));
    child
}

/// A program of a user who sees no process of others in /proc.
fn where_proc_is(made: &str, program: &Command) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("{made} && exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"");
    command.args(["-m", "sh", "-c", &script, "sh"]).arg(program.get_program()).args(program.get_args());
    command
}

const HIDDEN: [&str; 2] = ["mount -t proc -o hidepid=2 proc /proc", "umount -l /proc"];

/// A process that has begun to exit and cannot end, because a daemon that is stopped serves what it has open.
struct Exiting {
    // Dropped before the program, which cannot end while this is stopped.
    other: Served,
    program: Program,
}

impl Exiting {
    fn begin(place: &Place) -> Exiting {
        let other = place.serve(&[]);
        let client = Client::of(place);
        other.pause();
        client.program.signal(Signal::SIGKILL);
        let pid = client.program.id();
        until("it has begun to exit", || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is our child");
            let flags =
                stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(6)?.parse::<u64>().ok());
            flags.expect("it has flags") & EXITING != 0
        });
        assert!(!is_in_state(pid, 'Z'), "a close of the device did not hold its exit");
        Exiting { other, program: client.program }
    }

    fn end(mut self) {
        self.other.resume();
        self.program.end();
        self.other.stop();
    }
}

#[test]
fn monitor_pid_goes_on_with_a_process_whose_new_thread_executes_a_program() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let (mut target, pid) = threads("new");
    let mut monitor = example(".", "monitor_pid");
    let mut monitor = Program::start(monitor.arg("-d").arg(place.path()).arg(pid.to_string()));
    let mut lines = vec![monitor.line()];
    // When it goes on, the thread whose creation it reads of has lost its id.
    monitor.signal(Signal::SIGSTOP);
    until("it is stopped", || is_in_state(monitor.id(), 'T'));
    execute(&mut target);
    monitor.signal(Signal::SIGCONT);
    // It says so when no signal waits any more, which may be after the exec.
    let told = |lines: &[String], what| lines.iter().any(|line| line.starts_with(what));
    while !(told(&lines, "exec ") && told(&lines, "missed ")) {
        lines.push(monitor.line());
    }
    target.hang_up();
    lines.extend(monitor.lines());
    assert_eq!(monitor.end().code(), Some(0), "{lines:?}");
    let followed = Followed::parse(&lines);
    assert_eq!(followed.of("exec"), [pid], "{lines:?}");
    let last = &lines[lines.len() - 2];
    assert_eq!(*last, format!("exit pid={pid} uid=0"), "{lines:?}");
    daemon.stop();
}

#[test]
fn wait_on_pid_ends_when_the_thread_executes_a_program() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let (mut target, thread) = threads("execute");
    assert_ne!(thread, target.id());
    let mut wait = example(".", "wait_on_pid");
    let mut wait = Program::start(wait.arg("-d").arg(place.path()).arg("-v").arg(thread.to_string()));
    assert_eq!(wait.line(), format!("wait pid={thread}"));
    execute(&mut target);
    assert_eq!(wait.lines(), [format!("gone pid={thread}")]);
    assert_eq!(wait.end().code(), Some(0));
    target.hang_up();
    daemon.stop();
}

#[test]
fn wait_on_pid_sees_zombies_that_proc_hides() {
    let place = Place::new();
    let daemon = place.serve(&["--mode", "666"]);
    let mut zombie = zombie();
    let mut target = target();
    for hidden in HIDDEN {
        let mut wait = example(".", "wait_on_pid");
        wait.arg("-d").arg(place.path()).arg(zombie.id().to_string());
        let said = finish(&mut where_proc_is(hidden, &wait)).well();
        assert_eq!(said, format!("gone pid={}\n", zombie.id()), "{hidden}");

        let mut wait = example(".", "wait_on_pid");
        wait.arg("-d").arg(place.path()).args(["-t", "0.2"]).arg(target.id().to_string());
        assert_eq!(finish(&mut where_proc_is(hidden, &wait)).code(), 1, "{hidden}: it runs");
    }
    let mut wait = example(".", "wait_on_pid");
    wait.arg("-d").arg(place.path()).arg("-v").arg(target.id().to_string());
    let mut wait = Program::start(&mut where_proc_is(HIDDEN[0], &wait));
    assert_eq!(wait.line(), format!("wait pid={}", target.id()));
    target.hang_up();
    assert_eq!(wait.lines(), [format!("exit pid={} uid=65534", target.id())]);
    zombie.wait().expect("it is our child");
    daemon.stop();
}

#[test]
fn an_exit_that_has_begun_is_waited_for() {
    let (place, other) = (Place::new(), Place::new());
    let daemon = place.serve(&[]);
    let exiting = Exiting::begin(&other);
    let pid = exiting.program.id();
    let mut wait = example(".", "wait_on_pid");
    let mut wait = Program::start(wait.arg("-d").arg(place.path()).arg("-v").arg(pid.to_string()));
    let mut monitor = example(".", "monitor_pid");
    let mut monitor = Program::start(monitor.arg("-d").arg(place.path()).arg(pid.to_string()));
    assert_eq!(wait.line(), format!("wait pid={pid}"));
    assert_eq!(monitor.line(), format!("follow pid={pid}"));
    until("both wait", || [&wait, &monitor].iter().all(|program| waits_in(program.id(), libc::SYS_ppoll)));
    exiting.end();
    assert_eq!(wait.lines(), [format!("exit pid={pid} uid=0")]);
    assert_eq!(monitor.lines()[0], format!("exit pid={pid} uid=0"));
    assert_eq!((wait.end().code(), monitor.end().code()), (Some(0), Some(0)));
    daemon.stop();
}

#[test]
fn gone_tells_every_end() {
    let (place, other) = (Place::default_path(), Place::new());
    let daemon = place.serve(&["--mode", "666"]);
    let gone = |pid: i32| {
        let mut command = example(".", "gone");
        command.arg(pid.to_string());
        command
    };
    for pid in ["0", "x"] {
        assert_eq!(finish(example(".", "gone").arg(pid)).code(), 2);
    }
    assert_eq!(finish(&mut gone(4_194_304)).well(), "4194304 does not exist\n");

    let mut zombie = zombie();
    let dead = zombie.id() as i32;
    let expected = format!("{dead} had ended before\n");
    assert_eq!(finish(&mut gone(dead)).well(), expected);
    for hidden in HIDDEN {
        assert_eq!(finish(&mut where_proc_is(hidden, &gone(dead))).well(), expected, "{hidden}");
    }
    zombie.wait().expect("it is our child");

    let mut target = target();
    let mut waiting = Program::start(&mut gone(target.id()));
    until("it waits", || waits_in(waiting.id(), libc::SYS_poll));
    target.hang_up();
    assert_eq!(waiting.lines(), [format!("{} of user 65534 has ended", target.id())]);

    let exiting = Exiting::begin(&other);
    let pid = exiting.program.id();
    let mut waiting = Program::start(&mut gone(pid));
    until("it waits", || waits_in(waiting.id(), libc::SYS_poll));
    exiting.end();
    assert_eq!(waiting.lines(), [format!("{pid} of user 0 has ended")]);
    daemon.stop();
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let full = || File::options().write(true).open("/dev/full").expect("it is there");
    let fails = |mut command: Command, status| {
        let output = command.stdout(full()).output().expect("it can run");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{command:?}: {errors}");
        assert!(errors.contains("cannot write to standard output: No space left on device"), "{errors}");
    };
    for (name, arguments) in
        [("wait_on_pid", &["4194304"][..]), ("monitor_pid", &["--", "true"]), ("unit_test", &["-t", "30"])]
    {
        let mut command = example(".", name);
        command.arg("-d").arg(place.path()).args(arguments);
        fails(command, 3);
        let mut help = example(".", name);
        help.arg("-h");
        fails(help, 3);
    }
    daemon.stop();
    let place = Place::default_path();
    let daemon = place.serve(&[]);
    let mut command = example(".", "gone");
    command.arg("4194304");
    fails(command, 1);
    daemon.stop();
}

/// The C program in the text.
pub fn program_in(document: &str) -> String {
    let text = fs::read_to_string(project(document)).expect("it is text");
    let (_, rest) = text.split_once("```c\n").expect("there is a C program");
    rest.split_once("```\n").expect("it ends").0.to_owned()
}

#[test]
fn the_documents_program_is_gone() {
    let source = fs::read_to_string(project("c-examples/gone.c")).expect("it is text");
    assert_eq!(program_in("docs/c-interface.md"), source);
}

#[test]
fn gone_runs_as_the_document_says() {
    let place = Place::default_path();
    let mut run = Command::new(KMONITOR);
    run.args(["run", "--", "sh", "-c", "sleep 1 & \"$1\" $!", "sh"]).arg(examples().join("gone"));
    let Ended { status, output, errors } = finish(&mut run);
    assert!(status.success() && output.ends_with(" of user 0 has ended\n"), "{output}{errors}");
    place.assert_clean();
}
