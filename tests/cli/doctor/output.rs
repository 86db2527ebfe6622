//! How it prints what it has found.

use crate::device::program::{Ended, finish};
use crate::device::served::{KMONITOR, Place};
use std::process::Command;

#[test]
fn wrong_usage_is_one_sentence_and_status_1() {
    for arguments in [&["--jsn"][..], &["extra"], &["--path"], &["--color", "blue"]] {
        finish(Command::new(KMONITOR).arg("doctor").args(arguments)).gave_up(1, &[arguments[0]]);
    }
}

/// On a terminal, with this environment.
fn on_a_terminal(place: &Place, options: &str, variable: (&str, &str)) -> String {
    let command = format!("{KMONITOR} doctor --path {} {options}", place.text());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).env("TERM", "xterm");
    finish(script.env_remove("NO_COLOR").env(variable.0, variable.1)).well()
}

#[test]
fn a_line_a_check_in_colour_on_a_terminal_only() {
    let place = Place::new();
    let run = |options: &[&str]| -> Ended {
        finish(Command::new(KMONITOR).args(["doctor", "--path", place.text()]).args(options))
    };
    let plain = run(&[]).well();
    assert!(!plain.contains('\x1b'), "{plain}");
    assert!(plain.starts_with("ok    versions      kmonitor "), "{plain}");
    assert!(plain.contains("\nok    leftovers     nothing is in the way\nusable: "), "{plain}");
    assert!(run(&["--color", "always"]).well().contains("\x1b[32mok  \x1b[0m  "));
    assert!(on_a_terminal(&place, "", ("LANG", "C")).contains("\x1b[32mok"));
    for (options, variable) in
        [("", ("NO_COLOR", "1")), ("", ("TERM", "dumb")), ("--color never", ("LANG", "C"))]
    {
        let output = on_a_terminal(&place, options, variable);
        assert!(!output.contains('\x1b'), "{options} {variable:?}: {output}");
    }
}
