//! A proc connector that stops sending events, and clocks that jump: in a guest, since both would befall every
//! daemon of this machine.

use super::client::build;
use super::served::KMONITOR;
use crate::guest::{Guest, GuestError};

/// A client at the end of a pipe, and a target that forks at each line, says so, and ends at the end of its own.
const BEGIN: &str = "mkfifo /tmp/said /tmp/client /tmp/target /tmp/forked
(kmonitor serve --source connector --node fuse >/tmp/said 2>/tmp/errors &)
read -r ready </tmp/said
until_more() { until [ \"$(wc -l <$1)\" -gt $2 ]; do sleep 0.05; done; }
answers() { lines=$(wc -l </tmp/signals); echo \"$1\" >&3; until_more /tmp/signals $lines; }
: >/tmp/signals
client </tmp/client >>/tmp/signals & exec 3>/tmp/client
sh -c 'while read -r line; do (:); echo; done' </tmp/target >/tmp/forked & target=$!
exec 4>/tmp/target 5</tmp/forked
signals() { sleep 1; answers pending; tail -n 1 /tmp/signals | tr ' ' '\\n' | sed \"s/:$target:/:target:/\"; }
forks() { signals | grep -c ':8$'; }
fork_once() { echo >&4; read -r forked <&5; }
# What must come is waited for; a step that hangs shows what does not.
signal() { until said=$(signals) && [ -n \"$said\" ]; do :; done; echo \"$said\"; }
fork() { fork_once; until said=$(forks) && [ $said -gt 0 ]; do :; done; echo $said; }
found_out() { grep -c 'had stopped sending' /tmp/errors; }
pause() {
    killall -STOP kmonitor
    for pid in $(pidof kmonitor); do
        while grep -q '^State:.[^T]' /proc/$pid/task/*/status; do sleep 0.05; done
    done
}
# Without the daemon's mending it meanwhile.
silently() {
    pause
    silence 1
    $1
    killall -CONT kmonitor
}
answers 'open /dev/kmonitor'
answers \"register $target 72 40\"
fork
";

const END: &str = "
killall -USR1 kmonitor; until grep -q deafnesses= /tmp/errors; do sleep 0.05; done
found_out
sed -n 's/.*\\(deafnesses=[0-9]*\\).*/\\1/p' /tmp/errors
eavesdrop
killall kmonitor; while pidof kmonitor >/dev/null; do sleep 0.1; done
eavesdrop";

/// What the middle printed; the daemon's account of it; and whether the kernel makes events while the daemon watches
/// and once it has ended, which it should not.
fn in_the_guest(middle: &str) -> Result<String, GuestError> {
    let report = Guest::new()?
        .program("/bin/kmonitor", KMONITOR)
        .program("/bin/client", build("client"))
        .program("/bin/silence", build("silence"))
        .program("/bin/eavesdrop", build("eavesdrop"))
        .module("fuse")
        .step("all", &format!("{BEGIN}{middle}{END}"))
        .run()?;
    Ok(report.step("all").text().into_owned())
}

#[test]
fn a_kernel_that_was_made_to_stop_sending_is_made_to_send_again() -> Result<(), GuestError> {
    // While nothing is sent a fork is missed and an exit is not.
    let seen = in_the_guest(
        "silently fork_once; forks; until [ $(found_out) = 1 ]; do sleep 0.05; done; fork
        hang_up() { exec 4>&-; while [ -e /proc/$target/exe ]; do sleep 0.05; done; }
        silently hang_up; signal; until [ $(found_out) = 2 ]; do sleep 0.05; done",
    )?;
    assert_eq!(seen, "1\n0\n1\n40:-1:0:target:0:64\n2\ndeafnesses=2\nevents\nnothing\n");
    Ok(())
}

#[test]
fn while_a_program_silences_the_kernel_all_the_time_exits_are_told_and_then_everything_is()
-> Result<(), GuestError> {
    let seen = in_the_guest(
        "sleep 1000 & sleeper=$!; answers \"register $sleeper 64 41\"
        (while :; do silence 200; sleep 0.05; done) & attacker=$!
        sleep 3; signals; kill $sleeper; signal | sed s/:$sleeper:/:sleeper:/
        kill $attacker; until fork_once && forks | grep -q 1; do :; done; fork",
    )?;
    assert!(seen.starts_with("1\n\n41:-1:0:sleeper:0:64\n1\n"), "{seen}");
    assert!(seen.ends_with("\nevents\nnothing\n"), "{seen}");
    Ok(())
}

#[test]
fn a_count_of_listeners_that_is_far_too_low_is_mended_and_a_daemon_starts_meanwhile() -> Result<(), GuestError>
{
    let seen = in_the_guest(
        "mkfifo /tmp/second_said /tmp/second_client
        sleep 1000 & sleeper=$!
        pause; silence 100000
        (kmonitor serve --source connector --node fuse --path /tmp/second >/tmp/second_said 2>/tmp/second_errors &)
        read -r ready </tmp/second_said; echo second
        : >/tmp/second_signals
        client </tmp/second_client >>/tmp/second_signals & exec 6>/tmp/second_client
        echo 'open /tmp/second' >&6; echo \"register $sleeper 64 41\" >&6
        until_more /tmp/second_signals 1; tail -n 1 /tmp/second_signals
        killall -CONT kmonitor
        kill $sleeper; echo 'take 1' >&6; until_more /tmp/second_signals 2
        tail -n 1 /tmp/second_signals | sed s/:$sleeper:/:sleeper:/
        until fork_once && [ $(forks) -gt 0 ]; do :; done; echo mended",
    )?;
    assert!(seen.starts_with("1\nsecond\n0\n41:-1:0:sleeper:0:64\nmended\n"), "{seen}");
    assert!(seen.ends_with("\nevents\nnothing\n"), "{seen}");
    Ok(())
}

#[test]
fn steps_of_the_clock_change_nothing() -> Result<(), GuestError> {
    let seen = in_the_guest("date -s @1000000 >/dev/null; fork; date -s @4000000000 >/dev/null; fork; fork")?;
    assert_eq!(seen, "1\n1\n1\n1\n0\ndeafnesses=0\nevents\nnothing\n");
    Ok(())
}
