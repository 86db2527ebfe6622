//! Debian's stock kernel, taken from its package and never installed.

use super::GuestError;
use super::host;
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

impl Kernel {
    /// The kernel that tests run on: the one that Debian's `linux-image-amd64` stands for.
    ///
    /// An installed kernel of that version is used where it lies, else its package is downloaded once.
    pub fn stock() -> Result<Self, GuestError> {
        let mut kernel = Kernel { version: current()?, root: PathBuf::from("/") };
        if !kernel.is_complete() {
            let name = format!("linux-{}", kernel.version);
            kernel.root = host::once(&name, |directory| unpack(&kernel.package(), directory))?;
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

    /// The release, as uname(1) says it in the guest.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The kernel image.
    pub fn image(&self) -> PathBuf {
        self.root.join(format!("boot/vmlinuz-{}", self.version))
    }

    /// The tree to build a module for this kernel against. Its packages are unpacked, not installed: on some
    /// releases of Debian they depend on the kernel itself.
    pub fn build_tree(&self) -> Result<PathBuf, GuestError> {
        let headers = format!("linux-headers-{}", self.version);
        let tree = Path::new("usr/src").join(&headers);
        let root = host::once(&headers, |directory| {
            unpack(&headers, directory)?;
            for package in dependencies_of(&headers)? {
                if package.starts_with("linux-headers-") || package.starts_with("linux-kbuild-") {
                    unpack(&package, directory)?;
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

/// The version that Debian's package for "the current kernel" depends on.
fn current() -> Result<String, GuestError> {
    let meta = "linux-image-amd64";
    dependencies_of(meta)?
        .iter()
        .find_map(|package| package.strip_prefix("linux-image-"))
        .map(str::to_owned)
        .ok_or_else(|| GuestError::Host {
            action: format!("learn from apt-cache which kernel {meta} is"),
            reason: "run apt-get update and try again".into(),
        })
}

/// The packages that a package depends on.
fn dependencies_of(package: &str) -> Result<Vec<String>, GuestError> {
    let mut command = Command::new("apt-cache");
    command.env("LC_ALL", "C.UTF-8").args(["depends", "--important", package]);
    let output = host::run(&mut command, "apt")?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")).map(str::to_owned).collect())
}

/// Takes the files of a package, which need not be installed.
pub fn unpack(package: &str, directory: &Path) -> Result<(), GuestError> {
    let download = directory.join("download");
    fs::create_dir(&download).map_err(GuestError::host(format!("create {}", download.display())))?;
    host::run(Command::new("apt-get").args(["--quiet", "download", package]).current_dir(&download), "apt")
        .map_err(|error| GuestError::Host {
        action: format!("download the package {package} (apt-get update helps if it is too new)"),
        reason: error.to_string(),
    })?;
    let archive = find_by(&download, &|path| path.extension().is_some_and(|end| end == "deb"))
        .map_err(GuestError::host("find the downloaded package"))?
        .ok_or_else(|| GuestError::missing(format!("the downloaded file of {package}"), package))?;
    host::run(Command::new("dpkg-deb").arg("-x").arg(archive).arg(directory), "dpkg")?;
    fs::remove_dir_all(&download).map_err(GuestError::host(format!("remove {}", download.display())))
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
    find_by(directory, &|path| names(path, module))
}

fn find_by(directory: &Path, wanted: &dyn Fn(&Path) -> bool) -> std::io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = find_by(&path, wanted)? {
                return Ok(Some(found));
            }
        } else if wanted(&path) {
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
