//! The package on the newest Debian, which need not be the one it was built on, and without systemd.

use super::deb;
use crate::guest::host::{self, Scratch};
use crate::guest::{GuestError, debian};
use std::fs;
use std::process::Command;

/// The newest release.
const SUITE: &str = "trixie";

/// What the package depends on beyond the C library, for a system without systemd.
const PACKAGES: &[&str] = &["systemd-standalone-sysusers"];

const SCRIPT: &str = concat!(
    include_str!("system.sh"),
    "
remember
apt install $packages/kmonitor.deb
dpkg-query -W -f '${db:Status-Status} ${Version}\\n' kmonitor
kmonitor --version
sleep 0.1 &
kmonitor wait -q $! && echo waited
getent group kmonitor | cut -d : -f 1
apt purge kmonitor
changed | sed 's/[0-9]\\+/NUMBER/'
"
);

#[test]
fn it_is_installed_used_and_purged_on_the_newest_debian() -> Result<(), GuestError> {
    let tree = debian::tree(SUITE, PACKAGES)?;
    let scratch = Scratch::new(&host::cache()?)?;
    let root = scratch.path("root");
    host::run(Command::new("cp").arg("-a").arg(tree).arg(&root), "coreutils")?;
    fs::create_dir(root.join("root/packages")).expect("mkdir");
    fs::copy(deb::path(), root.join("root/packages/kmonitor.deb")).expect("the package is copied");
    // A /proc of its own, which goes with its process.
    let mut chroot = Command::new("unshare");
    chroot.args(["--mount", "--fork", "--pid", "--mount-proc", "--root"]).arg(&root);
    let output = host::run(chroot.args(["sh", "-c", SCRIPT]), "util-linux")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = env!("CARGO_PKG_VERSION");
    let used = format!("installed {version}-1\nkmonitor {version}\nwaited\nkmonitor\n");
    assert_eq!(said, used + "> kmonitor:x:NUMBER:\n");
    Ok(())
}
