//! The options of `kmonitor wait`.

use std::time::Duration;

use clap::Args;

use kmonitor::source::Choice;

use super::color::ColorOption;
use super::serve::source;
use super::targets::TargetOptions;

const EXAMPLES: &str = "\
Examples: kmonitor wait --status 1234; kmonitor wait -t 9.5 -n make -u alice

Signals: at SIGINT and SIGTERM it prints what is known so far, and ends.";

/// Wait until processes have exited; they need not be children
///
/// Needs no daemon, and root for --start and --tree alone. A process is held by a pidfd, so the end of a process is
/// never missed and another process that is given its number later is never waited for. Several targets are
/// waited for together, and a line is printed as each of them ends:
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
    help_template = "{about-with-newline}{usage-heading} {usage}\n{positionals}\n{options}{after-help}"
)]
pub struct WaitOptions {
    #[command(flatten)]
    pub targets: TargetOptions,
    /// Until such a process executes its program
    ///
    /// Processes are described then, not named by number. One that is there already counts. Needs the rights of
    /// kmonitor-watch(1); what is described is the program as it was executed, and the user is the real one.
    #[arg(long, conflicts_with_all = ["processes", "pidfile", "count", "exited", "status", "tree"])]
    pub start: bool,
    /// Until all descendants have exited too
    ///
    /// Those that there are, and those to come. Needs the rights of kmonitor-watch(1).
    #[arg(long, conflicts_with_all = ["count", "status"])]
    pub tree: bool,
    /// With --start and --tree: events by bpf or connector
    ///
    /// As for kmonitor-watch(1).
    #[arg(long, value_name = "SOURCE", default_value = "auto", value_parser = source, hide_short_help = true)]
    pub source: Choice,
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
    /// Before Linux 6.6 only root can know the status.
    #[arg(long)]
    pub status: bool,
    /// Print only errors
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    pub color: ColorOption,
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
    fn a_timeout_is_a_finite_number_of_seconds() {
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for bad in ["", "-1", "inf", "nan", "1s", "1e40"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
