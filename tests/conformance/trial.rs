//! Runs of the suite: on the original, and on kmonitor over each carrier, here and in the guest.

use super::differences::{Carrier, Source};
use super::suite::{Bits, Suite};
use crate::device::program::finish_within;
use crate::device::served::{KMONITOR, Place, Served};
use crate::guest::{Ending, Guest, GuestError, Report};
use crate::original;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The suite with programs of one kind hangs if it takes longer. It takes 45 s on an idle machine, and 200 s in a guest.
const LIMIT: Duration = Duration::from_secs(1500);

/// A case hangs if it takes more seconds.
const CASE_LIMIT: &str = "300";

/// What the suite reported, with programs of one kind or both.
pub type Reports = Vec<(Bits, String)>;

/// A trial of kmonitor.
#[derive(Debug)]
pub struct Trial {
    /// What the suite reported.
    pub reports: Reports,
    /// What the daemon had to complain of.
    pub complaints: String,
}

/// Runs the suite on the original.
pub fn of_the_original(suite: &Suite, mail: &Path) -> Result<Reports, GuestError> {
    let report = with_suite(original::load(Guest::new()?, mail)?, suite, &Bits::ALL).run()?;
    Ok(reports(&report, &Bits::ALL))
}

/// Runs the suite on a daemon on this machine's kernel; afterwards the daemon must still serve.
pub fn on_this_kernel(suite: &Suite, place: &Place, served: &mut Served) -> Trial {
    let run = |bits: Bits| {
        let mut command = Command::new("timeout");
        command.arg(LIMIT.as_secs().to_string()).arg(suite.program(bits));
        finish_within(LIMIT * 2, command.args(["-t", CASE_LIMIT, "-d", place.text()])).output
    };
    let reports = Bits::ALL.into_iter().map(|bits| (bits, run(bits))).collect();
    let complaints = served.complaints();
    assert!(served.program.is_running(), "the daemon ended during the suite: {complaints}");
    Trial { reports, complaints }
}

/// The steps around the suite: a pipe says when the daemon serves, another how it ended.
const SERVE: &str = "mkfifo /tmp/said /tmp/ended
(kmonitor serve --node $CARRIER --source $SOURCE >/tmp/said 2>/tmp/errors; echo status $? >/tmp/ended) >/dev/null 2>&1 &
read -r line </tmp/said; echo $line";
const STOP: &str = "killall kmonitor; timeout 300 cat /tmp/ended";
const LEFT: &str = "ls -d /dev/kmonitor; grep kmonitor /proc/mounts";

/// Runs the suite on a daemon in the guest.
pub fn in_the_guest(
    suite: &Suite,
    carrier: Carrier,
    source: Source,
    programs: &[Bits],
) -> Result<Trial, GuestError> {
    let guest = Guest::new()?
        .program("/bin/kmonitor", KMONITOR)
        .module(carrier.option())
        .step("serve", &SERVE.replace("$CARRIER", carrier.option()).replace("$SOURCE", source.option()));
    let report = with_suite(guest, suite, programs)
        .step("stop", STOP)
        .step("left", LEFT)
        .step("errors", "cat /tmp/errors")
        .run()?;
    let errors = report.step("errors").text();
    let mut lines = errors.splitn(3, '\n');
    let [source, served_by, complaints] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    assert_eq!(report.step("serve").text(), "kmonitor: ready: /dev/kmonitor\n", "{errors}");
    assert!(source.starts_with("kmonitor: events come from "), "{errors}");
    assert!(served_by.starts_with("kmonitor: the device is a "), "{errors}");
    assert_eq!(report.step("stop").text(), "status 0\n", "the daemon does not end well: {errors}");
    assert_eq!(report.step("left").text(), "ls: /dev/kmonitor: No such file or directory\n");
    Ok(Trial { reports: reports(&report, programs), complaints: complaints.to_owned() })
}

fn with_suite(guest: Guest, suite: &Suite, programs: &[Bits]) -> Guest {
    programs.iter().fold(guest, |guest, bits| {
        let program = bits.program();
        guest.file(&format!("/bin/{program}"), suite.program(*bits)).step_within(
            LIMIT,
            program,
            &format!("{program} -t {CASE_LIMIT}"),
        )
    })
}

fn reports(report: &Report, programs: &[Bits]) -> Reports {
    let of_one = |bits: &Bits| {
        let step = report.step(bits.program());
        println!("{bits} programs in the guest: {:?}", step.took);
        let end = if step.ending == Ending::TimedOut { "Bail out! It timed out\n" } else { "" };
        (*bits, format!("{}{end}", step.text()))
    };
    programs.iter().map(of_one).collect()
}
