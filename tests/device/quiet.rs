//! Promise P6: whoever watches nothing pays nothing, and strangers wake nobody.

use super::client::{Client, event};
use super::program::{Program, finish, until};
use super::served::{Place, Served};
use std::fs;
use std::ops::Range;
use std::process::Command;

/// Forks and exits of strangers; each makes two events at least.
const FORKS: u64 = 500;

/// Times that the daemon may wake during those, for reasons of its own: the connector's watchdog, and the answers to
/// other daemons' requests, which all listeners receive. With more of these than usual it is measured again: a daemon
/// that strangers wake is woken by each fork of each measurement.
const FEW: u64 = 20;

/// `NETLINK_CONNECTOR`
const CONNECTOR: &str = "11";

/// True if the daemon has a socket to the proc connector.
fn listens(daemon: &Served) -> bool {
    let netlink = fs::read_to_string("/proc/net/netlink").expect("/proc is mounted");
    let connectors: Vec<String> = netlink
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|columns| columns.get(1) == Some(&CONNECTOR))
        .filter_map(|columns| columns.last().map(|inode| format!("socket:[{inode}]")))
        .collect();
    let directory = fs::read_dir(format!("/proc/{}/fd", daemon.program.id())).expect("the daemon lives");
    let links = directory.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter_map(|link| link.to_str().map(str::to_owned)).any(|link| connectors.contains(&link))
}

fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
}

/// The core thread's status, when it sleeps.
fn sleeping_core(daemon: &Served) -> String {
    let tasks = format!("/proc/{}/task", daemon.program.id());
    let mut status = String::new();
    until("the core thread sleeps", || {
        let entries = fs::read_dir(&tasks).expect("the daemon lives").flatten();
        let mut all = entries.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
        status =
            all.find(|status| field(status, "Name:") == "kmonitor-core").expect("there is a core thread");
        field(&status, "State:").starts_with('S')
    });
    status
}

/// How often the core thread has gone to sleep.
fn sleeps(daemon: &Served) -> u64 {
    let count = field(&sleeping_core(daemon), "voluntary_ctxt_switches:");
    count.parse().expect("a number")
}

/// How often the daemon wakes while strangers fork.
fn wakes_by_strangers(daemon: &Served) -> u64 {
    let before = sleeps(daemon);
    let script = format!("i=0; while [ $i -lt {FORKS} ]; do (:); i=$((i+1)); done");
    finish(Command::new("sh").arg("-c").arg(script)).well();
    sleeps(daemon) - before
}

#[test]
fn without_registrations_there_is_no_subscription() {
    let place = Place::new();
    let daemon = place.serve(&["--source", "connector"]);
    assert!(!listens(&daemon));
    let mut client = Client::of(&place);
    assert!(!listens(&daemon), "an open file alone needs no events");
    until("forks wake nobody", || wakes_by_strangers(&daemon) <= FEW);

    assert_eq!(client.register(client.program.id(), event::PROCESS_FORK), Ok(0));
    until("the daemon listens", || listens(&daemon));
    assert_eq!(client.deregister(client.program.id(), event::PROCESS_FORK), Ok(0));
    until("the subscription is gone after the last deregistration", || !listens(&daemon));
    assert_eq!(client.register(client.program.id(), event::PROCESS_FORK), Ok(0));
    assert_eq!(client.close(), Ok(0));
    until("the subscription is gone after the close", || !listens(&daemon));
    daemon.stop();
}

/// A daemon that watches a target, and these numbers that nobody has.
fn forks_of_strangers_wake_nobody(source: &str, numbers: Range<i32>) {
    let place = Place::new();
    let daemon = place.serve(&["--source", source]);
    let mut target = Program::quiet(&mut Command::new("cat"));
    let mut client = Client::of(&place);
    assert_eq!(client.register(target.id(), event::ALL), Ok(0));
    for number in numbers {
        assert_eq!(client.register(number, event::ALL), Ok(0));
    }
    until("forks wake nobody", || wakes_by_strangers(&daemon) <= FEW);

    target.hang_up();
    let exit = client.take(1);
    assert_eq!((exit[0].pid, exit[0].value), (target.id(), event::PROCESS_EXIT.into()));
    daemon.stop();
}

#[test]
fn forks_of_strangers_do_not_wake_the_daemon_that_watches_a_quiet_target() {
    forks_of_strangers_wake_nobody("connector", 0..0);
}

#[test]
fn with_bpf_they_do_not_wake_it_whatever_the_number_of_registrations() {
    forks_of_strangers_wake_nobody("bpf", 0..0);
    // The highest that a task can have, which are given out last.
    forks_of_strangers_wake_nobody("bpf", (4 << 20) - 2000..4 << 20);
}

/// Ids above every pid that this machine can have.
const NOBODY: i32 = 1 << 23;

#[test]
fn many_registrations_in_turn_open_the_filter_for_a_moment_only() {
    let place = Place::new();
    let daemon = place.serve(&["--source", "connector"]);
    let mut target = Program::quiet(&mut Command::new("cat"));
    let mut client = Client::of(&place);
    for at in 0..300 {
        assert_eq!(client.register(NOBODY + at, event::ALL), Ok(0));
    }
    // Also while the filter is open: nothing is missed.
    assert_eq!(client.register(target.id(), event::PROCESS_EXIT), Ok(0));
    target.hang_up();
    assert_eq!(client.take(1).len(), 1);
    until("the filter is narrow again", || wakes_by_strangers(&daemon) <= FEW);
    // Where no filter fits, every event wakes.
    for at in 300..600 {
        assert_eq!(client.register(NOBODY + at, event::ALL), Ok(0));
    }
    until("every event wakes the daemon", || wakes_by_strangers(&daemon) > FORKS / 2);
    for at in 100..600 {
        assert_eq!(client.deregister(NOBODY + at, event::ALL), Ok(0));
    }
    until("the filter is narrow again", || wakes_by_strangers(&daemon) <= FEW);
    daemon.stop();
}

#[test]
fn a_client_that_dies_leaves_no_subscription() {
    let place = Place::new();
    let daemon = place.serve(&["--source", "connector"]);
    let mut client = Client::of(&place);
    assert_eq!(client.register(1, event::ALL), Ok(0));
    until("the daemon listens", || listens(&daemon));
    client.program.signal(nix::sys::signal::Signal::SIGKILL);
    client.program.end();
    until("the subscription is gone after the client's death", || !listens(&daemon));
    daemon.stop();
}
