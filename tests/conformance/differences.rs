//! The list of what kmonitor shows otherwise than the original, and why: `differences.tsv`.

use super::suite::{self, Listed};
use std::fmt;
use std::fs;

/// What serves the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A mounted file.
    Fuse,
    /// A character device.
    Cuse,
}

/// Where events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// BPF programs in the kernel.
    Bpf,
    /// The proc connector.
    Connector,
}

/// Why something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A defect of the original, not repeated.
    Defect,
    /// Beyond what FUSE can do.
    Fuse,
    /// Beyond what CUSE can do.
    Cuse,
    /// Beyond what the proc connector tells.
    Source,
    /// It may go either way, from run to run.
    Timing,
}

/// A row of the list.
#[derive(Debug)]
pub struct Difference {
    /// The name of the case that shows it.
    pub case: String,
    /// Where it shows; everywhere, if on none in particular.
    pub carrier: Option<Carrier>,
    /// Why.
    pub kind: Kind,
    /// What kmonitor shows, unless it may go either way.
    pub ours: Option<String>,
    /// It may also show what the original shows.
    pub either: bool,
    /// Why, in a sentence.
    pub reason: String,
}

impl Carrier {
    /// As `kmonitor serve --node` and the list name it.
    pub fn option(self) -> &'static str {
        match self {
            Carrier::Fuse => "fuse",
            Carrier::Cuse => "cuse",
        }
    }
}

impl Source {
    /// As `kmonitor serve --source` names it.
    pub fn option(self) -> &'static str {
        match self {
            Source::Bpf => "bpf",
            Source::Connector => "connector",
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Carrier::Fuse => "FUSE",
            Carrier::Cuse => "CUSE",
        })
    }
}

impl Difference {
    /// Whether a case is to show it with events from this source: the proc connector's limits are its own.
    pub fn shows_with(&self, source: Source) -> bool {
        self.kind != Kind::Source || source == Source::Connector
    }

    /// Whether a case is to show it there.
    pub fn shows_on(&self, carrier: Carrier) -> bool {
        self.carrier.is_none_or(|own| own == carrier)
    }

    fn parse(line: &str) -> Result<Difference, &'static str> {
        let [case, carrier, kind, ours, reason] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err("a row has five fields, with a tab between them");
        };
        let carrier = match carrier {
            "any" => None,
            "fuse" => Some(Carrier::Fuse),
            "cuse" => Some(Carrier::Cuse),
            _ => return Err("the carrier is fuse, cuse or any"),
        };
        let kind = match kind {
            "defect" => Kind::Defect,
            "fuse" => Kind::Fuse,
            "cuse" => Kind::Cuse,
            "source" => Kind::Source,
            "timing" => Kind::Timing,
            _ => return Err("the kind is defect, fuse, cuse, source or timing"),
        };
        let fitting = match kind {
            Kind::Fuse => Some(Carrier::Fuse),
            Kind::Cuse => Some(Carrier::Cuse),
            _ => carrier,
        };
        if carrier != fitting {
            return Err("a limit of one carrier shows on that carrier");
        }
        if (ours == "*") != (kind == Kind::Timing) {
            return Err("what may go either way, *, is of the kind timing, and nothing else is");
        }
        if reason.trim().is_empty() {
            return Err("a difference has a reason");
        }
        let (either, ours) = match ours.strip_prefix("or ") {
            Some(_) if kind != Kind::Source => {
                return Err("only a limit of the source may show now and then");
            }
            Some(other) => (true, other),
            None => (false, ours),
        };
        let ours = (ours != "*").then(|| ours.to_owned());
        Ok(Difference { case: case.to_owned(), carrier, kind, ours, either, reason: reason.to_owned() })
    }
}

/// The whole list.
pub fn read() -> Vec<Difference> {
    let path = suite::directory().join("differences.tsv");
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let rows = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    rows.map(|(at, line)| {
        Difference::parse(line)
            .unwrap_or_else(|error| panic!("{} line {}: {error}: {line}", path.display(), at + 1))
    })
    .collect()
}

/// What is wrong with the list itself.
pub fn faults(list: &[Difference], cases: &[Listed]) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, row) in list.iter().enumerate() {
        let name = &row.case;
        match cases.iter().find(|case| case.name == *name) {
            None => faults.push(format!("{name}: the suite has no such case")),
            Some(case) if case.timing != (row.kind == Kind::Timing) => {
                faults.push(format!("{name}: the suite and the list disagree whether it may go either way"));
            }
            Some(_) => {}
        }
        let twice = |carrier| {
            row.shows_on(carrier)
                && list[..at].iter().any(|other| other.case == *name && other.shows_on(carrier))
        };
        if twice(Carrier::Fuse) || twice(Carrier::Cuse) {
            faults.push(format!("{name}: listed twice for one carrier"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_makes_no_sense_is_refused() {
        for row in [
            "case\tany\tdefect\tours",
            "case\tboth\tdefect\tours\treason",
            "case\tany\tlimit\tours\treason",
            "case\tcuse\tfuse\tours\treason",
            "case\tany\tcuse\tours\treason",
            "case\tany\tdefect\t*\treason",
            "case\tany\ttiming\tours\treason",
            "case\tany\tdefect\tor ours\treason",
            "case\tany\tdefect\tours\t ",
        ] {
            assert!(Difference::parse(row).is_err(), "{row}");
        }
        assert!(Difference::parse("case\tfuse\tfuse\tours\treason").is_ok());
    }

    #[test]
    fn a_row_for_no_case_and_a_second_row_are_noticed() {
        let row = |text| Difference::parse(text).expect("a row");
        let list = [
            row("a\tfuse\tfuse\tx\treason"),
            row("a\tcuse\tcuse\tx\treason"),
            row("a\tany\tdefect\tx\treason"),
            row("b\tany\tdefect\tx\treason"),
            row("c\tany\tdefect\tx\treason"),
        ];
        let case = |name: &str, timing| Listed { name: name.to_owned(), fact: "1".to_owned(), timing };
        let faults = faults(&list, &[case("a", false), case("c", true)]);
        assert_eq!(faults.len(), 3, "{faults:?}");
        for (fault, part) in faults.iter().zip(["a: listed twice", "b: the suite has no", "c: the suite and"])
        {
            assert!(fault.starts_with(part), "{fault}");
        }
    }
}
