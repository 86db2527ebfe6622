//! The options of `kmonitor timeline`.

use std::path::PathBuf;

use clap::Args;

use super::subject::SubjectOptions;

const EXAMPLES: &str = "\
Example: kmonitor timeline -o build.svg -- make -j8

Signals: at SIGINT it writes what was so far; a COMMAND gets SIGTERM and SIGHUP.";

/// Draw when all that a command or processes start began and ended
///
/// Needs root, except with --from. When COMMAND and all its descendants have ended, FILE is written.
///
/// If its name ends with .svg, it is a picture for any browser: a row for each process, with a bar from its birth to
/// its end and its command line, below the row of the process that made it. The pointer shows more. A pale piece of a
/// bar is the time before the process executed a program of its own; a dotted edge, a birth or an end that is not
/// known or not in the recording; a red dashed line, events that were lost.
///
/// If not, it is a trace for Perfetto (https://ui.perfetto.dev, or its trace processor): a track for each process,
/// below the track of the one that made it; a slice for each program, with its arguments and the end of the process
/// in the details; an arrow for each fork.
///
/// SIGTERM and SIGHUP are passed on to COMMAND; SIGINT and SIGQUIT from the terminal are left to it.
///
/// Exit status: COMMAND's, or 0; 1 if a target does not exist, none matches, or the arguments are wrong; 2 if the
/// kernel lacks what is needed or does not permit it; 4 after a loss with --strict; 130 after SIGINT. With COMMAND,
/// 127 if it was not found, 126 if it cannot be run, and 125 instead of 1 and 2.
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    override_usage = "kmonitor timeline -o FILE -- COMMAND... | TARGET... | --from FILE",
    // Clap's own with blank lines less, for the screen.
    help_template = "{about-with-newline}{usage-heading} {usage}\n{options}\n{after-help}"
)]
pub struct TimelineOptions {
    #[command(flatten)]
    pub subject: SubjectOptions,
    /// Write this: a picture (.svg), or a trace
    #[arg(short, long, value_name = "FILE", required = true)]
    pub output: PathBuf,
    /// Fold what takes more rows; 0: nothing
    ///
    /// Of a picture. A trace has them all.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    pub lines: usize,
}
