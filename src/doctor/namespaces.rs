//! Whether our namespaces are those of the machine.

use crate::sys::namespaces::inode;

use super::{Check, Facts};
use crate::sys::kernel::Version;

/// Inode numbers of the initial namespaces (`include/uapi/linux/nsfs.h`).
const PID: u64 = 0xeffffffc;
const USER: u64 = 0xeffffffd;
const TIME: u64 = 0xeffffffa;
const NETWORK: u64 = 0xeffffff9;
const MOUNT: u64 = 0xeffffff8;

/// How a namespace of ours stands to that of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinship {
    Initial,
    Own,
    Unknown,
}

/// A namespace whose initial inode number is this in all kernels.
fn fixed(name: &str, initial: u64) -> Kinship {
    compare(inode("self", name), initial, None, true)
}

/// `init` is that of process 1, if it may be looked at, and is the machine's; `reliable` is true where the
/// kernel has fixed numbers for the initial namespace.
fn compare(own: Option<u64>, initial: u64, init: Option<u64>, reliable: bool) -> Kinship {
    match (own, init) {
        (None, _) => Kinship::Unknown,
        (Some(own), _) if own == initial => Kinship::Initial,
        (Some(own), Some(init)) => {
            if own == init {
                Kinship::Initial
            } else {
                Kinship::Own
            }
        }
        (Some(_), None) => {
            if reliable {
                Kinship::Own
            } else {
                Kinship::Unknown
            }
        }
    }
}

/// Our namespaces.
#[derive(Clone, Copy, Debug)]
struct Namespaces {
    pid: Kinship,
    user: Kinship,
    network: Kinship,
    mount: Kinship,
    time: Kinship,
}

impl Namespaces {
    fn look(kernel: Version) -> Namespaces {
        let pid = fixed("pid", PID);
        // In a pid namespace process 1 is not the machine's.
        let init = |name| (pid == Kinship::Initial).then(|| inode("1", name)).flatten();
        let variable = |name, initial| {
            compare(inode("self", name), initial, init(name), kernel >= Version::FIXED_NAMESPACES)
        };
        Namespaces {
            pid,
            user: fixed("user", USER),
            network: variable("net", NETWORK),
            mount: variable("mnt", MOUNT),
            // A kernel without time namespaces has but one time.
            time: if inode("self", "time").is_some() { fixed("time", TIME) } else { Kinship::Initial },
        }
    }

    /// `served`: only what concerns a client is of interest.
    fn check(self, served: bool) -> Check {
        const NAME: &str = "namespaces";
        let host = "run it on the host, or in a container with --pid=host --network=host --privileged";
        let own = |kinship| kinship == Kinship::Own;
        if own(self.pid) || own(self.user) {
            let which = match (own(self.pid), own(self.user)) {
                (true, true) => "the pid and user namespaces are",
                (true, false) => "the pid namespace is",
                _ => "the user namespace is",
            };
            let found =
                format!("{which} not the machine's: processes outside have no number or no user here");
            return Check::fail(NAME, found, host);
        }
        let daemons = |found: &'static str, remedy| {
            if served {
                Check::ok(NAME, format!("{found}; that matters to the daemon alone"))
            } else {
                Check::warn(NAME, found, remedy)
            }
        };
        if own(self.network) {
            let found = "the network namespace is not the machine's: it has no proc connector";
            return daemons(found, host);
        }
        if own(self.mount) {
            let found =
                "the mount namespace is not the machine's: a mounted node (FUSE) is not seen in others";
            let remedy =
                "serve where the clients are: in a unit, without PrivateTmp=, ProtectSystem= and the like";
            return daemons(found, remedy);
        }
        let all = [
            ("pid", self.pid),
            ("user", self.user),
            ("net", self.network),
            ("mount", self.mount),
            ("time", self.time),
        ];
        let those = |kinship| {
            let names = all.iter().filter(|(_, found)| *found == kinship).map(|(name, _)| *name);
            names.collect::<Vec<_>>().join(", ")
        };
        let mut found = format!("the machine's: {}", those(Kinship::Initial));
        if own(self.time) {
            found += "; time is not, which is allowed for";
        }
        if !those(Kinship::Unknown).is_empty() {
            found += &format!("; only root can compare {}", those(Kinship::Unknown));
        }
        Check::ok(NAME, found)
    }
}

/// Whether kmonitor works in our namespaces.
pub fn check(facts: &Facts) -> Check {
    Namespaces::look(facts.kernel.version).check(facts.is_served())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn namespaces_are_compared_with_what_is_known() {
        let cases = [
            (Some(MOUNT), None, true, Kinship::Initial),
            (Some(MOUNT), Some(7), true, Kinship::Initial),
            (Some(7), Some(7), false, Kinship::Initial),
            (Some(8), Some(7), false, Kinship::Own),
            (Some(8), None, true, Kinship::Own),
            (Some(8), None, false, Kinship::Unknown),
            (None, None, true, Kinship::Unknown),
        ];
        for (own, init, reliable, expected) in cases {
            assert_eq!(compare(own, MOUNT, init, reliable), expected, "{own:?} {init:?} {reliable}");
        }
    }

    #[test]
    fn each_namespace_of_its_own_is_named() {
        let initial = Kinship::Initial;
        let machine =
            Namespaces { pid: initial, user: initial, network: initial, mount: initial, time: initial };
        let own = Kinship::Own;
        assert_eq!(machine.check(false).status, Status::Ok);
        let cases = [
            (Namespaces { pid: own, ..machine }, Status::Fail, "the pid namespace"),
            (Namespaces { user: own, ..machine }, Status::Fail, "the user namespace"),
            (Namespaces { network: own, ..machine }, Status::Warn, "network"),
            (Namespaces { mount: own, ..machine }, Status::Warn, "mount"),
            (Namespaces { time: own, ..machine }, Status::Ok, "time is not"),
            (Namespaces { mount: Kinship::Unknown, ..machine }, Status::Ok, "only root can compare mount"),
        ];
        for (namespaces, status, part) in cases {
            let check = namespaces.check(false);
            assert_eq!(check.status, status, "{check:?}");
            assert!(check.found.contains(part), "{check:?}");
            let numbers = namespaces.pid == own || namespaces.user == own;
            let of_client = if numbers { Status::Fail } else { Status::Ok };
            assert_eq!(namespaces.check(true).status, of_client, "{check:?}");
        }
    }
}
