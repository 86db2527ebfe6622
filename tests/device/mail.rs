//! The example program of the mail's own documentation.

use super::client::gcc;
use super::program::{Program, finish, until, waits_in};
use super::served::{KMONITOR, Place};
use crate::guest::host;
use crate::original;
use std::fs;
use std::process::Command;

/// True if a child of this process waits for a signal. Our daemon has another child, its keeper.
fn child_waits_for_a_signal(parent: i32) -> bool {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    children
        .split_whitespace()
        .any(|child| child.parse().is_ok_and(|child| waits_in(child, libc::SYS_rt_sigsuspend)))
}

#[test]
#[ignore = "needs the 2004 mail: KMONITOR_MAIL or ../shared/mail"]
fn the_mails_example_waits_for_an_exit() {
    let mail = original::mail().unwrap_or_else(|error| panic!("{error}"));
    let place = Place::default_path();
    let source = place.beside("example.c");
    let fill = super::client::project("tests/abi/fill_mail_example");
    fs::write(&source, finish(Command::new(fill).arg(mail)).well()).expect("write");
    let example = place.beside("example");
    // The handler of the example ignores its arguments.
    host::run(gcc(&source, &example).arg("-Wno-unused-parameter"), "gcc")
        .unwrap_or_else(|error| panic!("{error}"));

    let mut target = Program::quiet(&mut Command::new("cat"));
    let mut command = Command::new(KMONITOR);
    command.args(["run", "--"]).arg(&example).arg(target.id().to_string());
    let mut kmonitor = Program::start(&mut command);
    until("the example waits", || child_waits_for_a_signal(kmonitor.id()));
    assert!(kmonitor.is_running());
    target.hang_up();
    assert_eq!(kmonitor.end().code(), Some(0));
    place.assert_clean();
}
