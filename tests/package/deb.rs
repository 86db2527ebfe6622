//! The package as `packaging/build-deb` left it.

use crate::device::client::project;
use crate::guest::{GuestError, host};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The version that a second package has, to which the first is upgraded.
pub const NEXT_VERSION: &str = "99.0-1";

/// The package's file.
///
/// # Panics
/// If it is not there, or older than the sources.
pub fn path() -> PathBuf {
    let version = env!("CARGO_PKG_VERSION");
    let target = host::target_directory().unwrap_or_else(|error| panic!("{error}"));
    let deb = target.join(format!("debian/kmonitor_{version}-1_amd64.deb"));
    let built =
        modified(&deb).unwrap_or_else(|| panic!("no {}: packaging/build-deb makes it", deb.display()));
    for sources in ["src", "packaging", "compat", "Cargo.toml", "CHANGELOG.md"] {
        if newest(&project(sources)) > built {
            panic!("{} is older than {sources}: packaging/build-deb makes it anew", deb.display());
        }
    }
    deb
}

/// The same package with a higher version, in this directory.
pub fn next(directory: &Path) -> Result<PathBuf, GuestError> {
    let (contents, deb) = (directory.join("contents"), directory.join("next.deb"));
    host::run(Command::new("dpkg-deb").arg("-R").arg(path()).arg(&contents), "dpkg")?;
    let control = contents.join("DEBIAN/control");
    let text = fs::read_to_string(&control).map_err(GuestError::host("read the package's control file"))?;
    let lines = text.lines().map(|line| match line.strip_prefix("Version: ") {
        Some(_) => format!("Version: {NEXT_VERSION}\n"),
        None => format!("{line}\n"),
    });
    fs::write(&control, lines.collect::<String>())
        .map_err(GuestError::host("write the package's control file"))?;
    let mut build = Command::new("dpkg-deb");
    host::run(build.args(["-Znone", "--root-owner-group", "-b"]).arg(&contents).arg(&deb), "dpkg")?;
    Ok(deb)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// When the newest file here was written.
fn newest(path: &Path) -> SystemTime {
    let below = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| newest(&entry.path()));
    below.chain(modified(path).filter(|_| path.is_file())).max().unwrap_or(SystemTime::UNIX_EPOCH)
}
