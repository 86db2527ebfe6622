//! The options of `kmonitor watch`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use kmonitor::source::Choice;
use kmonitor::watch::{Events, ROOM};

use super::color::ColorOption;
use super::serve::{source, user};
use super::targets::TargetOptions;

const EXAMPLES: &str = "\
Examples:
  kmonitor watch -- make -j8          What it starts; all goes to standard error
  kmonitor watch -e exec -n cron      What cron and its descendants execute

Signals: SIGINT ends it; a COMMAND gets SIGTERM and SIGHUP.";

/// Print what processes and their descendants start, and how it ends
///
/// Needs root. A line is printed for each event: the time, what happened, the process, its parent, and its command
/// line in the shell's quotes; at an exit also the status, and how long the process lived:
///
/// 12:00:00.123456  exec   30196  30195  date +%s
///
/// 12:00:00.124956  exit   30196  30195  date +%s  status 0, after 0.002 s
///
/// It ends when all processes that it watches have ended. With COMMAND, that is when COMMAND and all its descendants
/// have; standard error gets what is printed, and the exit status is COMMAND's. SIGTERM and SIGHUP are passed on to
/// COMMAND; SIGINT and SIGQUIT from the terminal are left to it.
///
/// Events that were lost are told at their place, and at the end how many they were. A reader that is too slow loses
/// lines and never holds COMMAND up.
///
/// Exit status: COMMAND's, or 0; 1 if a target does not exist, none matches, or the arguments are wrong; 2 if the
/// kernel lacks what is needed or does not permit it; 4 after a loss with --strict; 130 after SIGINT; 141 if nobody
/// reads the output any more. With COMMAND, 127 if it was not found, 126 if it cannot be run, and 125 instead of 1
/// and 2.
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    override_usage = "kmonitor watch [OPTIONS] TARGET... | -- COMMAND...",
    // Clap's own with blank lines less, for the screen.
    help_template = "{about-with-newline}{usage-heading} {usage}\n{positionals}\n{options}{after-help}",
    // Which every screen has room for.
    mut_arg("color", |option| option.hide_short_help(true)),
    mut_arg("cgroup", |option| option.hide_short_help(true)),
)]
pub struct WatchOptions {
    #[command(flatten)]
    pub targets: TargetOptions,
    /// The command to run, with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
    /// fork, exec, exit, thread [default: not thread]
    ///
    /// Separated by commas: only these events are printed. `thread` is a new thread, and the end of one.
    #[arg(short, long, value_name = "EVENTS", default_value = "fork,exec,exit", hide_default_value = true, value_parser = events)]
    pub events: Events,
    /// All processes there are
    #[arg(short, long, conflicts_with_all = ["command", "processes", "name", "full", "user", "parent", "cgroup", "pidfile", "no_follow"])]
    pub all: bool,
    /// Not the descendants
    #[arg(long)]
    pub no_follow: bool,
    /// Run COMMAND as this user
    ///
    /// With the user's groups; the environment stays as it is.
    #[arg(long, value_name = "USER", value_parser = user, requires = "command")]
    pub run_as: Option<u32>,
    /// Print to this file
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print one JSON object a line
    ///
    /// The page docs/watching.md describes the fields, and docs/watch-schema.json is their schema.
    #[arg(long)]
    pub json: bool,
    /// Exit with status 4 if events were lost
    #[arg(long)]
    pub strict: bool,
    /// Events by bpf or connector
    ///
    /// BPF programs in the kernel (bpf), the proc connector (connector), or BPF programs where the kernel takes
    /// them and they miss nothing, else the proc connector (auto). The connector tells less: command lines only of
    /// processes that live long enough, no CPU time, no memory.
    #[arg(long, value_name = "SOURCE", default_value = "auto", value_parser = source)]
    pub source: Choice,
    /// Most memory for what a slow reader has not read
    ///
    /// In bytes. More is lost, and told.
    #[arg(long, value_name = "BYTES", default_value_t = ROOM, hide_short_help = true)]
    pub buffer: usize,
    #[command(flatten)]
    pub color: ColorOption,
}

fn events(text: &str) -> Result<Events, String> {
    let mut events = Events { fork: false, exec: false, exit: false, thread: false };
    for name in text.split(',') {
        *match name.trim() {
            "fork" => &mut events.fork,
            "exec" => &mut events.exec,
            "exit" => &mut events.exit,
            "thread" => &mut events.thread,
            _ => return Err("events are fork, exec, exit and thread, with commas between them".to_owned()),
        } = true;
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_chosen_by_name() {
        let all = Events { fork: true, exec: true, exit: true, thread: true };
        assert_eq!(events("thread,exit,fork,exec"), Ok(all));
        assert_eq!(events("fork, exit"), Ok(Events { exec: false, thread: false, ..all }));
        for bad in ["", "forks", "fork,", "fork exec"] {
            assert!(events(bad).is_err(), "{bad}");
        }
    }
}
