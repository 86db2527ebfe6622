//! Debian systems, made from Debian's packages by mmdebstrap and kept in the cache.

use super::GuestError;
use super::host;
use super::kernel::Kernel;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the kernel needs to mount the disk.
pub const MODULES: &[&str] = &["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"];

/// Size of the disk; only what is written takes room.
const DISK_SIZE: &str = "2G";

/// A small Debian of this suite (`bookworm`) with these packages, for chroot(1). Changes would stay: work on a copy.
pub fn tree(suite: &str, packages: &[&str]) -> Result<PathBuf, GuestError> {
    let packages = packages.join(",");
    host::once(&name("tree", suite, &packages), |directory| bootstrap(suite, &packages, directory))
}

/// The same as a disk with an ext4 file system, with the kernel's modules for file systems: the kernel comes from
/// outside of the machine.
pub fn disk(suite: &str, packages: &[&str], kernel: &Kernel) -> Result<PathBuf, GuestError> {
    let packages = packages.join(",");
    let name = name("disk", suite, &format!("{packages} {}", kernel.version()));
    let directory = host::once(&name, |directory| {
        let root = directory.join("root");
        bootstrap(suite, &packages, &root)?;
        modules(kernel, &root)?;
        // The tests must not wait for a disk check or a resize, and the machine is thrown away.
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-t", "ext4", "-O", "^has_journal", "-d"]).arg(&root);
        host::run(mke2fs.arg(directory.join("disk")).arg(DISK_SIZE), "e2fsprogs")?;
        fs::remove_dir_all(&root).map_err(GuestError::host(format!("remove {}", root.display())))
    })?;
    Ok(directory.join("disk"))
}

/// The suite of this host's Debian: what is built here runs there.
pub fn host_suite() -> Result<String, GuestError> {
    let file = "/etc/os-release";
    let text = fs::read_to_string(file).map_err(GuestError::host(format!("read {file}")))?;
    let suite = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    suite.map(str::to_owned).ok_or_else(|| GuestError::Host {
        action: format!("find VERSION_CODENAME in {file}"),
        reason: "run the tests on a released Debian".into(),
    })
}

fn name(kind: &str, suite: &str, contents: &str) -> String {
    let words: String = contents.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{kind}-{suite}-{words}")
}

fn bootstrap(suite: &str, packages: &str, root: &Path) -> Result<(), GuestError> {
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--quiet", "--mode=root", "--variant=minbase", "--format=directory"]);
    mmdebstrap.arg(format!("--include={packages}")).arg(suite).arg(root);
    host::run(&mut mmdebstrap, "mmdebstrap").map(drop)
}

/// Installs the kernel's modules for file systems, where modprobe(8) finds them.
fn modules(kernel: &Kernel, root: &Path) -> Result<(), GuestError> {
    let from = kernel.modules();
    let to = root.join("lib/modules").join(kernel.version());
    let shown = to.display().to_string();
    fs::create_dir_all(to.join("kernel")).map_err(GuestError::host(format!("create {shown}")))?;
    host::run(Command::new("cp").arg("-a").arg(from.join("kernel/fs")).arg(to.join("kernel")), "coreutils")?;
    for list in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        fs::copy(from.join(list), to.join(list))
            .map_err(GuestError::host(format!("copy {list} to {shown}")))?;
    }
    host::run(Command::new("chroot").arg(root).args(["depmod", kernel.version()]), "coreutils").map(drop)
}
