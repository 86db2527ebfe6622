//! The command `kmonitor`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main().unwrap_or_else(|failure| failure.report())
}
