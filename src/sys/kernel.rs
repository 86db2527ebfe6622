//! The running kernel's version (`uname(2)`).

use std::ffi::OsStr;
use std::fmt;

use nix::sys::utsname::uname;

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
    /// The first whose tracepoint programs may be preempted. While one is, the kernel does not run it for other
    /// tasks on the same processor.
    pub const PREEMPTIBLE_TRACEPOINTS: Version = Version(6, 19);
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
