//! What can go wrong, by what the reader can do about it.

use super::StepResult;
use std::fmt;
use std::io;
use std::process::Output;

/// Why a guest gave no report.
pub enum GuestError {
    /// The host lacks something: install the package.
    Missing {
        /// What is not there.
        what: String,
        /// The Debian package that brings it.
        package: String,
    },
    /// The host could not do a step of the preparation.
    Host {
        /// What was tried, and on what.
        action: String,
        /// Why it failed.
        reason: String,
    },
    /// The guest panicked, hung, or could not be prepared inside.
    Guest(Box<Fallen>),
}

/// What a guest that did not finish left behind.
pub struct Fallen {
    /// What happened.
    pub what: String,
    /// The step that was running.
    pub during: Option<String>,
    /// The output of that step so far.
    pub output: Vec<u8>,
    /// The steps that had ended before.
    pub finished: Vec<StepResult>,
    /// All that the kernel and the emulator said.
    pub console: String,
}

impl GuestError {
    pub(crate) fn missing(what: impl Into<String>, package: impl Into<String>) -> Self {
        GuestError::Missing { what: what.into(), package: package.into() }
    }

    /// For `map_err`: names what was tried.
    pub(crate) fn host(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |error| GuestError::Host { action: action.into(), reason: error.to_string() }
    }

    /// A tool of the host that ended badly, with what it said.
    pub(crate) fn tool(action: impl Into<String>, output: &Output) -> Self {
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        GuestError::Host {
            action: action.into(),
            reason: format!("{}: {}", output.status, String::from_utf8_lossy(&said)),
        }
    }
}

impl fmt::Display for GuestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GuestError::Missing { what, package } => {
                write!(f, "{what} is missing: install Debian's package {package}")
            }
            GuestError::Host { action, reason } => write!(f, "cannot {action}: {reason}"),
            GuestError::Guest(fallen) => fallen.fmt(f),
        }
    }
}

impl fmt::Display for Fallen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        match &self.during {
            Some(step) => write!(f, " during step \"{step}\"")?,
            None => write!(f, " before the first step")?,
        }
        for step in &self.finished {
            write!(f, "\n--- step \"{}\" had ended: {}", step.name, step.ending)?;
        }
        if !self.output.is_empty() {
            let output = String::from_utf8_lossy(&self.output);
            write!(f, "\n--- its output ended with\n{}", tail(&output))?;
        }
        write!(f, "\n--- the console ended with\n{}", tail(&self.console))
    }
}

/// The last lines of a text, few enough to read.
fn tail(text: &str) -> &str {
    let text = text.trim_end();
    match text.rmatch_indices('\n').nth(99) {
        Some((line_end, _)) => &text[line_end + 1..],
        None => text,
    }
}

// A test that returns an error, or unwraps one, prints its Debug form: that is the sentence as well.
impl fmt::Debug for GuestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Fallen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for GuestError {}
