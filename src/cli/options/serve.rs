//! The options of the commands that serve the device.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use kmonitor::daemon::Config;
use kmonitor::node::Carrier;
use kmonitor::source::Choice;
use nix::unistd::{Group, User};

const BELOW_SERVE: &str = "\
Examples:
  sudo kmonitor serve                           For root alone
  sudo kmonitor serve --mode 660 --group adm    For a group, too

Signals: SIGTERM, SIGINT and SIGHUP end it; SIGUSR1 prints what it has counted.";

const BELOW_RUN: &str = "\
Example: sudo kmonitor run -- ./monitor --its-option

Signals: SIGTERM and SIGHUP go to PROGRAM; SIGINT and SIGQUIT are left to it.";

/// Put the device in place and serve it
///
/// Prints `kmonitor: ready: FILE` when programs can open the device, and tells systemd.
#[derive(Debug, Args)]
#[command(after_help = BELOW_SERVE)]
pub struct ServeOptions {
    #[command(flatten)]
    pub device: DeviceOptions,
}

/// Serve the device while PROGRAM runs, and exit with its status
///
/// SIGTERM and SIGHUP are passed on to PROGRAM. The exit status is PROGRAM's; 128 plus the signal's number
/// if a signal ended it; 127 if PROGRAM was not found, 126 if it cannot be run, 125 if the device cannot
/// be served.
#[derive(Debug, Args)]
#[command(
    after_help = BELOW_RUN,
    // Clap's own with a blank line less, for the screen.
    help_template = "{about-with-newline}{usage-heading} {usage}\n\n{all-args}{after-help}"
)]
pub struct RunOptions {
    #[command(flatten)]
    pub device: DeviceOptions,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "PROGRAM")]
    pub program: Vec<OsString>,
}

/// What both commands take.
#[derive(Debug, Args)]
pub struct DeviceOptions {
    /// Where the device is
    #[arg(long, value_name = "FILE", default_value = "/dev/kmonitor")]
    pub path: PathBuf,
    /// What it is: cuse, fuse or auto
    ///
    /// A character device (cuse), a mounted file (fuse), or a character device where the kernel has CUSE
    /// and the path is in /dev, else a mounted file (auto).
    #[arg(long, value_name = "CARRIER", default_value = "auto", value_parser = carrier)]
    pub node: Carrier,
    /// Events by bpf or connector
    ///
    /// BPF programs in the kernel (bpf), the proc connector (connector), or BPF programs where the kernel takes
    /// them, else the proc connector (auto).
    #[arg(long, value_name = "SOURCE", default_value = "auto", value_parser = source)]
    pub source: Choice,
    /// Its permission bits, in octal
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = mode)]
    pub mode: u32,
    /// Its owner, by name or number
    #[arg(long, value_name = "USER", default_value = "0", value_parser = user)]
    pub owner: u32,
    /// Its group, by name or number
    #[arg(long, value_name = "GROUP", default_value = "0", value_parser = group)]
    pub group: u32,
    /// Send THREAD_ABORT and PROCESS_ABORT, too
    ///
    /// The original declares both events and never sends them. With this option a task that dies of a
    /// signal sends one before its exit event.
    #[arg(long)]
    pub abort_events: bool,
    /// Most registrations in all
    ///
    /// More fail with ENOMEM. The default is 1048576, or less where that would take more than half of the
    /// memory that there is for the daemon.
    #[arg(long, value_name = "N")]
    pub max_registrations: Option<usize>,
    /// Most registrations of a monitor
    ///
    /// A monitor is a thread that registers. More fail with ENOMEM. The default is 262144, or less as above.
    #[arg(long, value_name = "N")]
    pub max_per_monitor: Option<usize>,
    /// Most registrations of a user
    ///
    /// Of one that is not root, by the real uid. More fail with ENOMEM. The default is half of --max-registrations, of
    /// which a sixteenth is kept for root.
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub max_per_user: Option<usize>,
    /// Most open files on the device
    #[arg(long, value_name = "N", default_value_t = Config::default().most_open)]
    pub max_open: usize,
    /// Most signals held per monitor
    ///
    /// Signals are held while the queue of the monitor itself is full. Later ones are lost. The default is
    /// 262144, or less where there is little memory.
    #[arg(long, value_name = "N")]
    pub max_waiting: Option<usize>,
    /// Size of the event queue
    ///
    /// The kernel queues events for the daemon, 832 bytes each. When the queue is full, events are lost.
    #[arg(long, value_name = "BYTES", default_value_t = Config::default().event_buffer, value_parser = buffer)]
    pub event_buffer: usize,
    /// Keep all rights of root
    ///
    /// Without this option the daemon does not start where it cannot give up what serving does not take:
    /// capabilities, the view of files, system calls.
    #[arg(long, hide_short_help = true)]
    pub unconfined: bool,
}

fn carrier(text: &str) -> Result<Carrier, String> {
    match text {
        "auto" => Ok(Carrier::Auto),
        "cuse" => Ok(Carrier::Cuse),
        "fuse" => Ok(Carrier::Fuse),
        _ => Err("it is auto, cuse or fuse".to_owned()),
    }
}

/// A source of events.
pub fn source(text: &str) -> Result<Choice, String> {
    match text {
        "auto" => Ok(Choice::Auto),
        "bpf" => Ok(Choice::Bpf),
        "connector" => Ok(Choice::Connector),
        _ => Err("it is auto, bpf or connector".to_owned()),
    }
}

fn buffer(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes @ 4096..=0x7fff_ffff) => Ok(bytes),
        _ => Err("it is a number of bytes from 4096 to 2147483647".to_owned()),
    }
}

fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("permission bits are octal, from 0 to 777; for example 660".to_owned()),
    }
}

/// A user by name or number.
pub fn user(text: &str) -> Result<u32, String> {
    number_or(text, "user", || Ok(User::from_name(text)?.map(|user| user.uid.as_raw())))
}

fn group(text: &str) -> Result<u32, String> {
    number_or(text, "group", || Ok(Group::from_name(text)?.map(|group| group.gid.as_raw())))
}

fn number_or(text: &str, what: &str, look_up: impl Fn() -> nix::Result<Option<u32>>) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match look_up() {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(format!("there is no {what} of that name")),
        Err(errno) => Err(format!("cannot look the {what} up: {errno}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_owners_are_checked_when_they_are_read() {
        assert_eq!(mode("660"), Ok(0o660));
        for bad in ["", "8", "1000", "-1", "rw"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
        assert_eq!((user("root"), group("12")), (Ok(0), Ok(12)));
        assert!(user("nobody-has-this-name").is_err());
    }
}
