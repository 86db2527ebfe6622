//! The running kernel's version.

use std::ffi::OsStr;
use std::fmt;

use nix::sys::utsname::uname;

use super::Check;

/// A version of Linux, as far as features depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl Version {
    /// The first with `pidfd_open(2)`, without which signals could reach others.
    pub const PIDFD: Version = Version(5, 3);
    /// The first that does not count BPF maps against `RLIMIT_MEMLOCK`.
    pub const BPF_WITHOUT_MEMLOCK: Version = Version(5, 11);
    /// The first whose BPF programs have fetching atomic operations.
    pub const BPF_ATOMICS: Version = Version(5, 12);
    /// The first with fixed inode numbers for the initial network and mount namespaces.
    pub const FIXED_NAMESPACES: Version = Version(6, 18);

    /// The version at the beginning of a release, as uname(2) has it.
    pub fn parse(release: &str) -> Option<Version> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some(Version(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The running kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// As `uname -r` says it.
    pub release: String,
    /// As `uname -m` says it.
    pub machine: String,
    /// The version in the release; one that cannot be read counts as the oldest.
    pub version: Version,
}

impl Kernel {
    /// Asks the kernel.
    pub fn running() -> Kernel {
        let text = |field: &OsStr| field.to_string_lossy().into_owned();
        let (release, machine) =
            uname().map(|names| (text(names.release()), text(names.machine()))).unwrap_or_default();
        let version = Version::parse(&release).unwrap_or(Version(0, 0));
        Kernel { release, machine, version }
    }
}

/// This kmonitor's and the kernel's version.
pub fn check(kernel: &Kernel) -> Check {
    const NAME: &str = "versions";
    let found =
        format!("kmonitor {} on Linux {} ({})", env!("CARGO_PKG_VERSION"), kernel.release, kernel.machine);
    if kernel.version < Version::PIDFD {
        return Check::fail(
            NAME,
            format!("{found}, which has no pidfd_open(2): a signal could reach another process"),
            format!("boot Linux {} or later", Version::PIDFD),
        );
    }
    Check::ok(NAME, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn releases_are_read() {
        assert_eq!(Version::parse("6.1.0-56-amd64"), Some(Version(6, 1)));
        assert_eq!(Version::parse("7.2-rc3"), Some(Version(7, 2)));
        assert_eq!(Version::parse("5.10"), Some(Version(5, 10)));
        for bad in ["", "6", "linux", "6.x", "99999999999.1"] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
        assert!(Version(5, 10) < Version::BPF_ATOMICS && Version(6, 1) > Version::BPF_ATOMICS);
        assert!(Kernel::running().version > Version(3, 0));
    }

    #[test]
    fn a_kernel_without_pidfds_will_not_do() {
        let kernel = |release: &str| Kernel {
            release: release.to_owned(),
            machine: "x86_64".to_owned(),
            version: Version::parse(release).expect("a release"),
        };
        assert_eq!(check(&kernel("5.3.0-1-amd64")).status, Status::Ok);
        let old = check(&kernel("4.19.0-27-amd64"));
        assert_eq!(old.status, Status::Fail);
        assert!(old.found.contains("4.19.0") && old.remedy.is_some_and(|remedy| remedy.contains("5.3")));
    }
}
