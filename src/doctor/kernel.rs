//! The running kernel's version.

use crate::sys::kernel::{Kernel, Version};

use super::Check;

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
