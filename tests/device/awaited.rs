//! Exits that the proc connector reports after their end, and that the daemon is awake for, since a BPF program has
//! let it know that they begin.

use super::client::{Client, Signalled, event};
use super::program::{Program, until};
use super::served::{Place, Served};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// More than the daemon's sleep must take to be worth a warning.
const SLEEP: Duration = Duration::from_millis(50);

/// The processors on which tests may run.
fn processors() -> Vec<String> {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("the kernel tells");
    (0..CpuSet::count()).filter(|at| set.is_set(*at) == Ok(true)).map(|at| at.to_string()).collect()
}

/// Has targets end, until the daemon was awake for one. Each must be told of by these events, once.
fn until_awaited(daemon: &Served, place: &Place, end: fn(&mut Program), told: &[i32]) {
    let processors = processors();
    assert!(processors.len() > 1, "this machine has one processor: the test needs another one");
    // Why the kernel refuses the BPF program, if it does.
    assert_eq!(daemon.complaints(), "");
    let mut client = Client::of(place);
    // Wherever the daemon sleeps, one of them is another.
    let mut turn = processors.iter().cycle();
    until("the daemon was awake for an exit", || {
        let processor = turn.next().expect("it has no end");
        let mut target = Program::quiet(Command::new("taskset").args(["-c", processor, "cat"]));
        assert_eq!(client.register(target.id(), event::ALL), Ok(0));
        // Only a daemon that has slept is warned.
        thread::sleep(SLEEP);
        end(&mut target);
        target.end();
        let expected: Vec<_> = told.iter().map(|event| Signalled::of(target.id(), 0, *event)).collect();
        assert_eq!(client.take(told.len()), expected);
        assert_eq!(client.deregister(target.id(), event::ALL), Ok(0));
        assert_eq!(client.pending(), []);
        daemon.counter("exits_awaited") > 0
    });
    assert_eq!(daemon.counter("exits_recovered"), 0);
}

#[test]
fn the_daemon_is_awake_for_an_exit_on_another_processor_and_tells_it_once() {
    let place = Place::new();
    let daemon = place.serve(&["--source", "connector"]);
    until_awaited(&daemon, &place, Program::hang_up, &[event::PROCESS_EXIT]);
    daemon.stop_complaining();
}

#[test]
fn an_awaited_death_by_signal_is_announced_before_it_is_told() {
    let place = Place::new();
    let daemon = place.serve(&["--source", "connector", "--abort-events"]);
    let kill = |target: &mut Program| target.signal(Signal::SIGKILL);
    until_awaited(&daemon, &place, kill, &[event::PROCESS_ABORT, event::PROCESS_EXIT]);
    daemon.stop_complaining();
}
