//! How the device comes and goes, and what its clients notice.

use super::CUSE;
use super::scenario::Scenario;

pub const ALL: &[&Scenario] = &[&KILLED, &KILLED_IN_A_CALL, &STOPPED, &SECOND, &SECOND_AT_ONCE, &TURNS];

const KILLED: Scenario = Scenario {
    name: "killed",
    script: "serve first --node cuse
client old
hears old
tell old 'open /dev/kmonitor'
target
tell old \"register $target 64 40\"
watched=$target
crash first
node
tell old \"register $target 64 40\"
client new
tell new 'open /dev/kmonitor'
serve second --node cuse
tell old \"register $target 64 40\"
kill $watched
hears new
tell old pending
tell old close
hears old
stop second
node",
    shows: "first: kmonitor: ready: /dev/kmonitor
old: open: 0
old: register: 0
old: take: 40:-1:0:TARGET:0:64
old: close: 0
old: open: 0
old: register: 0
first: status 137
node: none
old: register: ENOTCONN
new: open: ENOENT
second: kmonitor: ready: /dev/kmonitor
old: register: ENOTCONN
new: open: 0
new: register: 0
new: take: 40:-1:0:TARGET:0:64
new: close: 0
old: pending: 
old: close: 0
old: open: 0
old: register: 0
old: take: 40:-1:0:TARGET:0:64
old: close: 0
second: status 0
node: none",
};

/// The system calls are those of 64-bit programs: openat, ioctl and close.
const KILLED_IN_A_CALL: Scenario = Scenario {
    name: "killed in a call",
    script: "serve first --node cuse
for name in opens calls closes; do client $name; done
tell calls 'open /dev/kmonitor'
tell closes 'open /dev/kmonitor'
pause first
begin opens 257 'open /dev/kmonitor'
begin calls 16 'register 1 64 40'
begin closes 3 close
crash first
answer opens open
answer calls register
answer closes close
tell calls close
node",
    shows: "first: kmonitor: ready: /dev/kmonitor
calls: open: 0
closes: open: 0
first: status 137
opens: open: ECONNABORTED
calls: register: ECONNABORTED
closes: close: 0
calls: close: 0
node: none",
};

// The daemon is a background job here, in which SIGINT is ignored, and stays so.
const STOPPED: Scenario = Scenario {
    name: "stopped",
    script: "for signal in TERM HUP; do
    serve daemon --node cuse
    client holder
    tell holder 'open /dev/kmonitor'
    tell holder 'register 1 64 40'
    signal $signal daemon
    ended daemon
    node
    tell holder 'register 1 64 40'
    tell holder close
done
complaints daemon",
    shows: "daemon: kmonitor: ready: /dev/kmonitor
holder: open: 0
holder: register: 0
daemon: status 0
node: none
holder: register: ENOTCONN
holder: close: 0
daemon: kmonitor: ready: /dev/kmonitor
holder: open: 0
holder: register: 0
daemon: status 0
node: none
holder: register: ENOTCONN
holder: close: 0
daemon: kmonitor: the device is a CUSE character device, as asked for",
};

const SECOND: Scenario = Scenario {
    name: "second",
    script: "for carrier in cuse fuse; do
    serve first --node $carrier
    for other in cuse fuse auto; do serve $other --node $other; done
    client new
    hears new
    stop first
done
serve first --node cuse
pause first
serve cuse --node cuse
serve fuse --node fuse
signal CONT first
rm /dev/kmonitor
serve cuse --node cuse
stop first
node",
    shows: "first: kmonitor: ready: /dev/kmonitor
cuse: status 1
cuse: kmonitor: /dev/kmonitor is already served by another kmonitor: ...stop it first...--path
fuse: status 1
fuse: kmonitor: /dev/kmonitor is already served by another kmonitor: ...stop it first...--path
auto: status 1
auto: kmonitor: /dev/kmonitor is already served by another kmonitor: ...stop it first...--path
new: open: 0
new: register: 0
new: take: 40:-1:0:TARGET:0:64
new: close: 0
first: status 0
first: kmonitor: ready: /dev/kmonitor
cuse: status 1
cuse: kmonitor: /dev/kmonitor is already served by another kmonitor: ...stop it first...--path
fuse: status 1
fuse: kmonitor: /dev/kmonitor is already served by another kmonitor: ...stop it first...--path
auto: status 1
auto: kmonitor: /dev/kmonitor is already served by another kmonitor: ...stop it first...--path
new: open: 0
new: register: 0
new: take: 40:-1:0:TARGET:0:64
new: close: 0
first: status 0
first: kmonitor: ready: /dev/kmonitor
cuse: status 1
cuse: kmonitor: /dev/kmonitor is already served by another kmonitor: ...
fuse: status 1
fuse: kmonitor: /dev/kmonitor is already served by another kmonitor: ...
cuse: status 1
cuse: kmonitor: /dev/kmonitor is already served by another kmonitor: ...
first: status 0
node: none",
};

/// Both may find the place free; the kernel takes one of them.
const SECOND_AT_ONCE: Scenario = Scenario {
    name: "second at once",
    script: "for round in 1 2 3 4 5 6 7 8 9 10; do
    serve one --node cuse >/tmp/one &
    one=$!
    serve two --node cuse >/tmp/two
    wait $one
    grep -h ' ready: \\| status ' /tmp/one /tmp/two | sed 's/^...: //' | sort
    node
    client new
    hears new
    for daemon in one two; do grep -q ' ready: ' /tmp/$daemon && stop $daemon | sed 's/^...: //'; done
    node
done | sort | uniq -c",
    shows: "     10 kmonitor: ready: /dev/kmonitor
     10 new: close: 0
     10 new: open: 0
     10 new: register: 0
     10 new: take: 40:-1:0:TARGET:0:64
     10 node: a device of CUSE
     10 node: character special file 600 root:root
     10 node: none
     10 status 0
     10 status 1",
};

const TURNS: Scenario = Scenario {
    name: "turns",
    script: "for round in 1 2 3 4 5; do
    serve daemon --node cuse
    crash daemon
    serve daemon --node fuse
    crash daemon
done | sort | uniq -c
serve daemon --node cuse
stop daemon
node",
    shows: "     10 daemon: kmonitor: ready: /dev/kmonitor
     10 daemon: status 137
daemon: kmonitor: ready: /dev/kmonitor
daemon: status 0
node: none",
};

#[test]
fn a_killed_daemons_clients_hear_of_it_and_the_next_daemon_serves_again() {
    CUSE.shows(&KILLED);
}

#[test]
fn calls_that_wait_for_a_daemon_return_when_it_is_killed() {
    CUSE.shows(&KILLED_IN_A_CALL);
}

#[test]
fn a_daemon_that_is_told_to_end_takes_the_device_away_while_clients_hold_it() {
    CUSE.shows(&STOPPED);
}

#[test]
fn a_second_daemon_is_refused_over_either_carrier_and_the_first_serves_on() {
    CUSE.shows(&SECOND);
}

#[test]
fn of_two_daemons_at_once_one_serves_and_the_other_harms_it_not() {
    CUSE.shows(&SECOND_AT_ONCE);
}

#[test]
fn the_carriers_take_turns_at_what_a_killed_daemon_left() {
    CUSE.shows(&TURNS);
}
