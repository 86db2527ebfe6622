//! The options of `kmonitor wait`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kmonitor::wait::Named;
use regex_lite::Regex;

use super::color::ColorOption;
use super::serve::user;

const EXAMPLES: &str = "\
Examples: kmonitor wait --status 1234; kmonitor wait -t 9.5 -n make -u alice

Signals: at SIGINT and SIGTERM it prints what is known so far, and ends.";

/// Wait until processes have exited; they need not be children
///
/// Needs neither root nor a daemon. A process is held by a pidfd, so the end of a process is never missed and
/// another process that is given its number later is never waited for. Several targets are waited for
/// together, and a line is printed as each of them ends:
///
/// 1234 exited, status 0, after 1.5 s
///
/// The time counts from the start of the command. The status is left out where it cannot be known: before
/// Linux 6.15, and while the parent of another user's process has not waited for it.
///
/// Exit status: 0 when all (or COUNT) have exited; 1 if a target does not exist, none matches, or the arguments
/// are wrong; 2 if the kernel lacks what is needed; 3 after a timeout; 130 after SIGINT; 141 if nobody reads
/// the output any more. With --status, the target's own status, 124 after a timeout, and 125 instead of 1 and 2.
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    override_usage = "kmonitor wait [OPTIONS] TARGET...",
    // Clap's own with a blank line less, for the screen.
    help_template = "{about-with-newline}{usage-heading} {usage}\n\n{all-args}{after-help}"
)]
pub struct WaitOptions {
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
    /// that is repeated selects either. Processes that match later are not waited for. kmonitor itself and its
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
    /// The number is in the first line. A process that started after the file was written is not waited for:
    /// the file is stale, and its number was given to somebody else.
    #[arg(long, value_name = "FILE")]
    pub pidfile: Vec<PathBuf>,
    /// Wait no longer than this; 0 only looks
    ///
    /// Fractions are allowed. The exit status is then 3, or 124 with --status.
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// Wait until so many have exited [default: all]
    #[arg(short, long, value_name = "COUNT", value_parser = count)]
    pub count: Option<usize>,
    /// A process that does not exist (any more) is no error
    ///
    /// It counts as exited; so does a selection without a match, and a pidfile that is not there.
    #[arg(short, long, conflicts_with = "status")]
    pub exited: bool,
    /// Exit with the status of the one target
    ///
    /// 128 and the signal's number if a signal killed it. Waits until the status is known: where we may
    /// not look into the process (it belongs to another user), that is when its parent has waited for it.
    /// Before Linux 6.15 only root can know the status.
    #[arg(long)]
    pub status: bool,
    /// Print only errors
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    pub color: ColorOption,
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

fn seconds(text: &str) -> Result<Duration, String> {
    let duration = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "it is a number of seconds, such as 10 or 0.5".to_owned())
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..) => Ok(count),
        _ => Err("it is a number of processes, from 1".to_owned()),
    }
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

    #[test]
    fn a_timeout_is_a_finite_number_of_seconds() {
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for bad in ["", "-1", "inf", "nan", "1s", "1e40"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
