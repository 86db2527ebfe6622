//! The judge: does a run show what the original shows, or exactly what is listed?

use super::differences::Difference;
use super::tap::{Case, Outcome, Report};
use std::collections::BTreeMap;

/// What to do about a case that the judge calls wrong.
pub const ADVICE: &str = "\
A case cites the facts of the original that it checks. What differs from them by mistake, mend in kmonitor; \
what differs on purpose, list in tests/conformance/differences.tsv with its reason, then run the conformance \
tests with KMONITOR_BLESS=1, which writes DIFFERENCES.md anew. A case that was changed needs a fresh run on \
the original: KMONITOR_BLESS=1, with the mail of 2004.";

/// What is wrong with a run, in sentences. `record` is the original's own run, `list` what differs here.
pub fn judge(run: &Report, record: &Report, list: &[&Difference]) -> Vec<String> {
    let mut wrong = incomplete(run);
    let mut listed: BTreeMap<_, _> = list.iter().map(|row| (row.case.as_str(), *row)).collect();
    for case in &run.cases {
        let difference = listed.remove(case.name.as_str());
        wrong.extend(stale(case, record).or_else(|| judge_case(case, difference)));
    }
    wrong.extend(not_in(run, &record.cases).map(|name| format!("did not run: {name}")));
    wrong.extend(listed.keys().map(|name| format!("listed, and did not run: {name}")));
    wrong
}

/// What is wrong with a run on the original, where every case must be ok.
pub fn judge_original(run: &Report) -> Vec<String> {
    let mut wrong = incomplete(run);
    wrong.extend(run.cases.iter().filter_map(|case| judge_case(case, None)));
    wrong
}

/// How a run of the original and its record differ in what they say of the suite.
pub fn judge_record(record: &Report, run: &Report) -> Vec<String> {
    let mut wrong: Vec<_> = run.cases.iter().filter_map(|case| stale(case, record)).collect();
    wrong.extend(not_in(run, &record.cases).map(|name| format!("recorded, and not in the suite: {name}")));
    wrong
}

fn incomplete(run: &Report) -> Vec<String> {
    let mut wrong: Vec<_> =
        run.strange.iter().map(|line| format!("not a line of a report: {line}")).collect();
    let ran = run.cases.len();
    match run.planned {
        Some(planned) if planned == ran && ran > 0 => {}
        Some(planned) => wrong.push(format!("{planned} cases were planned, and {ran} reported")),
        None => wrong.push(format!("no plan, and {ran} cases")),
    }
    wrong
}

/// The case itself, as far as the original's run knows it.
fn stale(case: &Case, record: &Report) -> Option<String> {
    let line = &case.line;
    match record.case(&case.name) {
        None => Some(format!("no run of the original knows it: {line}")),
        Some(recorded) if recorded.expected() != case.expected() => {
            Some(format!("another case than the original ran ({}): {line}", recorded.line))
        }
        Some(_) => None,
    }
}

fn judge_case(case: &Case, difference: Option<&Difference>) -> Option<String> {
    let Outcome::Ran { saw, ok, .. } = &case.outcome else { return None };
    let line = &case.line;
    if *ok && difference.is_some_and(|row| row.either) {
        return None;
    }
    match difference.map(|row| row.ours.as_deref()) {
        None => (!ok).then(|| format!("differs, and is not listed: {line}")),
        // It may go either way.
        Some(None) => None,
        Some(Some(_)) if *ok => Some(format!("listed, and does not differ: {line}")),
        Some(Some(ours)) => {
            (saw != ours).then(|| format!("differs otherwise than listed ({ours:?}): {line}"))
        }
    }
}

fn not_in<'a>(run: &'a Report, cases: &'a [Case]) -> impl Iterator<Item = &'a str> {
    cases.iter().map(|case| case.name.as_str()).filter(|name| run.case(name).is_none())
}

#[cfg(test)]
mod tests {
    use super::super::differences::Kind;
    use super::*;

