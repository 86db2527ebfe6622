//! Where the kernel does not let the programs run, a sentence says why.

use super::harness::ALL;
use crate::device::program::finish;
use caps::{CapSet, CapsHashSet};
use kmonitor::ids::Tid;
use kmonitor::source::bpf::{BpfSource, Options, Refusal};
use std::env;
use std::process::Command;
use std::thread;

#[test]
fn without_capabilities_the_kernel_does_not_permit_it() {
    let refusal = thread::spawn(|| {
        caps::set(None, CapSet::Effective, &CapsHashSet::new()).expect("to have fewer is allowed");
        BpfSource::new(Options::default()).expect_err("it takes capabilities")
    });
    let refusal = refusal.join().expect("it ends");
    assert!(matches!(refusal, Refusal::NotPermitted), "{refusal:?}");
    assert!(refusal.to_string().contains("CAP_BPF and CAP_PERFMON"), "{refusal}");
}

#[test]
fn once_it_is_made_a_source_needs_no_capabilities_to_work() {
    let all = thread::spawn(|| {
        let mut source = BpfSource::new(Options { follow: true, ..Options::default() }).expect("as root");
        caps::set(None, CapSet::Effective, &CapsHashSet::new()).expect("to have fewer is allowed");
        source.follow(Tid(std::process::id() as i32)).expect("a task iterator needs none");
        source.watch(Tid(std::process::id() as i32), ALL);
        Command::new("true").status().expect("true");
        let mark = source.mark();
        let mut count = 0;
        while !source.has_passed(mark) {
            count += usize::from(source.next_input().is_some());
        }
        count
    });
    assert!(all.join().expect("it ends") >= 4, "members, a fork, an exec and an exit");
}

const INSIDE: &str = "KMONITOR_TEST_IN_PID_NAMESPACE";

#[test]
fn in_a_pid_namespace_the_numbers_are_others() {
    if env::var_os(INSIDE).is_some() {
        let refusal = BpfSource::new(Options::default()).expect_err("it is not the host's namespace");
        assert!(matches!(refusal, Refusal::PidNamespace), "{refusal:?}");
        return;
    }
    let own = env::current_exe().expect("it is a file");
    let mut command = Command::new("unshare");
    command.args(["-p", "-f", "--mount-proc"]).arg(own).env(INSIDE, "1");
    let output = finish(command.arg("refusals::in_a_pid_namespace")).well();
    assert!(output.contains("1 passed"), "{output}");
}
