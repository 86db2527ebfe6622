//! DIFFERENCES.md, of which the tables say what `differences.tsv` says.

use super::differences::{Difference, Kind};
use super::record;
use super::tap::Report;
use std::fs;
use std::path::{Path, PathBuf};

const BEGIN: &str =
    "<!-- from here on KMONITOR_BLESS=1 writes what tests/conformance/differences.tsv lists -->\n";
const END: &str = "<!-- up to here -->\n";

const KINDS: [(Kind, &str, &str); 5] = [
    (
        Kind::Defect,
        "Defects of the original that kmonitor does not repeat",
        "The original signals a stranger, keeps registrations of the dead, loses what it promised, or gives \
         privilege away; no correct program can rely on that. R1 to R4 are \
         [the rules](#the-rules-that-mend-the-defects) that mend it.",
    ),
    (
        Kind::Fuse,
        "Limits of FUSE",
        "The device is a mounted regular file, and the kernel answers these calls for such files itself. \
         CUSE has limits of its own.",
    ),
    (
        Kind::Cuse,
        "Limits of CUSE",
        "The device is a true character device, and these calls are answered by the kernel's CUSE driver.",
    ),
    (
        Kind::Source,
        "Limits of the proc connector",
        "They do not show where events come from BPF programs, as they do by default from Linux 5.12 on (`--source`). \
         The proc connector names a new task's parent, not its maker; and the end of a main thread a moment \
         after it, when an exec may have changed its id.",
    ),
    (
        Kind::Timing,
        "Timing",
        "The original signals inside the target's own call; kmonitor hears of it and signals a moment later. \
         Either may be seen.",
    ),
];

/// Where the document is.
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("DIFFERENCES.md")
}

/// The document as it is, and as it should be.
pub fn compare(list: &[Difference], record: &Report) -> (String, String) {
    let path = path();
    let present =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let parts = present.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let Some((head, tail)) = parts else {
        panic!("{} must have the lines {BEGIN:?} and {END:?}, in this order", path.display());
    };
    let wanted = format!("{head}{BEGIN}{}{END}{tail}", tables(list, record));
    (present, wanted)
}

/// Compares the document, or writes it if it is to be blessed.
pub fn check(list: &[Difference], record: &Report) {
    let (present, wanted) = compare(list, record);
    if record::blessing() && present != wanted {
        record::bless(&path(), &wanted);
    } else if let Some(line) = first_difference(&present, &wanted) {
        panic!(
            "DIFFERENCES.md is not what tests/conformance/differences.tsv says, first in line {line}: change \
             the list, and run this test with KMONITOR_BLESS=1"
        );
    }
}

fn first_difference(present: &str, wanted: &str) -> Option<usize> {
    let same = present.lines().zip(wanted.lines()).take_while(|(one, other)| one == other).count();
    (present != wanted).then_some(same + 1)
}

fn tables(list: &[Difference], record: &Report) -> String {
    let mut text = String::new();
    for (kind, heading, sentence) in KINDS {
        let rows: String =
            list.iter().filter(|row| row.kind == kind).map(|row| table_row(row, record)).collect();
        text += &format!(
            "\n## {heading}\n\n{sentence}\n\n\
             | Case | Carrier | The original shows | kmonitor shows | Why |\n|---|---|---|---|---|\n{rows}"
        );
    }
    text + "\n"
}

fn table_row(row: &Difference, record: &Report) -> String {
    let carrier = row.carrier.map_or_else(|| "any".to_owned(), |carrier| carrier.to_string());
    let original = record.case(&row.case).and_then(|case| case.expected());
    let original = original.unwrap_or_else(|| panic!("{}: no run of the original shows it", row.case));
    let mut ours = row.ours.as_deref().map_or_else(|| "this, or not".to_owned(), code);
    if row.either {
        ours = format!("this, or seldom {ours}");
    }
    let reason = row.reason.replace('|', "\\|");
    format!("| {} | {carrier} | {} | {ours} | {reason} |\n", code(&row.case), code(original))
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}
