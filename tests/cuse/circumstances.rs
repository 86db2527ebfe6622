//! What the clients of `tests/device/clients` check, on the character device that udev attends to.

use super::scenario::{Scenario, Stage, guest, play};
use super::udev::with_udev;
use crate::device::client::{build, build_32};

/// A name of its own, a client, how it is built, and what it is told.
const ROUNDS: &[(&str, &str, &str)] = &[
    ("interrupted", "interrupted", "20 100"),
    ("traced monitor", "traced", "monitor 3"),
    ("traced target", "traced", "target 3"),
    ("confined", "confined", ""),
    ("asynchronous", "asynchronous", "5"),
    ("thread_reuse", "thread_reuse", "100"),
    ("watched_node", "watched_node", "10"),
    ("helpers keep", "helpers", "keep 5"),
    ("helpers dup", "helpers", "dup 5"),
    ("reuse", "reuse", "20"),
    ("storm", "storm", "500"),
    ("storm of 32 bits", "storm32", "500"),
    ("races of 32 bits", "race32", "close during fork 200"),
];

static ATTENDED: Stage = Stage::new(|| {
    let mut played = with_udev(guest()?)?;
    for client in ["interrupted", "traced", "confined", "asynchronous", "thread_reuse", "watched_node"] {
        played = played.program(&format!("/clients/{client}"), build(client));
    }
    for client in ["helpers", "reuse", "storm"] {
        played = played.program(&format!("/clients/{client}"), build(client));
    }
    for client in ["storm", "race"] {
        played = played.program(&format!("/clients/{client}32"), build_32(client));
    }
    for (name, client, told) in ROUNDS {
        let script = format!(
            ". /vocabulary\nfresh\nserve daemon --node cuse\n/clients/{client} $path {told}\necho status $?\nstop daemon"
        );
        played = played.step(name, &script);
    }
    play(played, &[&CLOCK])
});

/// Neither a step of the clock back nor one far ahead is seen by the device's users.
const CLOCK: Scenario = Scenario {
    name: "clock",
    script: "serve daemon --node cuse
client watcher
target
tell watcher \"open $path\"
tell watcher \"register $target 64 40\"
date -s @1000000 >/dev/null
date -s @4000000000 >/dev/null
kill $target
tell watcher 'take 1'
tell watcher close
date -s @1000000 >/dev/null
hears watcher
stop daemon
complaints daemon",
    shows: "daemon: kmonitor: ready: /dev/kmonitor
watcher: open: 0
watcher: register: 0
watcher: take: 40:-1:0:TARGET:0:64
watcher: close: 0
watcher: open: 0
watcher: register: 0
watcher: take: 40:-1:0:TARGET:0:64
watcher: close: 0
daemon: status 0
daemon: kmonitor: the device is a CUSE character device, as asked for",
};

#[test]
fn what_odd_clients_check_holds_on_the_character_device() {
    let wrong: Vec<String> = ROUNDS
        .iter()
        .map(|(name, ..)| (name, ATTENDED.output(name)))
        .filter(|(_, output)| !output.contains("\nstatus 0\n") || !output.ends_with("daemon: status 0\n"))
        .map(|(name, output)| format!("{name}:\n{output}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn steps_of_the_clock_change_nothing_on_the_character_device() {
    ATTENDED.shows(&CLOCK);
}
