//! What the suite reports, read back.

/// A report of the suite.
#[derive(Debug, Default)]
pub struct Report {
    /// Its cases, in their order.
    pub cases: Vec<Case>,
    /// How many cases it promised.
    pub planned: Option<usize>,
    /// Lines that do not belong in a report, "Bail out!" among them.
    pub strange: Vec<String>,
}

/// A line of a report.
#[derive(Debug)]
pub struct Case {
    /// The case's name.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The whole line.
    pub line: String,
}

/// What became of a case.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It cannot be tried with these programs.
    Skipped,
    /// It ran.
    Ran {
        /// The numbers of the facts that it checks.
        fact: String,
        /// What the original shows.
        expected: String,
        /// What was seen.
        saw: String,
        /// Whether the suite takes the two for the same.
        ok: bool,
    },
}

impl Report {
    /// Reads a report.
    pub fn parse(text: &str) -> Report {
        let mut report = Report::default();
        for line in text.lines() {
            if let Some(case) = Case::parse(line) {
                report.cases.push(case);
            } else if let Some(number) = line.strip_prefix("1..").and_then(|number| number.parse().ok()) {
                report.planned = Some(number);
            } else if !line.starts_with('#') && line != "TAP version 13" {
                report.strange.push(line.to_owned());
            }
        }
        report
    }

    /// The case of this name.
    pub fn case(&self, name: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.name == name)
    }
}

impl Case {
    /// `ok 142 - fork_vfork # fact 24; expected "FORK:child"; saw "FORK:child"`
    fn parse(line: &str) -> Option<Case> {
        let (ok, rest) = match line.strip_prefix("not ok ") {
            Some(rest) => (false, rest),
            None => (true, line.strip_prefix("ok ")?),
        };
        let (name, rest) = rest.split_once(" - ")?.1.split_once(" # ")?;
        let outcome = if rest.starts_with("SKIP ") {
            Outcome::Skipped
        } else {
            let (fact, rest) = rest.strip_prefix("fact ")?.split_once("; expected \"")?;
            let (expected, saw) = rest.strip_suffix('"')?.split_once("\"; saw \"")?;
            Outcome::Ran { fact: fact.to_owned(), expected: expected.to_owned(), saw: saw.to_owned(), ok }
        };
        Some(Case { name: name.to_owned(), outcome, line: line.to_owned() })
    }

    /// What the original shows, unless the case was skipped.
    pub fn expected(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Ran { expected, .. } => Some(expected),
            Outcome::Skipped => None,
        }
    }
}
