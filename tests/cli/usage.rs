//! What all commands share: usage, help, exit statuses.

use super::target::wait;
use crate::device::program::{Ended, finish};
use crate::device::served::KMONITOR;
use std::process::Command;

fn kmonitor(arguments: &[&str]) -> Ended {
    finish(Command::new(KMONITOR).args(arguments))
}

#[test]
fn help_fits_a_screen_and_has_examples() {
    for command in ["serve", "run", "wait", "watch", "tree", "timeline", "doctor"] {
        for option in ["-h", "--help"] {
            let help = kmonitor(&[command, option]).well();
            assert!(help.contains(&format!("Usage: kmonitor {command}")), "{help}");
            assert!(help.contains("\nExample"), "{help}");
            assert!(help.contains("SIGINT"), "what signals do: {help}");
            assert!(help.lines().count() <= 24, "{help}");
            assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
        }
    }
    let help = kmonitor(&["--help"]).well();
    assert!(
        ["serve", "run", "wait", "watch", "tree", "timeline", "doctor"]
            .iter()
            .all(|command| help.contains(&format!("\n  {command} ")))
    );
}

#[test]
fn version_is_told() {
    assert_eq!(kmonitor(&["--version"]).well(), format!("kmonitor {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_is_one_sentence_and_status_1() {
    kmonitor(&["no-such-command"]).gave_up(1, &["no-such-command", "--help"]);
    kmonitor(&["serve", "--no-such-option"]).gave_up(1, &["--no-such-option", "--help"]);
    kmonitor(&["serve", "--mode", "rw"]).gave_up(1, &["'rw'", "--mode", "octal"]);
    kmonitor(&["doctor", "--json=x"]).gave_up(1, &["--json"]);
    let ended = kmonitor(&[]);
    assert_eq!((ended.code(), ended.output.as_str()), (1, ""));
    assert!(ended.errors.contains("Usage: kmonitor <COMMAND>"), "{ended:?}");
}

#[test]
fn wrong_usage_where_small_statuses_are_a_programs_is_125() {
    kmonitor(&["run"]).gave_up(125, &["<PROGRAM>"]);
    kmonitor(&["run", "--mode", "rw", "--", "true"]).gave_up(125, &["'rw'"]);
    kmonitor(&["wait", "--no-such-option", "--status", "1"]).gave_up(125, &["--no-such-option"]);
}

#[test]
fn a_wrong_value_of_each_option_of_wait_is_named() {
    wait(&[]).gave_up(1, &["what to wait for is missing", "--help"]);
    for pid in ["", "x", "0", "-0x1", "12:", "12:x", "2147483648"] {
        let ended = wait(&["--", pid]);
        ended.gave_up(1, &[&format!("'{pid}'")]);
    }
    for (option, values) in [
        ("-t", &["", "x", "-1", "inf", "nan", "5m"][..]),
        ("-c", &["", "x", "0", "-1", "1.5"]),
        ("-u", &["no-such-user", "-1", "4294967296"]),
        ("-P", &["x", "0", "-1"]),
        ("-f", &["(", "[", "*"]),
    ] {
        for value in values {
            wait(&[&format!("{option}{value}"), "1"]).gave_up(1, &[]);
            let ended = wait(&[option, value, "1"]);
            assert_eq!((ended.code(), ended.errors.lines().count()), (1, 1), "{option} {value}: {ended:?}");
        }
    }
    for option in ["-t", "-c", "-u", "-P", "-f", "-n", "--cgroup", "--pidfile", "--color"] {
        wait(&[option]).gave_up(1, &["a value is required", option.trim_start_matches('-')]);
    }
}
