//! What a client with bad intentions, or bad luck, cannot do to the others.

use super::client::build;
use super::program::{LONG, finish_within};
use super::promises::holds;
use super::served::Place;
use std::process::Command;

#[test]
fn an_ioctl_whose_pointer_nobody_serves_is_answered_at_once() {
    holds("unserved", &[]);
}

#[test]
fn a_deregister_through_another_open_is_owed_what_slow_closers_hold_back() {
    holds("helpers", &["keep", "50"]);
}

#[test]
fn also_when_the_monitor_itself_has_closed_a_descriptor_of_the_file() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let mut client = Command::new(build("helpers"));
    finish_within(LONG, client.arg(place.path()).args(["dup", "50"])).well();
    assert!(daemon.counter("held") > 0, "no close held a signal back");
    assert_eq!(daemon.counter("delayed"), 0, "no queue of a monitor was full");
}
