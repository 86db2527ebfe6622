//! The committed objects are what their sources say.

use crate::device::client::project;
use crate::device::program::finish;
use crate::guest::host::Scratch;
use std::fs;
use std::io::{self, Write};
use std::process::Command;

/// The compiler that made it: that of Debian 12.
const CLANG: &str = "clang-14";

#[test]
fn the_objects_are_made_from_the_sources_beside_them() {
    let programs = project("src/source/programs");
    let version = Command::new(CLANG).arg("--version").output();
    let version =
        version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if !version.starts_with("Debian clang version 14.0.6") {
        // Not by a macro: the harness keeps what those print in a passing test to itself.
        let warning =
            "NOT RUN: whether the BPF objects are made from their sources: that takes Debian 12's clang-14\n";
        io::stderr().write_all(warning.as_bytes()).expect("standard error");
        return;
    }
    let scratch = std::env::temp_dir().canonicalize().expect("there is a directory for temporary files");
    let scratch = Scratch::new(&scratch).expect("a directory for the test");
    fs::create_dir(scratch.path("built")).expect("mkdir");
    finish(Command::new(programs.join("build")).arg(scratch.path("built"))).well();
    for entry in fs::read_dir(scratch.path("built")).expect("it is there") {
        let name = entry.expect("it is readable").file_name();
        let same = fs::read(scratch.path("built").join(&name)).ok() == fs::read(programs.join(&name)).ok();
        assert!(same, "src/source/programs/{name:?} is old: run src/source/programs/build");
    }
}
