//! What a client with bad intentions, or bad luck, cannot do to the others.

use super::promises::holds;

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
    holds("helpers", &["dup", "50"]);
}
