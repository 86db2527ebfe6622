//! Scenarios in a guest: a shell script each, and the lines that it prints.

use crate::device::client;
use crate::device::served::KMONITOR;
use crate::guest::{Ending, Guest, GuestError, Report};
use std::sync::OnceLock;

/// The scripts' vocabulary.
const VOCABULARY: &str = include_str!("guest.sh");

/// What happens, and what it shows.
pub struct Scenario {
    /// A name of its own among those of its guest.
    pub name: &'static str,
    /// The script, in the words of `guest.sh`.
    pub script: &'static str,
    /// The lines that it prints, where they are always the same. `...` stands for anything within one.
    pub shows: &'static str,
}

/// A guest that several tests judge; it runs once for all of them.
pub struct Stage {
    run: fn() -> Result<Report, GuestError>,
    report: OnceLock<Result<Report, GuestError>>,
}

impl Stage {
    /// A guest that runs in this way.
    pub const fn new(run: fn() -> Result<Report, GuestError>) -> Stage {
        Stage { run, report: OnceLock::new() }
    }

    /// What this scenario or step printed.
    pub fn output(&self, name: &str) -> String {
        let report = self.report.get_or_init(self.run).as_ref().unwrap_or_else(|error| panic!("{error}"));
        let step = report.step(name);
        assert_ne!(step.ending, Ending::TimedOut, "{name} hangs after it has printed\n{}", step.text());
        step.text().into_owned()
    }

    /// Asserts that a scenario printed what it should.
    pub fn shows(&self, scenario: &Scenario) {
        let output = self.output(scenario.name);
        let same = output.lines().count() == scenario.shows.lines().count()
            && output.lines().zip(scenario.shows.lines()).all(|(line, pattern)| matches(line, pattern));
        assert!(same, "{} should show\n{}\nand shows\n{output}", scenario.name, scenario.shows);
    }
}

/// True if the parts of the pattern are in the line, in their order.
fn matches(line: &str, pattern: &str) -> bool {
    let mut parts = pattern.split("...");
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || pattern.ends_with("...")
}

/// A guest with the daemon, its clients, and CUSE.
pub fn guest() -> Result<Guest, GuestError> {
    Ok(Guest::new()?
        .text("/vocabulary", 0o644, VOCABULARY)
        .program("/bin/kmonitor", KMONITOR)
        .program("/bin/device-client", client::build("client"))
        .program("/bin/host-setpriv", "/usr/bin/setpriv")
        .program("/bin/host-unshare", "/usr/bin/unshare")
        .module("fuse")
        .module("cuse"))
}

/// Has it play these, and then goes.
pub fn play(guest: Guest, scenarios: &[&Scenario]) -> Result<Report, GuestError> {
    let report = scenarios.iter().fold(guest, |guest, scenario| {
        guest.step(scenario.name, &format!(". /vocabulary\nfresh\n{}", scenario.script))
    });
    report.run()
}

#[test]
fn a_pattern_stands_for_lines_with_its_parts() {
    assert!(matches("a b c", "a b c") && matches("a b c", "a...") && matches("a b c", "...b...c"));
    assert!(!matches("a b c", "a b") && !matches("a b c", "...b") && !matches("a b c", "a...d..."));
}
