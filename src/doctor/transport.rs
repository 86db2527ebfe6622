//! What can make the node: CUSE, a character device, or FUSE, a mounted file.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use super::{Check, Facts};

/// A driver of the kernel's, and its device.
struct Driver {
    name: &'static str,
    device: &'static str,
    state: State,
}

enum State {
    /// It is there, and its device opens.
    Opens,
    /// It is there; its device is missing, or does not open for this reason.
    Closed(io::Error),
    /// Its module is there and not loaded.
    Loadable,
    /// The kernel has none.
    Missing,
}

impl Driver {
    fn look(name: &'static str, device: &'static str, release: &str) -> Driver {
        // Opening the device of a driver that is not loaded would load it.
        let state = if is_registered(name) {
            match OpenOptions::new().read(true).write(true).open(device) {
                Ok(_) => State::Opens,
                Err(error) => State::Closed(error),
            }
        } else if fs::read_to_string(format!("/lib/modules/{release}/modules.dep"))
            .is_ok_and(|list| has_module(name, &list))
        {
            State::Loadable
        } else {
            State::Missing
        };
        Driver { name, device, state }
    }

    /// True if `kmonitor serve`, as root, can use it.
    fn will_do(&self) -> bool {
        match &self.state {
            State::Opens | State::Loadable => true,
            State::Closed(error) => self.is_roots(error),
            State::Missing => false,
        }
    }

    /// True if root may open the device and we may not.
    fn is_roots(&self, error: &io::Error) -> bool {
        error.raw_os_error() == Some(libc::EACCES) && Path::new(self.device).exists()
    }
}

fn is_registered(name: &str) -> bool {
    let devices = fs::read_to_string("/proc/misc").unwrap_or_default();
    devices.lines().any(|line| line.split_whitespace().nth(1) == Some(name))
}

/// True if this list, a modules.dep, has the module.
fn has_module(name: &str, list: &str) -> bool {
    let start = format!("{name}.ko");
    let files = list.lines().filter_map(|line| Path::new(line.split(':').next()?).file_name()?.to_str());
    files.filter_map(|file| file.strip_prefix(&start)).any(|end| matches!(end, "" | ".xz" | ".zst" | ".gz"))
}

/// One check each.
pub fn checks(facts: &Facts) -> [Check; 2] {
    let cuse = Driver::look("cuse", "/dev/cuse", &facts.kernel.release);
    let fuse = Driver::look("fuse", "/dev/fuse", &facts.kernel.release);
    let in_dev = facts.path.parent() == Some(Path::new("/dev"));
    [check_cuse(&cuse, in_dev), check_fuse(&fuse, in_dev && cuse.will_do())]
}

fn check_cuse(cuse: &Driver, in_dev: bool) -> Check {
    if !in_dev {
        return Check::ok(cuse.name, "not used: a character device can only be made in /dev");
    }
    let without = "none needed if a mounted file (FUSE) will do; for a character device";
    match &cuse.state {
        State::Opens => Check::ok(cuse.name, "the kernel has CUSE, and its device opens"),
        State::Closed(error) if cuse.is_roots(error) => {
            Check::ok(cuse.name, "the kernel has CUSE; whether its device opens only root can try")
        }
        State::Closed(error) => Check::warn(
            cuse.name,
            format!("the kernel has CUSE, and {} does not open: {error}", cuse.device),
            format!("{without}, pass {} into the container", cuse.device),
        ),
        State::Loadable => Check::ok(cuse.name, "the module cuse is not loaded; serving loads it"),
        State::Missing => Check::warn(
            cuse.name,
            "this kernel has no CUSE",
            format!("{without}, boot a kernel with CONFIG_CUSE"),
        ),
    }
}

fn check_fuse(fuse: &Driver, dispensable: bool) -> Check {
    let (found, remedy) = match &fuse.state {
        State::Opens => return Check::ok(fuse.name, "the kernel has FUSE, and its device opens"),
        State::Closed(error) if fuse.is_roots(error) => {
            return Check::ok(fuse.name, "the kernel has FUSE; whether its device opens only root can try");
        }
        State::Closed(error) => (
            format!("the kernel has FUSE, and {} does not open: {error}", fuse.device),
            format!("in a container: --device {0}; elsewhere: mknod {0} c 10 229", fuse.device),
        ),
        State::Loadable => ("the module fuse is not loaded".to_owned(), "sudo modprobe fuse".to_owned()),
        State::Missing => {
            ("this kernel has no FUSE".to_owned(), "boot a kernel with CONFIG_FUSE_FS".to_owned())
        }
    };
    if dispensable { Check::warn(fuse.name, found, remedy) } else { Check::fail(fuse.name, found, remedy) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    fn driver(state: State) -> Driver {
        Driver { name: "fuse", device: "/dev/null", state }
    }

    fn error(errno: i32) -> State {
        State::Closed(io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn one_transport_must_be_there() {
        let fuse = |state, dispensable| check_fuse(&driver(state), dispensable).status;
        assert_eq!(fuse(State::Opens, false), Status::Ok);
        for state in [State::Missing, State::Loadable, error(libc::EPERM), error(libc::ENOENT)] {
            assert_eq!(fuse(state, false), Status::Fail);
        }
        assert_eq!(fuse(State::Missing, true), Status::Warn);
        assert_eq!(fuse(error(libc::EACCES), false), Status::Ok, "only root may open it");
        let cuse = |state, in_dev| check_cuse(&driver(state), in_dev).status;
        assert_eq!(cuse(State::Loadable, true), Status::Ok);
        assert_eq!(cuse(State::Missing, true), Status::Warn);
        assert_eq!(cuse(error(libc::EPERM), true), Status::Warn);
        assert_eq!(cuse(State::Missing, false), Status::Ok);
        assert!(driver(error(libc::EACCES)).will_do() && !driver(error(libc::EPERM)).will_do());
    }

    #[test]
    fn modules_are_found_in_the_list_of_their_kernel() {
        let list = "kernel/fs/fuse/cuse.ko.xz: kernel/fs/fuse/fuse.ko.xz\nkernel/fs/fuse/fuse.ko.xz:\n";
        assert!(has_module("cuse", list) && has_module("fuse", list));
        assert!(has_module("cuse", "extra/cuse.ko:") && has_module("cuse", "updates/cuse.ko.zst: x"));
        assert!(!has_module("use", list) && !has_module("cuse", "kernel/fs/xcuse.ko: kernel/cuse.ko"));
    }
}
