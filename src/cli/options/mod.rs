//! The command line: one definition, of which the command parses its arguments and the manual pages and
//! completions are made. It depends on clap and this package's library alone, so that a generator can
//! include it.
//!
//! The first paragraph of each comment is what `--help` shows, which fits a screen of 24 lines of 80
//! columns. The others are for the manual pages.

mod color;
mod doctor;
mod serve;
mod status;
mod subject;
mod targets;
mod timeline;
mod tree;
mod wait;
mod watch;

use clap::{ArgAction, Parser, Subcommand};

pub use doctor::DoctorOptions;
pub use serve::{DeviceOptions, RunOptions, ServeOptions};
pub use status::StatusOptions;
pub use subject::SubjectOptions;
pub use targets::TargetOptions;
pub use timeline::TimelineOptions;
pub use tree::TreeOptions;
pub use wait::WaitOptions;
pub use watch::WatchOptions;

/// Tells when other processes fork, execute programs and exit
///
/// Serves /dev/kmonitor, the device of 2004 by which a process asks to be sent a signal when another one
/// forks, makes a thread, executes a program or exits.
#[derive(Debug, Parser)]
#[command(
    name = "kmonitor",
    version,
    disable_help_flag = true,
    disable_help_subcommand = true,
    after_help = "Each command has its own --help and manual page, such as kmonitor-run(1).",
    after_long_help = ""
)]
pub struct Cli {
    /// Show this help
    #[arg(short, long, global = true, display_order = 1000, action = ArgAction::HelpShort)]
    help: Option<bool>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    Serve(ServeOptions),
    Run(RunOptions),
    Wait(WaitOptions),
    Watch(WatchOptions),
    Tree(TreeOptions),
    Timeline(TimelineOptions),
    Status(StatusOptions),
    Doctor(DoctorOptions),
}
