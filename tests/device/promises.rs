//! Promises P2 to P4 under load: in time, in order, nothing lost, nothing twice, nothing late.
//! The clients say what they check.

use super::client::{Client, SIGNAL, build, event};
use super::program::{LONG, Program, finish_within};
use super::served::Place;
use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

const CHILDREN: &str = "2000";
/// More than the daemon handles before it turns to requests.
const BACKLOG: usize = 500;

const ROUNDS: &str = "10000";

/// Runs a client that checks a promise itself.
pub fn holds(client: &str, arguments: &[&str]) {
    holds_for(&build(client), arguments);
}

/// Runs this program, which checks a promise itself.
pub fn holds_for(client: &Path, arguments: &[&str]) {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let ended = finish_within(LONG, Command::new(client).arg(place.path()).args(arguments));
    let name = client.display();
    assert!(ended.status.success(), "{name} {arguments:?}:\n{}{}", ended.output, ended.errors);
    println!("{name} {arguments:?}: {}", ended.output.trim_end());
    daemon.stop();
}

#[test]
fn two_thousand_children_are_signalled_once_each_and_in_the_order_of_their_forks() {
    holds("storm", &[CHILDREN]);
}

#[test]
fn a_fork_before_a_close_is_signalled_by_its_return() {
    holds("race", &["close", "before", "fork", ROUNDS]);
}

#[test]
fn an_exit_before_a_close_is_signalled_by_its_return() {
    holds("race", &["close", "before", "exit", ROUNDS]);
}

#[test]
fn no_fork_is_signalled_after_a_close_has_returned() {
    holds("race", &["close", "during", "fork", ROUNDS]);
}

#[test]
fn no_exit_is_signalled_after_a_close_has_returned() {
    holds("race", &["close", "during", "exit", ROUNDS]);
}

#[test]
fn a_fork_before_a_deregister_is_signalled_by_its_return() {
    holds("race", &["deregister", "before", "fork", ROUNDS]);
}

#[test]
fn an_exit_before_a_deregister_is_signalled_by_its_return() {
    holds("race", &["deregister", "before", "exit", ROUNDS]);
}

#[test]
fn no_fork_is_signalled_after_a_deregister_has_returned() {
    holds("race", &["deregister", "during", "fork", ROUNDS]);
}

#[test]
fn no_exit_is_signalled_after_a_deregister_has_returned() {
    holds("race", &["deregister", "during", "exit", ROUNDS]);
}

#[test]
fn nobody_is_signalled_who_has_got_a_dead_monitors_pid() {
    holds("reuse", &["1000"]);
}

/// The daemon finds a call that ends a registration behind a backlog of its events.
fn backlog_is_signalled_before(call: &str, syscall: libc::c_long) {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let script =
        format!("read line; i=0; while [ $i -lt {BACKLOG} ]; do (:); i=$((i+1)); done; echo done; read line");
    let mut target = Program::start(Command::new("sh").arg("-c").arg(script));
    let mut client = Client::of(&place);
    assert_eq!(client.register(target.id(), event::PROCESS_FORK), Ok(0));
    daemon.pause();
    target.say("");
    assert_eq!(target.line(), "done");
    client.begin(&call.replace("PID", &target.id().to_string()), syscall);
    daemon.resume();
    assert_eq!(client.result(), Ok(0));
    let signals = client.pending();
    let children: HashSet<i32> = signals.iter().map(|signalled| signalled.pid).collect();
    assert_eq!((signals.len(), children.len()), (BACKLOG, BACKLOG));
    let value = i64::from(event::PROCESS_FORK);
    assert!(signals.iter().all(|s| (s.signal, s.value) == (SIGNAL, value)), "{signals:?}");
    daemon.stop();
    assert_eq!(client.pending(), []);
}

#[test]
fn a_backlog_is_signalled_before_a_deregister_returns() {
    backlog_is_signalled_before(&format!("deregister PID {}", event::PROCESS_FORK), libc::SYS_ioctl);
}

#[test]
fn a_backlog_is_signalled_before_a_close_returns() {
    backlog_is_signalled_before("close", libc::SYS_close);
}
