//! The original driver of 2004 as a module for the guest's kernel.
//!
//! The project has neither the driver nor the mail that brought it: whoever wants to try us against the original
//! names a copy of the mail. `port` says which copies work, `port.c` what the newer kernel changes.

use super::guest::kernel::Kernel;
use super::guest::{Guest, GuestError, host};
use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the module wants to know when it is loaded, in words of the guest's shell.
const PARAMETERS: &str = "sym_group=0x$(grep ' group_send_sig_info$' /proc/kallsyms | cut -d' ' -f1)";

/// The variable that names the mail.
const VARIABLE: &str = "KMONITOR_MAIL";
/// Where the mail is without it, from the project's root.
const PLACE: &str = "../shared/mail/2004-06-10-cgl_discussion.txt";

/// A copy of the mail that brought the driver: the file in `KMONITOR_MAIL`, else one beside the project.
pub fn mail() -> Result<PathBuf, GuestError> {
    let mail = env::var_os(VARIABLE)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(PLACE), PathBuf::from);
    if mail.is_file() {
        Ok(mail)
    } else {
        Err(GuestError::Host {
            action: format!("read the mail with the original driver, {}", mail.display()),
            reason: format!(
                "there is no such file; set {VARIABLE} to a plain-text copy of the message to \
                 cgl_discussion of 10 June 2004, \"Announcing Non-intrusive Kernel Monitor Project\""
            ),
        })
    }
}

/// The module, built from this mail for the guest's kernel; built once for each mail, port and kernel.
pub fn module(mail: &Path) -> Result<PathBuf, GuestError> {
    let kernel = Kernel::stock()?;
    let tree = kernel.build_tree()?;
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/original");
    let build = ours.join("build");
    let mut hasher = DefaultHasher::new();
    for file in [mail, &build, &ours.join("port"), &ours.join("port.c")] {
        fs::read(file).map_err(GuestError::host(format!("read {}", file.display())))?.hash(&mut hasher);
    }
    let name = format!("original-{:016x}-{}", hasher.finish(), kernel.version());
    let built = host::once(&name, |directory| {
        for tool in ["python3", "make", "gcc"] {
            host::run(Command::new(tool).arg("--version"), tool)?;
        }
        let arguments = [mail, directory, &tree];
        host::run(Command::new(&build).args(arguments), "dash").map(drop)
    })?;
    Ok(built.join("kmonitor.ko"))
}

/// Loads the original into a guest before its first step: /dev/kmonitor is there then.
pub fn load(guest: Guest, mail: &Path) -> Result<Guest, GuestError> {
    Ok(guest.module_file(module(mail)?, PARAMETERS))
}
