//! The options that choose processes.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use kmonitor::wait::Named;
use regex_lite::Regex;

use super::serve::user;

/// Processes that are there.
#[derive(Debug, Args)]
pub struct TargetOptions {
    /// Processes, by number; PID:INODE is one life of it
    ///
    /// INODE is the inode number of a pidfd of the process (Linux 6.9), which is given to no other process
    /// until the next boot. It is what waitpid(1) of util-linux takes and getino(1) prints.
    #[arg(value_name = "PID", value_parser = named)]
    pub processes: Vec<Named>,
    /// Processes of this name
    ///
    /// The exact name of the process (as in /proc/PID/comm), or of the file that it executes. Options that
    /// select narrow one another: -n and -u select the processes of this name that belong to this user. One
    /// that is repeated selects either. Processes that match later are not among them. kmonitor itself and its
    /// ancestors are never selected.
    #[arg(short, long, value_name = "NAME")]
    pub name: Vec<OsString>,
    /// Processes whose command line matches
    ///
    /// REGEX is searched for in the arguments, joined by blanks. The syntax is that of the Rust crate regex-lite,
    /// which is close to egrep's.
    #[arg(short, long, value_name = "REGEX", value_parser = regex)]
    pub full: Vec<Regex>,
    /// Processes of this (effective) user
    #[arg(short, long, value_name = "USER", value_parser = user)]
    pub user: Vec<u32>,
    /// Children of this process
    #[arg(short = 'P', long, value_name = "PID", value_parser = pid)]
    pub parent: Vec<i32>,
    /// Processes in this control group or below
    ///
    /// PATH is as in /proc/PID/cgroup, such as /system.slice/cron.service, or the group's directory.
    #[arg(long, value_name = "PATH")]
    pub cgroup: Vec<PathBuf>,
    /// The process whose number is in this file
    ///
    /// The number is in the first line. A process that started after the file was written is an error: the
    /// file is stale, and its number was given to somebody else.
    #[arg(long, value_name = "FILE")]
    pub pidfile: Vec<PathBuf>,
}

impl TargetOptions {
    /// True if any are named or described.
    pub fn are_some(&self) -> bool {
        !self.processes.is_empty()
            || !self.name.is_empty()
            || !self.full.is_empty()
            || !self.user.is_empty()
            || !self.parent.is_empty()
            || !self.cgroup.is_empty()
            || !self.pidfile.is_empty()
    }
}

fn named(text: &str) -> Result<Named, String> {
    let (number, inode) = match text.split_once(':') {
        Some((number, inode)) => (number, Some(inode)),
        None => (text, None),
    };
    let inode = inode.map(|inode| match inode.parse() {
        Ok(inode @ 1u64..) => Ok(inode),
        _ => Err("after the colon stands the inode number of a pidfd, such as 1234:56789".to_owned()),
    });
    Ok(Named { pid: pid(number)?, inode: inode.transpose()? })
}

fn pid(text: &str) -> Result<i32, String> {
    match text.parse() {
        Ok(pid @ 1..) => Ok(pid),
        _ => Err("a process is named by its number, from 1 to 2147483647 (-n takes names)".to_owned()),
    }
}

fn regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| format!("it is not a regular expression: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_by_a_number_and_perhaps_an_inode() {
        assert_eq!(named("12"), Ok(Named { pid: 12, inode: None }));
        assert_eq!(named("12:34"), Ok(Named { pid: 12, inode: Some(34) }));
        for bad in ["", "0", "-1", "x", "2147483648", "12:", "12:0", "12:x", ":34", "12:3:4", "1 2"] {
            assert!(named(bad).is_err(), "{bad}");
        }
    }
}
