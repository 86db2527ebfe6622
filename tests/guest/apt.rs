//! Debian's packages: found, downloaded and unpacked, never installed.

use super::GuestError;
use super::host;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The suites whose kernels differ.
const SUITES: [&str; 4] = ["bullseye", "bookworm-backports", "trixie", "sid"];

const ARCHIVE: &str = "http://deb.debian.org/debian";

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The packages that apt knows, by this machine's configuration or by one of our own.
#[derive(Debug, Clone, Default)]
pub struct Apt {
    options: Vec<String>,
}

impl Apt {
    /// Those of this machine.
    pub fn of_this_machine() -> Apt {
        Apt::default()
    }

    /// Those of several suites. apt's state and configuration are in the cache; the machine's are not touched.
    /// The lists of packages are fetched once: remove `apt` in the cache to have them fetched again.
    pub fn of_several_suites() -> Result<Apt, GuestError> {
        let place = host::once("apt", |directory| {
            // The directory gets its name when this is done.
            let apt = Apt::within(directory);
            let write = |name: &str, text: &str| {
                let path = directory.join(name);
                fs::write(&path, text).map_err(GuestError::host(format!("write {}", path.display())))
            };
            for name in ["lists/partial", "cache/archives/partial"] {
                let path = directory.join(name);
                fs::create_dir_all(&path).map_err(GuestError::host(format!("create {}", path.display())))?;
            }
            let line = |suite| format!("deb [arch=amd64 signed-by={KEYRING}] {ARCHIVE} {suite} main\n");
            write("sources.list", &SUITES.map(line).concat())?;
            write("status", "")?;
            host::run(apt.command("apt-get").args(["-qq", "--error-on=any", "update"]), "apt").map(drop)
        })?;
        Ok(Apt::within(&place))
    }

    fn within(directory: &Path) -> Apt {
        let at = |option: &str, name: &str| format!("{option}={}", directory.join(name).display());
        let options = [
            at("Dir::State::lists", "lists"),
            at("Dir::State::status", "status"),
            at("Dir::Cache", "cache"),
            at("Dir::Etc::sourcelist", "sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferences=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ];
        Apt { options: options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect() }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C.UTF-8").args(&self.options);
        command
    }

    /// The packages that a package, `NAME` or `NAME=VERSION`, depends on.
    pub fn dependencies(&self, package: &str) -> Result<Vec<String>, GuestError> {
        let mut command = self.command("apt-cache");
        let output = host::run(command.args(["depends", "--important", package]), "apt")?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")).map(str::to_owned).collect())
    }

    /// The versions of a package with their suites, the newest first.
    pub fn versions(&self, package: &str) -> Result<Vec<(String, String)>, GuestError> {
        let output = host::run(self.command("apt-cache").args(["madison", package]), "apt")?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(parse_version).collect())
    }

    /// Takes the files of a package.
    pub fn unpack(&self, package: &str, directory: &Path) -> Result<(), GuestError> {
        let download = directory.join("download");
        fs::create_dir(&download).map_err(GuestError::host(format!("create {}", download.display())))?;
        let mut command = self.command("apt-get");
        host::run(command.args(["--quiet", "download", package]).current_dir(&download), "apt").map_err(
            |error| GuestError::Host {
                action: format!("download the package {package}; apt's lists may be too old"),
                reason: error.to_string(),
            },
        )?;
        let archive = downloaded(&download)
            .map_err(GuestError::host("find the downloaded package"))?
            .ok_or_else(|| GuestError::missing(format!("the downloaded file of {package}"), package))?;
        host::run(Command::new("dpkg-deb").arg("-x").arg(archive).arg(directory), "dpkg")?;
        fs::remove_dir_all(&download).map_err(GuestError::host(format!("remove {}", download.display())))
    }
}

/// A line of `apt-cache madison`: package, version, and where it is.
fn parse_version(line: &str) -> Option<(String, String)> {
    let mut fields = line.split('|').map(str::trim).skip(1);
    let version = fields.next()?.to_owned();
    let suite = fields.next()?.split_whitespace().nth(1)?.split('/').next()?.to_owned();
    Some((version, suite))
}

fn downloaded(directory: &Path) -> std::io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "deb") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[test]
fn versions_are_read_with_their_suites() {
    let line = " linux-image-amd64 |   7.2.13-1 | http://deb.debian.org/debian sid/main amd64 Packages";
    assert_eq!(parse_version(line), Some(("7.2.13-1".to_owned(), "sid".to_owned())));
    assert_eq!(parse_version("junk"), None);
    assert_eq!(parse_version("a | 1 | here"), None);
}
