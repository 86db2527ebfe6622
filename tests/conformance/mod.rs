//! The conformance suite on the original and on kmonitor: every case shows the same, or what
//! `differences.tsv` lists.

mod differences;
mod document;
mod record;
mod suite;
mod tap;
mod trial;
mod verdict;

use crate::device::served::Place;
use crate::guest::GuestError;
use crate::original;
use differences::{Carrier, Difference, Source};
use std::io::{self, Write};
use suite::{Bits, Suite};
use tap::Report;
use trial::{Reports, Trial};

/// Asserts that a trial of kmonitor shows what it should.
fn assert_as_listed(trial: &Trial, carrier: Carrier, source: Source) {
    let list = differences::read();
    let list: Vec<&Difference> =
        list.iter().filter(|row| row.shows_on(carrier) && row.shows_with(source)).collect();
    let wrong = judge_all(&trial.reports, |bits, report| verdict::judge(report, &record::read(bits), &list));
    assert!(
        wrong.is_empty(),
        "over {carrier}, --source {}:\n{}\n{}\nThe daemon said: {:?}",
        source.option(),
        wrong.join("\n"),
        verdict::ADVICE,
        trial.complaints
    );
    assert_eq!(trial.complaints, "", "the daemon had something to complain of");
}

/// What a judge has to say of all reports.
fn judge_all(reports: &Reports, judge: impl Fn(Bits, &Report) -> Vec<String>) -> Vec<String> {
    let of_one = |(bits, text): &(Bits, String)| {
        let wrong = judge(*bits, &Report::parse(text));
        let bits = *bits;
        wrong.into_iter().map(move |sentence| format!("{bits} programs: {sentence}"))
    };
    reports.iter().flat_map(of_one).collect()
}

#[test]
#[ignore = "needs the 2004 mail (KMONITOR_MAIL or ../shared/mail)"]
fn the_original_passes_every_case() -> Result<(), GuestError> {
    let reports = trial::of_the_original(&Suite::build()?, &original::mail()?)?;
    let wrong = judge_all(&reports, |_, report| verdict::judge_original(report));
    assert!(wrong.is_empty(), "on the original:\n{}", wrong.join("\n"));
    if record::blessing() {
        for (bits, text) in &reports {
            record::bless(&record::path(*bits), text);
        }
    }
    let stale = judge_all(&reports, |bits, report| verdict::judge_record(&record::read(bits), report));
    assert!(
        stale.is_empty(),
        "the recorded verdicts are not those of this run; run with KMONITOR_BLESS=1:\n{}",
        stale.join("\n")
    );
    Ok(())
}

#[test]
fn the_originals_recorded_verdicts_are_those_of_this_suite() -> Result<(), GuestError> {
    if original::mail().is_err() {
        // Past the test harness, which keeps what a passing test prints to itself.
        let _ =
            writeln!(io::stderr(), "NOT RUN: the suite on the original; its recorded verdicts stand for it");
    }
    let suite = Suite::build()?;
    for bits in Bits::ALL {
        let (cases, record) = (suite.list(bits)?, record::read(bits));
        let same = cases.len() == record.cases.len()
            && record.cases.iter().zip(&cases).all(|(case, listed)| record::is_recorded(case, listed));
        assert!(
            same,
            "{} does not hold the cases that the {bits} suite lists, all ok: run \
             the_original_passes_every_case, which needs the mail of 2004, with KMONITOR_BLESS=1",
            record::path(bits).display()
        );
    }
    Ok(())
}

#[test]
fn every_listed_difference_names_a_case_and_the_document_tells_it() -> Result<(), GuestError> {
    let list = differences::read();
    let faults = differences::faults(&list, &Suite::build()?.list(Bits::B64)?);
    assert!(faults.is_empty(), "tests/conformance/differences.tsv:\n{}", faults.join("\n"));
    document::check(&list, &record::read(Bits::B64));
    Ok(())
}

fn over_fuse_on_this_kernel(source: Source) -> Result<(), GuestError> {
    let suite = Suite::build()?;
    let place = Place::new();
    let mut served = place.serve(&["--node", "fuse", "--source", source.option()]);
    assert_as_listed(&trial::on_this_kernel(&suite, &place, &mut served), Carrier::Fuse, source);
    served.stop();
    Ok(())
}

#[test]
fn over_fuse_on_this_kernel_kmonitor_is_as_the_original() -> Result<(), GuestError> {
    over_fuse_on_this_kernel(Source::Connector)
}

#[test]
fn over_fuse_on_this_kernel_with_events_by_bpf_kmonitor_is_as_the_original() -> Result<(), GuestError> {
    over_fuse_on_this_kernel(Source::Bpf)
}

fn in_the_guest(carrier: Carrier, source: Source, programs: &[Bits]) -> Result<(), GuestError> {
    let trial = trial::in_the_guest(&Suite::build()?, carrier, source, programs)?;
    assert_as_listed(&trial, carrier, source);
    Ok(())
}

#[test]
fn over_fuse_in_the_guest_kmonitor_is_as_the_original() -> Result<(), GuestError> {
    in_the_guest(Carrier::Fuse, Source::Connector, &Bits::ALL)
}

#[test]
fn over_cuse_in_the_guest_kmonitor_is_as_the_original() -> Result<(), GuestError> {
    in_the_guest(Carrier::Cuse, Source::Connector, &Bits::ALL)
}

// The other programs over the other carrier differ in nothing that concerns a source, and take minutes.

#[test]
fn over_fuse_in_the_guest_with_events_by_bpf_kmonitor_is_as_the_original() -> Result<(), GuestError> {
    in_the_guest(Carrier::Fuse, Source::Bpf, &[Bits::B32])
}

#[test]
fn over_cuse_in_the_guest_with_events_by_bpf_kmonitor_is_as_the_original() -> Result<(), GuestError> {
    in_the_guest(Carrier::Cuse, Source::Bpf, &[Bits::B64])
}
