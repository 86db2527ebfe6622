//! The harness on trial.

use super::guest::{Ending, Fallen, Guest, GuestError, Report};
use std::time::{Duration, Instant};

/// A guest that falls: its error's fields.
fn fall(result: Result<Report, GuestError>) -> Box<Fallen> {
    match result {
        Err(GuestError::Guest(fallen)) => fallen,
        other => panic!("this guest falls, but it gave {other:?}"),
    }
}

#[test]
fn steps_give_back_their_status_and_their_bytes() -> Result<(), GuestError> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let printf: String = every_byte.iter().map(|byte| format!("\\{byte:03o}")).collect();
    let report = Guest::new()?
        .text("/data/greeting", 0o640, "good day\n")
        .program("/bin/host-uname", "/usr/bin/uname")
        .step("zero", "cat /data/greeting; stat -c %a /data/greeting")
        .step("three", "echo to stdout; echo to stderr >&2; exit 3")
        .step("signal", "kill -TERM $$")
        .step("bytes", &format!("printf '{printf}'"))
        .step("much", "yes 0123456789abcde | head -c 1048576")
        .step("noise", "echo '<0>a loud kernel message' >/dev/kmsg; echo calm")
        .step("kernel", "host-uname -r")
        .step("user", "id -u; ulimit -i; grep -c MemTotal /proc/meminfo")
        .run()?;
    println!("ready for the first step after {:?}", report.boot);

    assert_eq!(report.step("zero").text(), "good day\n640\n");
    assert!(report.step("zero").succeeded());
    assert_eq!(report.step("three").text(), "to stdout\nto stderr\n");
    assert_eq!(report.step("three").ending, Ending::Exit(3));
    assert_eq!(report.step("signal").ending, Ending::Exit(128 + 15));
    assert_eq!(report.step("bytes").output, every_byte);
    assert_eq!(report.step("much").output, b"0123456789abcde\n".repeat(65536));
    assert_eq!(report.step("noise").text(), "calm\n");
    assert!(report.console.contains("a loud kernel message"));
    let version = Guest::new()?.kernel().version().to_owned();
    assert_eq!(report.step("kernel").text().trim(), version);
    assert_eq!(report.step("user").text(), "0\n8192\n1\n");
    assert_eq!(report.steps.len(), 8);
    Ok(())
}

#[test]
fn a_step_that_hangs_is_ended_and_the_next_one_runs() -> Result<(), GuestError> {
    let limit = Duration::from_secs(5);
    let report = Guest::new()?
        .step("servant", "sleep 1000 & echo started")
        .step_within(limit, "hang", "echo before; sleep 3000")
        .step("next", "ps")
        .step_within(limit, "deaf", "trap '' TERM INT; while :; do :; done")
        .step(
            "orphan",
            "(sh -c 'sleep 0.1 & ' &); sleep 0.5
            until zombies=$(grep -l 'State:.Z' /proc/[0-9]*/status); [ -z \"$zombies\" ]; do sleep 0.1; done",
        )
        .run()?;
    assert_eq!(report.step("hang").ending, Ending::TimedOut);
    assert_eq!(report.step("hang").text(), "before\n");
    assert!(report.step("hang").took >= limit);
    let processes = report.step("next").text();
    assert!(processes.contains("sleep 1000"), "a servant lives on: {processes}");
    assert!(!processes.contains("sleep 3000"), "the step is gone: {processes}");
    assert_eq!(report.step("deaf").ending, Ending::TimedOut);
    assert!(report.step("orphan").succeeded(), "process 1 reaps orphans");
    Ok(())
}

#[test]
fn a_guest_that_falls_or_hangs_ends_in_time_with_its_last_words() -> Result<(), GuestError> {
    let panics = Guest::new()?
        .step("first", "echo fine")
        .step("panic", "echo deep breath; sleep 3; echo c >/proc/sysrq-trigger");
    let fallen = fall(panics.run());
    assert!(fallen.what.contains("went down"), "nobody waits for a dead guest: {fallen}");
    assert_eq!(fallen.finished.len(), 1);
    assert_eq!(fallen.during.as_deref(), Some("panic"));
    assert_eq!(fallen.output, b"deep breath\n");
    assert!(fallen.to_string().contains("Kernel panic - not syncing"), "{fallen}");

    let deadline = Duration::from_secs(30);
    let hangs = Guest::new()?.step_within(
        Duration::from_secs(1000),
        "hang",
        "echo '<0>last words' >/dev/kmsg; killall -STOP cat",
    );
    let start = Instant::now();
    let fallen = fall(hangs.run_within(deadline));
    assert!(start.elapsed() >= deadline);
    assert_eq!(fallen.during.as_deref(), Some("hang"));
    assert!(fallen.to_string().contains("last words"), "{fallen}");
    Ok(())
}

#[test]
fn modules_are_loaded_with_what_they_need() -> Result<(), GuestError> {
    let report = Guest::new()?
        .module("cuse")
        .module("fuse")
        .step("nodes", "stat -c '%n %F' /dev/fuse /dev/cuse")
        .step("control", "grep -c fusectl /proc/mounts")
        .run()?;
    assert_eq!(
        report.step("nodes").text(),
        "/dev/fuse character special file\n/dev/cuse character special file\n"
    );
    assert_eq!(report.step("control").text(), "1\n");

    let junk = Guest::new()?.module_file("/etc/hostname", "");
    let fallen = fall(junk.run());
    assert!(fallen.what.contains("hostname does not load"), "{fallen}");
    assert_eq!(fallen.during, None);
    Ok(())
}

#[test]
fn what_is_missing_is_named_with_its_package() -> Result<(), GuestError> {
    let guest = Guest::new()?.module("no_such_module");
    let package = format!("linux-image-{}", guest.kernel().version());
    let error = guest.run().expect_err("no such module");
    assert_eq!(
        error.to_string(),
        format!("kernel module no_such_module is missing: install Debian's package {package}")
    );
    Ok(())
}