    const PLAIN: &str = "ok 1 - plain # fact 1; expected \"0\"; saw \"0\"";
    const LISTED: &str = "ok 2 - listed # fact 2; expected \"1\"; saw \"1\"";
    const DIFFERING: &str = "not ok 2 - listed # fact 2; expected \"1\"; saw \"2\"";
    const SKIPPED: &str = "ok 3 - wide # SKIP needs a 64-bit register";

    fn record() -> String {
        format!("TAP version 13\n1..3\n{PLAIN}\n{LISTED}\n{SKIPPED}\n# done\n")
    }

    fn differing() -> String {
        record().replace(LISTED, DIFFERING)
    }

    fn verdict(run: &str, kind: Kind, ours: Option<&str>) -> Vec<String> {
        let ours = ours.map(str::to_owned);
        let reason = "a reason".to_owned();
        let either = kind == Kind::Source;
        let row = Difference { case: "listed".to_owned(), carrier: None, kind, ours, either, reason };
        judge(&Report::parse(run), &Report::parse(&record()), &[&row])
    }

    /// The judge's only sentence about the record with one text replaced.
    fn objection(old: &str, new: &str) -> String {
        let run = differing().replace(old, new);
        match &verdict(&run, Kind::Defect, Some("2"))[..] {
            [only] => only.clone(),
            all => panic!("one sentence, not {all:?}"),
        }
    }

    #[test]
    fn what_is_as_recorded_or_as_listed_is_right() {
        assert_eq!(verdict(&differing(), Kind::Defect, Some("2")), Vec::<String>::new());
    }

    #[test]
    fn what_may_go_either_way_is_right_either_way() {
        for run in [differing(), record()] {
            assert_eq!(verdict(&run, Kind::Timing, None), Vec::<String>::new());
            assert_eq!(verdict(&run, Kind::Source, Some("2")), Vec::<String>::new());
        }
        assert_eq!(verdict(&differing(), Kind::Source, Some("3")).len(), 1);
    }

    #[test]
    fn every_other_run_is_wrong_and_the_sentence_says_why() {
        let plain_differs = PLAIN.replace("ok 1", "not ok 1").replace("saw \"0\"", "saw \"9\"");
        for (old, new, sentence) in [
            (PLAIN, plain_differs.as_str(), "differs, and is not listed"),
            ("saw \"2\"", "saw \"3\"", "differs otherwise than listed (\"2\")"),
            ("not ok 2", "ok 2", "listed, and does not differ"),
            ("expected \"0\"", "expected \"7\"", "another case than the original ran"),
            ("plain # fact", "plain # SKIP today, fact", "another case than the original ran"),
            ("1..3", "1..4", "4 cases were planned, and 3 reported"),
            ("1..3", "# no plan", "no plan"),
            ("# done", "Bail out! Run as root", "not a line of a report: Bail out!"),
        ] {
            let objection = objection(old, new);
            assert!(objection.starts_with(sentence), "{objection}");
        }
    }

    #[test]
    fn a_case_that_did_not_run_is_missed_by_name() {
        let run = record().replace(&format!("{LISTED}\n"), "").replace("1..3", "1..2");
        let wrong = verdict(&run, Kind::Defect, Some("2"));
        assert_eq!(wrong, ["did not run: listed", "listed, and did not run: listed"]);
        let run = record().replace("- plain", "- new");
        let wrong = verdict(&run, Kind::Timing, None);
        assert!(wrong[0].starts_with("no run of the original knows it: ok 1 - new"), "{wrong:?}");
        assert_eq!(wrong[1..], ["did not run: plain"]);
    }

    #[test]
    fn on_the_original_every_case_is_ok() {
        assert_eq!(judge_original(&Report::parse(&record())), Vec::<String>::new());
        let wrong = judge_original(&Report::parse(&differing()));
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].contains("not ok 2 - listed"), "{wrong:?}");
    }
}
