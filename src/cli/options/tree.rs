//! The options of `kmonitor tree`.

use std::path::PathBuf;

use clap::Args;

use super::color::ColorOption;
use super::subject::SubjectOptions;

const EXAMPLES: &str = "\
Example: kmonitor tree -- make -j8

Signals: at SIGINT it prints the tree so far; a COMMAND gets SIGTERM and SIGHUP.";

/// Draw the tree of all that a command or processes start
///
/// Needs root, except with --from. When COMMAND and all its descendants have ended, a line is printed for each process
/// that there was: how long it lived, its time on processors and the most memory that it had (its own, without its
/// children's), its exit status or the signal that killed it, and its command line in the shell's quotes, below the
/// one of the process that made it. Failures are marked. While the tree grows, a line on the terminal counts
/// processes.
///
/// A name in parentheses is a process that executed no program of its own; one in brackets, a process whose arguments
/// are not known; `a → b`, a process that executed a, and then b. `?` is a status that is not known, `>` stands before
/// a time that is longer than can be known.
///
/// What does not fit in --lines is folded: wide branches first, and those last that failed or lived long.
///
/// With COMMAND, standard error gets the tree. SIGTERM and SIGHUP are passed on to COMMAND; SIGINT and SIGQUIT from
/// the terminal are left to it.
///
/// Exit status: COMMAND's, or 0; 1 if a target does not exist, none matches, or the arguments are wrong; 2 if the
/// kernel lacks what is needed or does not permit it; 4 after a loss with --strict; 130 after SIGINT; 141 if nobody
/// reads the output any more. With COMMAND, 127 if it was not found, 126 if it cannot be run, and 125 instead of 1
/// and 2.
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    override_usage = "kmonitor tree [OPTIONS] -- COMMAND... | TARGET... | --from FILE",
    // Clap's own with blank lines less, for the screen.
    help_template = "{about-with-newline}{usage-heading} {usage}\n{options}\n{after-help}"
)]
pub struct TreeOptions {
    #[command(flatten)]
    pub subject: SubjectOptions,
    /// Print to this file
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Fold what takes more lines; 0: nothing
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    pub lines: usize,
    /// Cut lines; 0: none [default: the terminal's]
    ///
    /// Elsewhere than on a terminal, none are cut by default.
    #[arg(long, value_name = "COLUMNS")]
    pub width: Option<usize>,
    /// Print the processes' numbers, too
    #[arg(long)]
    pub pids: bool,
    #[command(flatten)]
    pub color: ColorOption,
}
