//! What the daemon may still do once it serves.

use super::program::{finish, until};
use super::served::Place;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::Command;

const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_KILL: u32 = 5;
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_NICE: u32 = 23;

/// The fields of a thread's status.
fn fields(status: &str) -> BTreeMap<&str, &str> {
    status.lines().filter_map(|line| line.split_once(":\t")).collect()
}

#[test]
fn each_thread_has_the_capabilities_that_it_needs_and_cannot_gain_others() {
    let place = Place::new();
    let daemon = place.serve(&["--node", "fuse"]);
    let mut seen = Vec::new();
    for task in fs::read_dir(format!("/proc/{}/task", daemon.program.id())).expect("it lives").flatten() {
        let status = fs::read_to_string(task.path().join("status")).expect("the thread lives");
        let fields = fields(&status);
        let name = fields["Name"];
        let expected: &[u32] = match name {
            "kmonitor" => &[CAP_SYS_ADMIN, CAP_DAC_OVERRIDE, CAP_KILL],
            "kmonitor-core" => &[CAP_KILL, CAP_SYS_PTRACE, CAP_NET_ADMIN, CAP_SYS_NICE],
            "kmonitor-log" | "kmonitor-output" => &[],
            other => panic!("what is thread {other}?"),
        };
        let mask = expected.iter().fold(0u64, |mask, capability| mask | 1 << capability);
        for set in ["CapEff", "CapPrm"] {
            assert_eq!(fields[set], format!("{mask:016x}"), "{name}: {set}");
        }
        assert_eq!(fields["CapInh"], format!("{:016x}", 0), "{name}");
        assert_eq!((fields["NoNewPrivs"], fields["Seccomp"]), ("1", "2"), "{name}");
        seen.push(name.to_owned());
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    daemon.stop();
}

#[test]
fn the_core_goes_before_ordinary_programs_and_nothing_else_does() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let ahead = || -> Vec<String> {
        // The core takes its place when it first runs, and again whenever it has slept.
        drop(File::options().write(true).open(place.path()).expect("the device opens"));
        let tasks = fs::read_dir(format!("/proc/{}/task", daemon.program.id())).expect("it lives").flatten();
        let ahead = tasks.filter(|task| {
            finish(Command::new("chrt").arg("-p").arg(task.file_name())).well().contains("SCHED_FIFO")
        });
        ahead.map(|task| fs::read_to_string(task.path().join("comm")).expect("the thread lives")).collect()
    };
    until("the core is ahead, alone", || ahead() == ["kmonitor-core\n"]);
    daemon.stop();
}

#[test]
fn a_program_under_run_keeps_all_rights() {
    let place = Place::new();
    let output = place.run(&["grep", "-E", "^(CapEff|NoNewPrivs|Seccomp):", "/proc/self/status"]).well();
    let own = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    for name in ["CapEff", "NoNewPrivs", "Seccomp"] {
        assert_eq!(fields(&output)[name], fields(&own)[name], "{name}");
    }
}
