//! The options of `kmonitor doctor`.

use std::path::PathBuf;

use clap::Args;

use super::color::ColorOption;

const EXAMPLES: &str = "\
Examples:
  kmonitor doctor          What this user can do
  sudo kmonitor doctor     What root can do, with nothing left unchecked

Exit status: 0 if kmonitor can be used here, 2 if not.

Signals: SIGINT ends it, and nothing is left.";

/// Check whether kmonitor can be used here, and say what to do if not
///
/// Prints a line for each check: `ok`, `warn` or `fail`, what was checked and what was found, and what to do
/// about it. Where a device is served, a process is watched through it, and the time from its end to the
/// signal is measured. Nothing is changed, and no daemon is disturbed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorOptions {
    /// Where the device is
    #[arg(long, value_name = "FILE", default_value = "/dev/kmonitor")]
    pub path: PathBuf,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub color: ColorOption,
    /// Be the client that the check of a served device starts.
    #[arg(long, hide = true)]
    pub as_client: bool,
}
