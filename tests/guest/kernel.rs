//! Debian's stock kernel, taken from its package and never installed.

use super::GuestError;
use super::apt::Apt;
use super::host;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel image with its modules.
#[derive(Debug, Clone)]
pub struct Kernel {
    version: String,
    root: PathBuf,
}

/// A module's name and its uncompressed contents.
pub type Module = (String, Vec<u8>);

/// Debian's package that depends on the current kernel.
const CURRENT: &str = "linux-image-amd64";

impl Kernel {
    /// The kernel that tests run on: the one that this machine's Debian has as its current one, or the one that
    /// KMONITOR_KERNEL names, by the beginning of its version or by its suite.
    ///
    /// An installed kernel of that version is used where it lies, else its packages are downloaded once.
    pub fn stock() -> Result<Self, GuestError> {
        let (apt, version) = match env::var("KMONITOR_KERNEL") {
            Ok(wanted) => of_debian(&wanted)?,
            Err(_) => {
                let apt = Apt::of_this_machine();
                let version = release(&apt, CURRENT)?;
                (apt, version)
            }
        };
        let mut kernel = Kernel { version, root: PathBuf::from("/") };
        if !kernel.is_complete() {
            let name = format!("linux-{}", kernel.version);
            kernel.root = host::once(&name, |directory| kernel.unpack(&apt, directory))?;
        }
        if kernel.is_complete() {
            Ok(kernel)
        } else {
            Err(GuestError::Host {
                action: format!("use the kernel in {}", kernel.root.display()),
                reason: "image or modules are not there; remove the directory and try again".into(),
            })
        }
    }

    /// Since 7.0 image and modules are in packages of their own.
    fn unpack(&self, apt: &Apt, directory: &Path) -> Result<(), GuestError> {
        apt.unpack(&self.package(), directory)?;
        let parts = ["base", "binary", "modules"].map(|part| format!("linux-{part}-{}", self.version));
        for package in apt.dependencies(&self.package())? {
            if parts.contains(&package) {
                apt.unpack(&package, directory)?;
            }
        }
        Ok(())
    }

    /// The release, as uname(1) says it in the guest.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The kernel image.
    pub fn image(&self) -> PathBuf {
        let beside_modules = self.modules().join("vmlinuz");
        if beside_modules.exists() {
            beside_modules
        } else {
            self.root.join(format!("boot/vmlinuz-{}", self.version))
        }
    }

    /// The tree to build a module for this kernel against. Its packages are unpacked, not installed: on some
    /// releases of Debian they depend on the kernel itself.
    pub fn build_tree(&self) -> Result<PathBuf, GuestError> {
        let headers = format!("linux-headers-{}", self.version);
        let tree = Path::new("usr/src").join(&headers);
        let root = host::once(&headers, |directory| {
            let apt = Apt::of_this_machine();
            apt.unpack(&headers, directory)?;
            for package in apt.dependencies(&headers)? {
                if package.starts_with("linux-headers-") || package.starts_with("linux-kbuild-") {
                    apt.unpack(&package, directory)?;
                }
            }
            let makefile = directory.join(&tree).join("Makefile");
            let edited = fs::read_to_string(&makefile)
                .map(|text| text.replace("/usr/src/", "$(dir $(lastword $(MAKEFILE_LIST)))../"));
            edited
                .and_then(|text| fs::write(&makefile, text))
                .map_err(GuestError::host(format!("edit {}", makefile.display())))
        })?;
        Ok(root.join(tree))
    }

    /// A module and all that it depends on, in the order in which they load; nothing if it is built in.
    pub fn module(&self, name: &str) -> Result<Vec<Module>, GuestError> {
        let mut modules = Vec::new();
        self.collect(name, &mut modules)?;
        Ok(modules)
    }

