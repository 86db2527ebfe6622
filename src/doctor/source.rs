//! Where events can come from: the proc connector, and BPF.

use std::fs;
use std::path::Path;

use nix::errno::Errno;

use crate::source::{ProcConnector, SourceError};
use crate::sys::bpf::Bell;

use super::{Check, Facts};
use crate::sys::kernel::Version;

/// Bytes of the queue of a subscription that lasts for an instant.
const QUEUE: usize = 1 << 17;

const BTF: &str = "/sys/kernel/btf/vmlinux";

/// One check each.
pub fn checks(facts: &Facts) -> [Check; 2] {
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let bpf = Bpf {
        version: facts.kernel.version,
        has_btf: Path::new(BTF).exists(),
        locked_down: lockdown.contains("[confidentiality]"),
        permitted: facts.root.then(|| Bell::new().map(drop)),
    };
    [connector(ProcConnector::new(QUEUE).try_out(), facts.root), bpf.check()]
}

/// The outcome of a subscription.
fn connector(outcome: Result<(), SourceError>, root: bool) -> Check {
    const NAME: &str = "connector";
    match outcome {
        Ok(()) => Check::ok(NAME, "the kernel sends process events"),
        Err(SourceError::Refused(errno)) if !root => Check::warn(
            NAME,
            format!("not checked: this kernel lets only root subscribe ({errno})"),
            "sudo kmonitor doctor",
        ),
        Err(SourceError::Deaf) => deaf(NAME),
        Err(error) => {
            let sentence = error.to_string();
            let (found, remedy) = sentence.rsplit_once(": ").unwrap_or((&sentence, "run this as root"));
            Check::fail(NAME, found, remedy)
        }
    }
}

fn deaf(name: &'static str) -> Check {
    Check::warn(
        name,
        "the kernel sends no process events: its count of listeners is too low, since some program has sent it \
         invalid messages",
        "serving repairs that, and reports it (deafnesses among its counters); find the program that does it",
    )
}

/// What BPF programs at the kernel's tracepoints take.
struct Bpf {
    version: Version,
    has_btf: bool,
    /// The kernel is locked down so far that programs may not read its memory.
    locked_down: bool,
    /// What bpf(2) said, if we are root.
    permitted: Option<Result<(), Errno>>,
}

impl Bpf {
    fn check(&self) -> Check {
        const NAME: &str = "bpf";
        let instead =
            "nothing: the proc connector is used, and exits are reported some microseconds later; for BPF";
        let warn = |found: String, remedy: &str| Check::warn(NAME, found, format!("{instead}, {remedy}"));
        if self.version < Version::BPF_ATOMICS {
            let needed = Version::BPF_ATOMICS;
            return warn(
                format!("Linux {} has no fetching atomic operations for programs", self.version),
                &format!("boot Linux {needed} or later"),
            );
        }
        if !self.has_btf {
            return warn(format!("the kernel has no {BTF}"), "boot a kernel with CONFIG_DEBUG_INFO_BTF");
        }
        if self.locked_down {
            return warn("the kernel is locked down (confidentiality)".to_owned(), "boot without lockdown");
        }
        match self.permitted {
            Some(Err(errno)) => {
                warn(format!("bpf(2) fails: {errno}"), "permit it (CAP_BPF and CAP_PERFMON, seccomp filter)")
            }
            Some(Ok(())) => Check::ok(NAME, "BTF is there, and bpf(2) is permitted"),
            None => Check::ok(NAME, "BTF is there; whether bpf(2) is permitted only root can try"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn each_refusal_of_the_connector_has_its_remedy() {
        let cases = [
            (SourceError::NoConnector, "CONFIG_PROC_EVENTS=y"),
            (SourceError::NetworkNamespace, "--network=host"),
            (SourceError::Refused(Errno::EPERM), "as root"),
        ];
        for (error, part) in cases {
            let check = connector(Err(error), true);
            assert_eq!(check.status, Status::Fail);
            assert!(check.remedy.as_ref().is_some_and(|remedy| remedy.contains(part)), "{check:?}");
            assert!(!check.found.contains(part), "{check:?}");
        }
        assert_eq!(connector(Err(SourceError::Refused(Errno::EPERM)), false).status, Status::Warn);
        assert_eq!(connector(Err(SourceError::Deaf), true).status, Status::Warn);
        assert_eq!(connector(Ok(()), true).status, Status::Ok);
    }

    #[test]
    fn each_thing_that_bpf_lacks_is_named() {
        let good =
            || Bpf { version: Version(6, 1), has_btf: true, locked_down: false, permitted: Some(Ok(())) };
        assert_eq!(good().check().status, Status::Ok);
        assert_eq!(Bpf { permitted: None, ..good() }.check().status, Status::Ok);
        for (bpf, part) in [
            (Bpf { version: Version(5, 10), ..good() }, "Linux 5.10"),
            (Bpf { has_btf: false, ..good() }, BTF),
            (Bpf { locked_down: true, ..good() }, "confidentiality"),
            (Bpf { permitted: Some(Err(Errno::EPERM)), ..good() }, "EPERM"),
        ] {
            let check = bpf.check();
            assert_eq!(check.status, Status::Warn);
            assert!(check.found.contains(part), "{check:?}");
        }
    }
}
