//! `--abort-events`: the two events that the original declares and never sends.

use super::client::{Client, Signalled, event};
use super::program::Program;
use super::served::Place;
use nix::sys::signal::Signal;
use std::process::Command;

const OPTION: &str = "--abort-events";

/// What a monitor of everything sees of a process that a signal ends.
fn death_by(signal: Signal, options: &[&str]) -> Vec<Signalled> {
    let place = Place::new();
    let daemon = place.serve(options);
    let mut client = Client::of(&place);
    let mut target = Program::quiet(Command::new("sh").args(["-c", "ulimit -c 0; exec cat"]));
    assert_eq!(client.register(target.id(), event::ALL), Ok(0));
    target.signal(signal);
    assert!(!target.end().success());
    // What has happened is signalled when this returns.
    assert_eq!(client.deregister(target.id(), event::ALL), Ok(0));
    let signals = client.pending();
    daemon.stop();
    signals
}

fn values(signals: &[Signalled]) -> Vec<i64> {
    signals.iter().map(|signalled| signalled.value).collect()
}

#[test]
fn a_process_that_a_signal_ends_aborts_and_then_exits() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGSEGV] {
        let signals = death_by(signal, &[OPTION]);
        let pid = signals[0].pid;
        let expected = [event::PROCESS_ABORT, event::PROCESS_EXIT].map(|e| Signalled::of(pid, 0, e));
        assert_eq!(signals, expected, "{signal}");
    }
}

#[test]
fn without_the_option_it_only_exits() {
    assert_eq!(values(&death_by(Signal::SIGKILL, &[])), [i64::from(event::PROCESS_EXIT)]);
}

/// What a monitor of everything sees, in so many signals, of a thread and of its process's main thread when `end`
/// ends them.
fn end_of_thread(count: usize, end: impl FnOnce(&mut Program)) -> (Vec<i64>, Vec<i64>) {
    let place = Place::new();
    let daemon = place.serve(&[OPTION]);
    let mut target = Client::start();
    let (process, thread) = (target.program.id(), target.thread());
    let mut client = Client::of(&place);
    assert_eq!(client.register(process, event::ALL), Ok(0));
    assert_eq!(client.register(thread, event::ALL), Ok(0));
    end(&mut target.program);
    target.program.end();
    // The kernel may report a thread's end a moment after its process was waited for.
    let signals = client.take(count);
    assert_eq!(client.deregister(process, event::ALL), Ok(0));
    assert_eq!(client.deregister(thread, event::ALL), Ok(0));
    assert_eq!(client.pending(), [], "after {signals:?}");
    daemon.stop();
    let of = |pid| signals.iter().filter(|signalled| signalled.pid == pid).map(|s| s.value).collect();
    (of(thread), of(process))
}

#[test]
fn a_thread_of_a_killed_process_aborts_and_then_exits() {
    let (thread, process) = end_of_thread(4, |target| target.signal(Signal::SIGKILL));
    assert_eq!(thread, [event::THREAD_ABORT, event::THREAD_EXIT].map(i64::from));
    assert_eq!(process, [event::PROCESS_ABORT, event::PROCESS_EXIT].map(i64::from));
}

#[test]
fn an_ordinary_end_aborts_nothing() {
    let (thread, process) = end_of_thread(2, Program::hang_up);
    assert_eq!(thread, [i64::from(event::THREAD_EXIT)]);
    assert_eq!(process, [i64::from(event::PROCESS_EXIT)]);
}
