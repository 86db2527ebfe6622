//! The original's verdicts as they were recorded, for whoever has not the mail to run it.

use super::suite::{self, Bits, Listed};
use super::tap::{Case, Outcome, Report};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Set to 1, it has the tests write anew what they otherwise compare.
const VARIABLE: &str = "KMONITOR_BLESS";

/// Whether recorded and generated files are to be written anew.
pub fn blessing() -> bool {
    env::var_os(VARIABLE).is_some_and(|value| value == "1")
}

/// Writes such a file.
pub fn bless(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    println!("written anew: {}", path.display());
}

/// Where the report of the original's run is.
pub fn path(bits: Bits) -> PathBuf {
    suite::directory().join(match bits {
        Bits::B64 => "original64.tap",
        Bits::B32 => "original32.tap",
    })
}

/// The report of the original's run.
pub fn read(bits: Bits) -> Report {
    let path = path(bits);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("cannot read {}: {error}; a run on the original with {VARIABLE}=1 writes it", path.display())
    });
    Report::parse(&text)
}

/// Whether a recorded case is this one, and was ok on the original.
pub fn is_recorded(case: &Case, listed: &Listed) -> bool {
    let right = match &case.outcome {
        Outcome::Ran { fact, ok, .. } => *ok && *fact == listed.fact,
        Outcome::Skipped => true,
    };
    right && case.name == listed.name
}
