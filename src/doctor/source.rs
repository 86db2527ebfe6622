//! Where events can come from: the proc connector, and BPF.

use std::fs;
use std::path::Path;

use crate::source::bpf::{BpfSource, Options, Refusal};
use crate::source::{ProcConnector, SourceError};

use super::{Check, Facts, Status};
use crate::sys::kernel::Version;

/// Bytes of the queue of a subscription that lasts for an instant.
const QUEUE: usize = 1 << 17;

/// Bytes of the ring of programs that are attached for an instant.
const RING: u32 = 1 << 12;

const BTF: &str = "/sys/kernel/btf/vmlinux";

/// One check each.
pub fn checks(facts: &Facts) -> [Check; 2] {
    let bpf = if facts.root {
        BpfSource::new(Options { ring: RING, ..Options::default() }).map(|_| "its programs load, and attach")
    } else {
        let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
        look(facts.kernel.version, Path::new(BTF).exists(), lockdown.contains("[confidentiality]"))
    };
    let connector = connector(ProcConnector::new(QUEUE).try_out(), facts.root);
    [if bpf.is_ok() { spared(connector) } else { connector }, check_bpf(bpf)]
}

/// A check of the connector where BPF does.
fn spared(check: Check) -> Check {
    if check.status != Status::Fail {
        return check;
    }
    let remedy = check.remedy.unwrap_or_default();
    Check::warn(
        check.name,
        check.found,
        format!("none needed: BPF programs do instead; for the connector, {remedy}"),
    )
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

/// What can be told without the right to load programs.
fn look(version: Version, has_btf: bool, locked_down: bool) -> Result<&'static str, Refusal> {
    if version < Version::BPF_ATOMICS {
        Err(Refusal::NoAtomics)
    } else if !has_btf {
        Err(Refusal::NoBtf)
    } else if locked_down {
        Err(Refusal::LockedDown)
    } else {
        Ok("the kernel is new enough, and has BTF; whether programs load only root can try")
    }
}

fn check_bpf(outcome: Result<&str, Refusal>) -> Check {
    const NAME: &str = "bpf";
    let refusal = match outcome {
        Ok(found) => return Check::ok(NAME, found),
        Err(refusal) => refusal,
    };
    let remedy = match refusal {
        Refusal::NoBtf => "boot a kernel with CONFIG_DEBUG_INFO_BTF",
        Refusal::NoAtomics => "boot Linux 5.12 or later",
        Refusal::LockedDown => "boot without lockdown",
        Refusal::PidNamespace => "run it on the host, or in a container with --pid=host",
        Refusal::NotPermitted => "permit bpf(2): capabilities, and the seccomp filter of a container",
        _ => "report this",
    };
    Check::warn(
        NAME,
        refusal.to_string(),
        format!("none needed: the proc connector does instead; for BPF, {remedy}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

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
    fn where_bpf_does_the_connector_is_not_needed() {
        let check = spared(connector(Err(SourceError::NoConnector), true));
        assert_eq!(check.status, Status::Warn);
        let remedy = check.remedy.expect("it has one");
        assert!(remedy.contains("none needed") && remedy.contains("CONFIG_PROC_EVENTS=y"), "{remedy}");
        assert_eq!(spared(connector(Ok(()), true)), connector(Ok(()), true));
    }

    #[test]
    fn each_thing_that_bpf_lacks_is_named() {
        let good = Version(6, 1);
        assert_eq!(check_bpf(look(good, true, false)).status, Status::Ok);
        for (outcome, part) in [
            (look(Version(5, 10), true, false), "5.12"),
            (look(good, false, false), BTF),
            (look(good, true, true), "locked down"),
            (Err(Refusal::NotPermitted), "CAP_BPF"),
        ] {
            let check = check_bpf(outcome);
            assert_eq!(check.status, Status::Warn);
            assert!(check.found.contains(part), "{check:?}");
            assert!(check.remedy.as_ref().is_some_and(|remedy| remedy.contains("for BPF, ")), "{check:?}");
        }
    }
}
