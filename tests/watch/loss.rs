//! A reader that is slow loses records, is told so, and holds nobody up.

use super::harness::{Lines, Tally, play, rage, validate, watch};
use crate::device::program::{Program, is_in_state, until};
use kmonitor::records::{self, Kind, Record, What};
use nix::sys::signal::Signal;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

/// Has a storm raged to its end before its records are read.
fn unread(options: &[&str]) -> (Vec<Record>, u64, Option<i32>) {
    let (mut reader, writer) = std::io::pipe().expect("pipe");
    let mut command = watch(&["--json", "--buffer", "100000"]);
    command.args(options).arg("--").arg(crate::bpf::harness::build("storm")).arg("60").stderr(writer);
    let mut kmonitor = Program::start(&mut command);
    drop(command);
    let (births, _) = play(&mut kmonitor);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    let lines = Lines::new();
    fs::write(&lines.path, &text).expect("a file");
    validate(&lines.path);
    let records = records::read(text.as_bytes()).map(|record| record.expect("a record")).collect();
    (records, births, kmonitor.end().code())
}

#[test]
fn what_a_slow_reader_loses_is_counted_at_its_place() {
    for (options, status) in [(&["-e", "fork,exec,exit,thread"][..], 0), (&["--strict"], 4)] {
        let (records, births, code) = unread(options);
        let end = Tally::of(&records).end.expect("the end");
        let lost: Vec<_> = records.iter().filter(|record| matches!(record.what, What::Lost { .. })).collect();
        assert!(!lost.is_empty() && end.lost > 0, "{end:?}");
        assert_eq!(code, Some(status));
        // The numbers that are missing are those of what was lost.
        let mut expected = 0;
        for record in &records {
            if let What::Lost { count, complete, .. } = record.what {
                expected += count.expect("it is known");
                assert!(!complete);
            }
            assert_eq!(record.seq, expected, "{record:?}");
            expected += 1;
        }
        if status == 0 {
            let told = end.fork + end.thread_create + end.exit + end.thread_exit + end.exec;
            // Each is born and ends, but for the storm itself, which was seen; each round executes four programs.
            assert_eq!(told + end.lost, 2 * births + 1 + 120 + 1);
        }
    }
}

#[test]
fn a_loss_is_said_on_standard_error_too() {
    let mut weather = crate::bpf::harness::start("weather", &[]);
    let mut command = watch(&["--json", "--buffer", "20000", &weather.id().to_string()]);
    let mut kmonitor =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut output = BufReader::new(kmonitor.stdout.take().expect("a pipe"));
    let mut lines = String::new();
    while !lines.contains("\"event\":\"ready\"") {
        assert!(output.read_line(&mut lines).expect("text") > 0, "it has ended: {lines}");
    }
    // Until the weather is over nobody reads; it makes thousands of processes in this time.
    std::thread::sleep(std::time::Duration::from_millis(200));
    weather.say("");
    assert_eq!(weather.line_at_last(), "still");
    weather.hang_up();
    weather.end();
    output.read_to_string(&mut lines).expect("text");
    let mut errors = String::new();
    kmonitor.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("text");
    assert_eq!(kmonitor.wait().expect("wait").code(), Some(0), "{errors}");
    assert!(lines.contains("\"event\":\"lost\""), "{errors}");
    assert!(errors.contains("are missing here (") && errors.contains(" events were lost in all"), "{errors}");
}

/// Has a storm rage to its end while a watch of it is stopped, so that the kernel has no room for it: the
/// records, and the births and execs that the storm counted.
fn stopped(source: &str) -> (Vec<Record>, u64, u64) {
    let mut storm = crate::bpf::harness::start("storm", &["4200"]);
    let lines = Lines::new();
    let mut command =
        lines.watch(&["--source", source, "-e", "fork,exec,exit,thread", "--buffer", "1000000000"]);
    let mut kmonitor = Program::start(command.arg(storm.id().to_string()));
    until("it is ready", || fs::read_to_string(&lines.path).is_ok_and(|text| text.contains("\"ready\"")));
    kmonitor.signal(Signal::SIGSTOP);
    until("it is stopped", || is_in_state(kmonitor.id(), 'T'));
    let counted = rage(&mut storm);
    kmonitor.signal(Signal::SIGCONT);
    assert_eq!(kmonitor.end().code(), Some(0));
    (lines.read(), counted.0, counted.1)
}

#[test]
fn what_the_kernel_had_no_room_for_is_counted_by_kind() {
    let (records, births, execs) = stopped("bpf");
    let tally = Tally::of(&records);
    let end = tally.end.expect("the end");
    let lost = |wanted: Kind| -> u64 {
        let losses = records.iter().filter_map(|record| match &record.what {
            What::Lost { count, kinds, complete: true, .. } if *kinds == [wanted] => *count,
            _ => None,
        });
        losses.sum()
    };
    let lost_births = lost(Kind::Fork) + lost(Kind::ThreadCreate);
    println!("{births} births, {execs} execs: {end:?}");
    assert!(lost(Kind::Fork) > 0, "the ring was never full");
    assert_eq!(end.fork + end.thread_create + lost_births, births);
    let (ends, lost_ends) = (end.exit + end.thread_exit, lost(Kind::Exit) + lost(Kind::ThreadExit));
    // A process whose end was lost may be found to be gone, and is told of then.
    assert!(ends <= births + 1 && ends + lost_ends > births, "{ends} ends, {lost_ends} lost");
    assert_eq!(end.exec + lost(Kind::Exec), execs);
    assert_eq!(tally.living.len(), 0, "no end is missing of those whose birth was told");
}

#[test]
fn what_the_connector_had_no_room_for_is_told_and_nobody_lives_on() {
    let (records, births, execs) = stopped("connector");
    let tally = Tally::of(&records);
    let end = tally.end.expect("the end");
    println!("{births} births, {execs} execs: {end:?}");
    // It counts strangers' events too.
    let told = end.fork + end.thread_create + end.exec + end.exit + end.thread_exit;
    assert!(end.lost > 0 && told + end.lost > 2 * births + execs, "{end:?}");
    assert_eq!((&tally.wrong[..], tally.living.len()), (&[][..], 0));
}