    fn collect(&self, name: &str, modules: &mut Vec<Module>) -> Result<(), GuestError> {
        let unreadable = |path: &Path| GuestError::host(format!("read the modules in {}", path.display()));
        let name = name.replace('-', "_");
        if modules.iter().any(|(loaded, _)| *loaded == name) {
            return Ok(());
        }
        let built_in = self.modules().join("modules.builtin");
        let list = fs::read_to_string(&built_in).map_err(unreadable(&built_in))?;
        if list.lines().any(|line| names(Path::new(line), &name)) {
            return Ok(());
        }
        let tree = self.modules().join("kernel");
        let Some(file) = find(&tree, &name).map_err(unreadable(&tree))? else {
            return Err(GuestError::missing(format!("kernel module {name}"), self.package()));
        };
        let contents = if file.extension().is_some_and(|end| end == "xz") {
            host::run(Command::new("xz").arg("-dc").arg(&file), "xz-utils")?.stdout
        } else {
            fs::read(&file).map_err(unreadable(&file))?
        };
        for needed in dependencies(&contents) {
            self.collect(&needed, modules)?;
        }
        modules.push((name, contents));
        Ok(())
    }

    fn package(&self) -> String {
        format!("linux-image-{}", self.version)
    }

    /// The directory of its modules. Packages of Debian 13 and later put them below /usr.
    pub fn modules(&self) -> PathBuf {
        let places =
            ["lib/modules", "usr/lib/modules"].map(|place| self.root.join(place).join(&self.version));
        places.iter().find(|place| place.exists()).unwrap_or(&places[0]).clone()
    }

    fn is_complete(&self) -> bool {
        self.image().exists() && self.modules().join("kernel").exists()
    }
}

/// The release that a package for "the current kernel" depends on.
fn release(apt: &Apt, package: &str) -> Result<String, GuestError> {
    let dependencies = apt.dependencies(package)?;
    dependencies
        .iter()
        .find_map(|package| package.strip_prefix("linux-image-"))
        .map(str::to_owned)
        .ok_or_else(|| GuestError::Host {
            action: format!("learn from apt-cache which kernel {package} is"),
            reason: "run apt-get update and try again".into(),
        })
}

/// The kernel of one of Debian's suites, and the packages among which it is.
fn of_debian(wanted: &str) -> Result<(Apt, String), GuestError> {
    let apt = Apt::of_several_suites()?;
    let versions = apt.versions(CURRENT)?;
    let Some((version, _)) = versions.iter().find(|(version, suite)| is_wanted(wanted, version, suite))
    else {
        let known = versions.iter().map(|(version, suite)| format!("{version} ({suite})"));
        return Err(GuestError::Host {
            action: format!("find Debian's kernel {wanted}"),
            reason: format!("there are {}", known.collect::<Vec<_>>().join(", ")),
        });
    };
    let version = release(&apt, &format!("{CURRENT}={version}"))?;
    Ok((apt, version))
}

/// Whether a package's version is this one or begins with it, or it is in this suite.
fn is_wanted(wanted: &str, version: &str, suite: &str) -> bool {
    wanted == suite
        || version
            .strip_prefix(wanted)
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

/// Whether this file is the module of this name, compressed or not.
fn names(file: &Path, module: &str) -> bool {
    let file = file.file_name().unwrap_or_default().to_string_lossy();
    file.strip_suffix(".xz")
        .unwrap_or(&file)
        .strip_suffix(".ko")
        .is_some_and(|stem| stem.replace('-', "_") == module)
}

fn find(directory: &Path, module: &str) -> std::io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = find(&path, module)? {
                return Ok(Some(found));
            }
        } else if names(&path, module) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// The names behind "depends=" in a module's zero-separated information strings.
fn dependencies(module: &[u8]) -> Vec<String> {
    let list =
        module.split(|byte| *byte == 0).find_map(|text| text.strip_prefix(b"depends=")).unwrap_or_default();
    String::from_utf8_lossy(list).split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn a_kernel_is_named_by_its_version_or_its_suite() {
    assert!(is_wanted("6.12", "6.12.117-1", "trixie") && is_wanted("trixie", "6.12.117-1", "trixie"));
    assert!(is_wanted("6.12.117-1", "6.12.117-1", "trixie"));
    assert!(!is_wanted("6.1", "6.12.117-1", "trixie") && !is_wanted("sid", "6.12.117-1", "trixie"));
}
