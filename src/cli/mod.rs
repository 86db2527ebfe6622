//! The commands.

mod run;
mod serve;
mod signals;

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use kmonitor::core::Options;
use kmonitor::daemon::Config;
use kmonitor::node::{Carrier, Ownership};
use kmonitor::registry::Limits;
use nix::unistd::{Group, User};

/// Tells processes, by signal, when other processes fork, exec and exit: the 2004 kmonitor device
/// from user space.
#[derive(Parser)]
#[command(name = "kmonitor", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Put the device in place and serve it until SIGTERM or SIGINT
    Serve(ServeOptions),
    /// Serve the device for as long as PROGRAM runs, and exit with its status
    ///
    /// Exit status: PROGRAM's; 128 plus the signal's number if a signal ended it; 127 if PROGRAM was
    /// not found, 126 if it cannot be run, 125 if the device cannot be served.
    Run {
        #[command(flatten)]
        options: ServeOptions,
        /// The program and its arguments
        #[arg(trailing_var_arg = true, required = true, value_name = "PROGRAM")]
        program: Vec<OsString>,
    },
}

/// What both commands that serve take.
#[derive(Args)]
struct ServeOptions {
    /// Where the device is
    #[arg(long, value_name = "FILE", default_value = "/dev/kmonitor")]
    path: PathBuf,
    /// What carries the device: cuse (a character device), fuse (a mounted file), or auto (cuse where
    /// the kernel has it)
    #[arg(long, value_name = "CARRIER", default_value = "auto", value_parser = carrier)]
    node: Carrier,
    /// Permission bits of the device, in octal
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = mode)]
    mode: u32,
    /// Owner of the device, by name or number
    #[arg(long, value_name = "USER", default_value = "0", value_parser = user)]
    owner: u32,
    /// Group of the device, by name or number
    #[arg(long, value_name = "GROUP", default_value = "0", value_parser = group)]
    group: u32,
    /// Send THREAD_ABORT and PROCESS_ABORT, which the original declares and never sends, when a task
    /// dies of a signal, before its exit event
    #[arg(long)]
    abort_events: bool,
    /// Most registrations in all; more fail with ENOMEM
    #[arg(long, value_name = "N", default_value_t = Limits::default().total)]
    max_registrations: usize,
    /// Most registrations of one monitor thread
    #[arg(long, value_name = "N", default_value_t = Limits::default().per_monitor)]
    max_per_monitor: usize,
    /// Most open files on the device
    #[arg(long, value_name = "N", default_value_t = Config::default().most_open)]
    max_open: usize,
    /// Most signals that wait for one monitor whose own queue is full; later ones are lost
    #[arg(long, value_name = "N", default_value_t = Options::default().most_waiting)]
    max_waiting: usize,
    /// Size of the kernel's queue of events for us, in bytes; one takes 832. When it is full, events are lost
    #[arg(long, value_name = "BYTES", default_value_t = Config::default().event_buffer, value_parser = buffer)]
    event_buffer: usize,
}

impl ServeOptions {
    fn config(self) -> Config {
        Config {
            path: self.path,
            carrier: self.node,
            ownership: Ownership { mode: self.mode, uid: self.owner, gid: self.group },
            limits: Limits { total: self.max_registrations, per_monitor: self.max_per_monitor },
            most_open: self.max_open,
            event_buffer: self.event_buffer,
            options: Options { abort_events: self.abort_events, most_waiting: self.max_waiting },
        }
    }
}

fn carrier(text: &str) -> Result<Carrier, String> {
    match text {
        "auto" => Ok(Carrier::Auto),
        "cuse" => Ok(Carrier::Cuse),
        "fuse" => Ok(Carrier::Fuse),
        _ => Err("it is auto, cuse or fuse".to_owned()),
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

fn user(text: &str) -> Result<u32, String> {
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

/// A command that failed: what to say, and the exit status.
pub struct Failure {
    error: Box<dyn Error>,
    status: u8,
}

impl Failure {
    fn new(status: u8, error: impl Into<Box<dyn Error>>) -> Failure {
        Failure { error: error.into(), status }
    }

    /// Says it.
    pub fn report(self) -> ExitCode {
        say(&self.error);
        ExitCode::from(self.status)
    }
}

/// Says a line on standard error, in one write. Whoever read that may have gone away; we go on all the same.
fn say(line: impl Display) {
    let _ = io::stderr().write_all(format!("kmonitor: {line}\n").as_bytes());
}

/// Runs the command that the arguments name.
pub fn main() -> Result<ExitCode, Failure> {
    match Cli::parse().command {
        Command::Serve(options) => serve::serve(&options.config()),
        Command::Run { options, program } => run::run(&options.config(), &program),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

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
