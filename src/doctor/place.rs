//! What is at the device's path.

use std::fmt::Display;
use std::path::Path;

use nix::errno::Errno;

use crate::node::{Found, Transport};
use crate::sys::statx;

use super::access::describe;
use super::{Check, Facts};

/// Whether a device is there, and answers.
pub fn device(facts: &Facts) -> Check {
    const NAME: &str = "device";
    let path = facts.path.display();
    let transport = match &facts.found {
        Err(error) => return Check::fail(NAME, error.to_string(), "choose another place with --path"),
        Ok(Found::Node(transport)) => name(*transport),
        Ok(_) => return absent(NAME, facts),
    };
    let outcome = match &facts.outcome {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => {
            return Check::warn(
                NAME,
                format!("{transport}; not opened: cannot start a client: {error}"),
                "mount /proc, or free memory or processes",
            );
        }
        None => return absent(NAME, facts),
    };
    match outcome.opened() {
        Some(Ok(took)) => {
            Check::ok(NAME, format!("{transport}{}, opened in {} us", status(facts), took.as_micros()))
        }
        Some(Err(Errno::EACCES | Errno::EPERM)) => Check::ok(NAME, format!("{transport}{}", status(facts))),
        Some(Err(Errno::ENOTCONN)) => absent(NAME, facts),
        Some(Err(Errno::ENOMEM)) => Check::fail(
            NAME,
            format!(
                "{transport}, and as many files are open on it as it allows, or its daemon has no memory"
            ),
            "close some, or serve with a larger --max-open",
        ),
        Some(Err(errno)) => {
            Check::fail(NAME, format!("{transport}; it cannot be opened: {errno}"), restart(facts))
        }
        None if outcome.hung && !outcome.steps.is_empty() => Check::fail(
            NAME,
            format!("{transport}; it does not answer: open(2) of {path} did not return within 5 s"),
            restart(facts),
        ),
        None => Check::warn(
            NAME,
            format!("{transport}; not opened: the client did not start in time, or ended without a word"),
            "try again, and report it if it stays",
        ),
    }
}

fn name(transport: Transport) -> &'static str {
    match transport {
        Transport::Fuse => "a FUSE mount",
        Transport::Cuse => "a CUSE character device",
    }
}

fn absent(name: &'static str, facts: &Facts) -> Check {
    let installed = Path::new("/usr/lib/systemd/system/kmonitor.service").exists();
    let remedy = if installed { "sudo systemctl start kmonitor".to_owned() } else { facts.command("serve") };
    Check::warn(name, format!("no device is served at {}", facts.path.display()), remedy)
}

/// Mode and owner, which the kernel knows once the node was opened, or that was tried.
fn status(facts: &Facts) -> String {
    statx::cached(&facts.path, 0).map_or_else(|_| String::new(), |status| format!(", {}", describe(&status)))
}

fn restart(facts: &Facts) -> String {
    match &facts.daemon {
        Some(daemon) if daemon.stopped => {
            let pid = daemon.pid;
            format!("its daemon, process {pid}, is stopped: kill -CONT {pid}")
        }
        Some(daemon) => {
            let pid = daemon.pid;
            format!("if it stays so, also when the machine is less busy: kill -KILL {pid}, and serve again")
        }
        None => "if it stays so, end its daemon and serve again".to_owned(),
    }
}

/// Whether something is in the way of a device.
pub fn leftovers(facts: &Facts) -> Check {
    const NAME: &str = "leftovers";
    let path = facts.path.display();
    let clears = |by_hand: &dyn Display| {
        format!("{} clears it; or by hand, as root: {by_hand}", facts.command("serve"))
    };
    match &facts.found {
        Ok(Found::Node(_)) if facts.opened() == Some(Err(Errno::ENOTCONN)) => Check::warn(
            NAME,
            format!("the mount of a daemon that was killed is still at {path}"),
            clears(&format_args!("umount -l {path} && rm {path}")),
        ),
        Ok(Found::DeadNode) => Check::warn(
            NAME,
            format!("{path} is the node of a device that is gone"),
            clears(&format_args!("rm {path}")),
        ),
        Ok(Found::Marker) => Check::warn(
            NAME,
            format!("{path} is the file that a daemon had mounted over, and left when it was killed"),
            clears(&format_args!("rm {path}")),
        ),
        Ok(Found::Empty) => Check::warn(
            NAME,
            format!(
                "{path} is an empty file: a place prepared for a mount, which stays, or a mistake; programs that \
                 open it now get no error and no events"
            ),
            format!("unless somebody prepared it: rm {path}"),
        ),
        Ok(Found::Unreadable) => Check::warn(
            NAME,
            format!("not checked: {path} is a file that only its owner may read"),
            facts.command("doctor"),
        ),
        Ok(Found::Foreign(what)) => Check::fail(
            NAME,
            format!("{path} exists and is not kmonitor's ({what})"),
            "remove it, or choose another place with --path",
        ),
        Ok(Found::Nothing | Found::Node(_)) | Err(_) => Check::ok(NAME, "nothing is in the way"),
    }
}
