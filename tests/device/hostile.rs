//! What a client with bad intentions, or bad luck, cannot do to the others.

use super::promises::holds;

#[test]
fn an_ioctl_whose_pointer_nobody_serves_is_answered_at_once() {
    holds("unserved", &[]);
}
