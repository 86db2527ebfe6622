//! The C examples over CUSE, as they are, for 64 and 32 bits.

use super::CUSE;
use super::scenario::Scenario;
use crate::device::examples::{FOLDERS, Followed, PROGRAMS, assert_passed, static_examples};
use crate::guest::Guest;

pub const ALL: &[&Scenario] = &[&WAIT_ON_PID, &MONITOR_PID, &UNIT_TEST];

/// Puts the examples into a guest, below `/examples` as they are in their folder.
pub fn add(guest: Guest) -> Guest {
    let built = static_examples();
    let programs = FOLDERS.iter().flat_map(|folder| PROGRAMS.map(|name| format!("{folder}/{name}")));
    programs.fold(guest, |guest, program| guest.file(&format!("/examples/{program}"), built.join(program)))
}

const WAIT_ON_PID: Scenario = Scenario {
    name: "wait_on_pid",
    script: "serve daemon --node cuse
mkfifo /tmp/waits
for folder in . 32; do
    host-setpriv --reuid 65534 --clear-groups sleep 1000 &
    target=$!
    until grep -q '^Name:.sleep' /proc/$target/status; do sleep 0.05; done
    /examples/$folder/wait_on_pid -v $target >/tmp/waits &
    {
        read -r line
        echo $line
        kill $target
        cat
    } </tmp/waits | sed s/$target/TARGET/
    wait $!
    echo status $?
done
stop daemon",
    shows: "daemon: kmonitor: ready: /dev/kmonitor
wait pid=TARGET
exit pid=TARGET uid=65534
status 0
wait pid=TARGET
exit pid=TARGET uid=65534
status 0
daemon: status 0",
};

/// Until the gate opens, the shell waits for cat.
const MONITOR_PID: Scenario = Scenario {
    name: "monitor_pid",
    script: "serve daemon --node cuse >/dev/null
mkfifo /tmp/gate
for folder in . 32; do
    : >/tmp/followed
    /examples/$folder/monitor_pid -- sh -c '/bin/cat /tmp/gate; (exit 3); /bin/true; :' >>/tmp/followed 2>&1 &
    until grep -q '^fork' /tmp/followed; do sleep 0.05; done
    : >/tmp/gate
    wait $!
    status=$?
    cat /tmp/followed
    echo status $status
done
stop daemon >/dev/null",
    shows: "",
};

const UNIT_TEST: Scenario = Scenario {
    name: "unit_test",
    script: "serve daemon --node cuse >/dev/null
for folder in . 32; do
    /examples/$folder/unit_test -t 30
    echo status $?
done
stop daemon >/dev/null",
    shows: "",
};

/// What the 64- and the 32-bit program printed, which must have succeeded.
fn outputs(scenario: &Scenario) -> [String; 2] {
    let output = CUSE.output(scenario.name);
    let parts: Vec<String> = output.split_terminator("status 0\n").map(str::to_owned).collect();
    parts.try_into().unwrap_or_else(|_| panic!("not two programs that succeeded: {output}"))
}

#[test]
fn wait_on_pid_waits_for_a_process_of_another_user() {
    CUSE.shows(&WAIT_ON_PID);
}

#[test]
fn monitor_pid_follows_a_command_and_its_children() {
    for output in outputs(&MONITOR_PID) {
        let lines: Vec<String> = output.lines().map(str::to_owned).collect();
        let followed = Followed::parse(&lines);
        followed.assert_consistent();
        let shell = followed.of("follow");
        assert_eq!(followed.of("fork").len(), 3, "{output}");
        assert!(followed.of("exec").contains(&shell[0]), "{output}");
        assert!(followed.of("exit").contains(&shell[0]), "{output}");
    }
}

#[test]
fn the_unit_test_passes() {
    for output in outputs(&UNIT_TEST) {
        assert_passed(&output);
    }
}
