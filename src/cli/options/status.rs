//! The options of `kmonitor status`.

use std::path::PathBuf;

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  sudo kmonitor status               Who watches whom
  sudo kmonitor status --metrics     Counters, as the textfile collector of
                                     Prometheus's node exporter takes them

Signals: SIGINT ends it, and the daemon serves on.";

/// Show who watches whom, and what a running daemon has done
///
/// Needs root. The daemon serves meanwhile. The counters' meanings are in serve.md among the documents of the package.
///
/// With --json each line is an object whose `kind` is `daemon` (the first one), `registration`, or `end` (the last one:
/// without it the answer is not whole).
///
/// Exit status: 0; 1 if the answer is not whole, or the arguments are wrong; 2 if no daemon answers, or it may not be
/// asked.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct StatusOptions {
    /// Where the device is
    #[arg(long, value_name = "FILE", default_value = "/dev/kmonitor")]
    pub path: PathBuf,
    /// Print JSON, an object a line
    #[arg(long, conflicts_with = "metrics")]
    pub json: bool,
    /// Print the numbers in the text format of Prometheus
    #[arg(long)]
    pub metrics: bool,
}
