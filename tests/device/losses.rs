//! Promise P4 where the proc connector's queue of events runs over: what can be known is told, the rest counted.

use super::client::{Client, Signalled, event};
use super::program::{Program, until, waits_in};
use super::served::Place;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A queue with room for 256 events, as the kernel makes them by default.
const SMALL: [&str; 4] = ["--source", "connector", "--event-buffer", "212992"];

const FORKS: usize = 1000;
const EXITS: usize = 20;

/// A shell that makes children when it is told to, and says when it has.
fn flood() -> Program {
    let script =
        format!("read line; i=0; while [ $i -lt {FORKS} ]; do (:); i=$((i+1)); done; echo done; read line");
    Program::start(Command::new("sh").arg("-c").arg(script))
}

#[test]
fn exits_execs_and_ends_of_threads_that_the_queue_lost_are_told_once_and_the_rest_is_counted() {
    let place = Place::new();
    let daemon = place.serve(&SMALL);
    let (mut client, mut counting, mut threaded) = (Client::of(&place), Client::of(&place), Client::start());
    let mut flood = flood();
    assert_eq!(counting.register(flood.id(), event::PROCESS_FORK), Ok(0));
    let mut ending: Vec<Program> = (0..EXITS).map(|_| Program::quiet(&mut Command::new("cat"))).collect();
    for target in &ending {
        assert_eq!(client.register(target.id(), event::PROCESS_EXIT), Ok(0));
    }
    let mut other = Program::start(Command::new("sh").args(["-c", "echo begun; read line; exec cat"]));
    assert_eq!(other.line(), "begun");
    assert_eq!(client.register(other.id(), event::ALL), Ok(0));
    let thread = threaded.thread();
    assert_eq!(client.register(thread, event::ALL), Ok(0));

    daemon.pause();
    flood.say("");
    assert_eq!(flood.line(), "done");
    threaded.end_thread();
    other.say("");
    let comm = format!("/proc/{}/comm", other.id());
    until("the shell has executed another program", || {
        fs::read_to_string(&comm).is_ok_and(|name| name == "cat\n") && waits_in(other.id(), libc::SYS_read)
    });
    let task = format!("/proc/{}/task/{thread}", threaded.program.id());
    until("the thread is gone", || !Path::new(&task).exists());
    for target in &mut ending {
        target.hang_up();
        target.end();
    }
    daemon.resume();

    let told = client.take(EXITS + 2);
    for target in &ending {
        assert!(told.contains(&Signalled::of(target.id(), 0, event::PROCESS_EXIT)), "{told:?}");
    }
    assert!(told.contains(&Signalled::of(other.id(), 0, event::PROCESS_EXEC)), "{told:?}");
    assert!(told.contains(&Signalled::of(thread, 0, event::THREAD_EXIT)), "{told:?}");
    let forks = counting.pending().len();
    assert!((1..FORKS).contains(&forks), "the queue did not run over: {forks} forks were told");
    // The counters come after the signals. Answers to other listeners' requests are counted too.
    until("all that was lost is counted", || forks + daemon.counter("events_lost") as usize >= FORKS);
    assert_eq!(daemon.counter("exits_recovered") as usize, EXITS + 1);
    assert_eq!(daemon.counter("execs_recovered"), 1);

    // Afterwards everything is as before, and nothing comes twice.
    other.hang_up();
    other.end();
    assert_eq!(client.take(1), [Signalled::of(other.id(), 0, event::PROCESS_EXIT)]);
    assert_eq!(client.pending(), []);
    let complaints = daemon.stop_complaining();
    assert!(complaints.contains("kernel dropped events"), "{complaints}");
}
