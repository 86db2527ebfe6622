//! The capabilities that serving takes.

use caps::{CapSet, Capability};

use super::{Check, Facts};

/// Without these nothing can be served.
const NEEDED: [(Capability, &str); 2] = [
    (Capability::CAP_SYS_ADMIN, "to mount the node"),
    (Capability::CAP_KILL, "to signal monitors of other users"),
];

/// Without these something is worse.
const WANTED: [(Capability, &str); 5] = [
    (Capability::CAP_SYS_PTRACE, "to look at processes of other users"),
    (Capability::CAP_NET_ADMIN, "for a long queue of events, and on kernels before 6.6 for events at all"),
    (Capability::CAP_SYS_NICE, "to run before the programs that are watched"),
    (Capability::CAP_DAC_OVERRIDE, "to make the node in a directory of another user"),
    (Capability::CAP_CHOWN, "to give the node to a user or a group"),
];

/// Whether our process has them.
pub fn check(facts: &Facts) -> Check {
    const NAME: &str = "capabilities";
    if !facts.root {
        return if facts.is_served() {
            Check::ok(NAME, "none is needed to use a device that is served")
        } else {
            Check::warn(NAME, "not checked: those of root matter", facts.command("doctor"))
        };
    }
    let Ok(ours) = caps::read(None, CapSet::Effective) else {
        return Check::warn(NAME, "not checked: the kernel does not tell them", "mount /proc");
    };
    let lacking = |capabilities: &[(Capability, &str)]| -> Vec<String> {
        let lacking = capabilities.iter().filter(|(capability, _)| !ours.contains(capability));
        lacking.map(|(capability, purpose)| format!("{capability} ({purpose})")).collect()
    };
    let (needed, wanted) = (lacking(&NEEDED), lacking(&WANTED));
    let remedy =
        "give them: in a container --cap-add or --privileged, in a systemd unit CapabilityBoundingSet=";
    if !needed.is_empty() {
        Check::fail(NAME, format!("lacking: {}", [needed, wanted].concat().join(", ")), remedy)
    } else if !wanted.is_empty() {
        Check::warn(NAME, format!("lacking: {}", wanted.join(", ")), remedy)
    } else {
        Check::ok(NAME, "root has all that serving takes")
    }
}
