//! Monitors and targets in odd circumstances: interrupted, traced, confined, stopped in a call, with asynchronous
//! input and output, with numbers that come back, beside another daemon that is attacked. The clients say what
//! they check.

use super::client::{Client, SIGNAL, Signalled, build, build_32, event, project};
use super::program::{LONG, Program, Reachable, finish, finish_within, is_in_state, until};
use super::promises::{holds, holds_for};
use super::served::Place;
use nix::sys::signal::Signal;
use std::fs;
use std::process::Command;

#[test]
fn every_client_has_a_help_text() {
    for entry in fs::read_dir(project("tests/device/clients")).expect("the clients are there") {
        let source = entry.expect("it is readable").path();
        if source.extension().is_some_and(|extension| extension == "c") {
            let name = source.file_stem().and_then(|stem| stem.to_str()).expect("a name");
            let help = finish(Command::new(build(name)).arg("-h")).well();
            assert!(help.starts_with(&format!("usage: {name}")) && help.lines().count() > 2, "{help}");
        }
    }
}

#[test]
fn calls_that_signals_interrupt_are_exact() {
    holds("interrupted", &["200", "100"]);
}

#[test]
fn a_traced_monitor_is_signalled_everything() {
    holds("traced", &["monitor", "20"]);
}

#[test]
fn a_traced_target_is_signalled_entirely() {
    holds("traced", &["target", "20"]);
}

#[test]
fn a_monitor_with_a_seccomp_filter_needs_few_calls() {
    holds("confined", &[]);
}

#[test]
fn asynchronous_reads_writes_and_closes_harm_nothing() {
    holds("asynchronous", &["50"]);
}

#[test]
fn a_thread_id_that_is_used_again_and_again_is_signalled_each_time() {
    holds("thread_reuse", &["1000"]);
}

#[test]
fn watchers_of_the_node_do_not_disturb_its_users() {
    holds("watched_node", &["100"]);
}

#[test]
fn a_32_bit_client_is_exact_under_load() {
    holds_for(&build_32("storm"), &["2000"]);
    for how in [["close", "before"], ["deregister", "during"]] {
        holds_for(&build_32("race"), &[how[0], how[1], "fork", "2000"]);
    }
}

/// A client that waits in a REGISTER of its target, of a daemon that is stopped.
#[test]
fn a_client_that_is_stopped_in_a_call_gets_its_answer_when_it_goes_on() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let mut target = Program::quiet(&mut Command::new("cat"));
    let mut client = Client::of(&place);
    daemon.pause();
    let line = format!("register {} {} {}", target.id(), event::PROCESS_EXIT, SIGNAL);
    client.begin(&line, libc::SYS_ioctl);
    client.program.signal(Signal::SIGSTOP);
    daemon.resume();
    until("the client is stopped", || is_in_state(client.program.id(), 'T'));
    target.hang_up();
    target.end();
    // The registration was made though its owner is stopped, and so is its signal.
    until("the signal is sent", || daemon.counter("signals") == 1);
    client.program.signal(Signal::SIGCONT);
    assert_eq!(client.result(), Ok(0));
    assert_eq!(client.take(1), [Signalled::of(target.id(), 0, event::PROCESS_EXIT)]);
}

#[test]
fn a_client_that_is_killed_in_a_call_leaves_nothing() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let mut target = Program::quiet(&mut Command::new("cat"));
    let mut client = Client::of(&place);
    daemon.pause();
    let line = format!("register {} {} {}", target.id(), event::PROCESS_EXIT, SIGNAL);
    client.begin(&line, libc::SYS_ioctl);
    client.program.signal(Signal::SIGKILL);
    daemon.resume();
    client.program.end();
    target.hang_up();
    target.end();
    // Another one finds the device as it was.
    let mut other = Client::of(&place);
    let mut target = Program::quiet(&mut Command::new("cat"));
    assert_eq!(other.register(target.id(), event::PROCESS_EXIT), Ok(0));
    target.hang_up();
    assert_eq!(other.take(1), [Signalled::of(target.id(), 0, event::PROCESS_EXIT)]);
    assert_eq!(daemon.counter("signals"), 1);
}

#[test]
fn a_daemon_beside_one_that_is_attacked_is_exact() {
    let (place, other) = (Place::new(), Place::new());
    let daemon = place.serve(&[]);
    let attacked = other.serve(&["--mode", "666"]);
    let flood = Reachable::new(build("flood"));
    let attackers: Vec<Program> = (0..2).map(|_| Program::start(flood.by(65534).arg(other.path()))).collect();
    for client in [&["storm", "1000"][..], &["race", "close", "before", "fork", "1000"]] {
        let mut command = Command::new(build(client[0]));
        let ended = finish_within(LONG, command.arg(place.path()).args(&client[1..]));
        assert!(ended.status.success(), "{client:?}:\n{}{}", ended.output, ended.errors);
    }
    drop(attackers);
    daemon.stop();
    attacked.stop();
}
