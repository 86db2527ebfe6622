//! The tests of this folder in the guest: other kernels, some of which run programs with preemption.

use super::harness::{CLIENTS, build};
use crate::guest::{Guest, GuestError, host};
use std::env;
use std::process::Command;
use std::time::Duration;

/// They hang if they take longer. They take 40 s in a guest on an idle machine.
const LIMIT: Duration = Duration::from_secs(1500);

/// All but those that need tools that the guest does not have; and one that has to meet a process between the program
/// at its exit and its death, which is too short before Linux 6.16.
const TESTS: &str =
    "--skip who_comes_while_a_process_is_exiting bpf::storms:: bpf::exits:: bpf::registrations::";

/// This program, which is the guest's too, without what only a debugger reads.
fn stripped(scratch: &host::Scratch) -> Result<std::path::PathBuf, GuestError> {
    let own = env::current_exe().map_err(GuestError::host("find the running test"))?;
    let stripped = scratch.path("system");
    host::run(Command::new("strip").arg("-o").arg(&stripped).arg(own), "binutils")?;
    Ok(stripped)
}

#[test]
fn in_the_guest_the_source_in_the_kernel_is_exact() -> Result<(), GuestError> {
    let scratch = host::Scratch::new(&host::cache()?)?;
    let guest = Guest::new()?.program("/bin/system", stripped(&scratch)?);
    let clients = ["creators", "exits", "reuse", "storm", "weather"];
    let guest =
        clients.iter().fold(guest, |guest, name| guest.program(&format!("/clients/{name}"), build(name)));
    let report = guest
        .step_within(
            LIMIT,
            "tests",
            &format!("{CLIENTS}=/clients system --test-threads=1 --nocapture {TESTS}"),
        )
        .run()?;
    let tests = report.step("tests");
    assert!(tests.succeeded(), "{}", tests.text());
    println!("{}", tests.text());
    Ok(())
}
