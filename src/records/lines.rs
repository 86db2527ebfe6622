//! JSON Lines: one record a line.

use std::io::{self, BufRead, Write};

use serde::Deserialize;

use super::record::{Record, VERSION};
use crate::remedy;

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be read.
    #[error("cannot read the records: {error}: {}", remedy::of(error))]
    Io {
        /// Why not.
        #[from]
        error: io::Error,
    },
    /// A line is something else.
    #[error("line {line} is no record ({reason}): use a file that `kmonitor watch --json` has written")]
    NoRecord {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        reason: serde_json::Error,
    },
    /// A record of another version.
    #[error(
        "line {line} is a record of version {v}, and this kmonitor reads version 1: use a newer kmonitor"
    )]
    Version {
        /// Its number, from 1.
        line: u64,
        /// The version.
        v: u32,
    },
}

/// Writes a record and a line break, in one call.
pub fn write(mut to: impl Write, record: &Record) -> io::Result<()> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// The records of these lines. Empty lines are skipped.
pub fn read(from: impl BufRead) -> impl Iterator<Item = Result<Record, RecordError>> {
    let numbered = from.split(b'\n').zip(1..);
    numbered.filter_map(|(text, line)| match text {
        Ok(text) if text.trim_ascii().is_empty() => None,
        Ok(text) => Some(parse(&text, line)),
        Err(error) => Some(Err(error.into())),
    })
}

fn parse(text: &[u8], line: u64) -> Result<Record, RecordError> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let no_record = |reason| RecordError::NoRecord { line, reason };
    // First: what else there is depends on it.
    let Versioned { v } = serde_json::from_slice(text).map_err(no_record)?;
    if v != VERSION {
        return Err(RecordError::Version { line, v });
    }
    serde_json::from_slice(text).map_err(no_record)
}

#[cfg(test)]
mod tests {
    use super::super::{Ended, Kind, Process, Totals, What};
    use super::*;

    /// What a record of this is, as a line.
    fn line(what: What) -> String {
        let time = "2026-01-31T12:00:00.123456789Z".parse().expect("a time");
        let record = Record { v: VERSION, seq: 42, time, mono_ns: 81, what };
        let mut line = Vec::new();
        write(&mut line, &record).expect("memory takes it");
        let again: Vec<_> = read(&line[..]).map(|record| record.expect("a record")).collect();
        assert_eq!(again, [record]);
        String::from_utf8(line).expect("text")
    }

    fn date() -> Process {
        let mut process = Process {
            pid: 30196,
            entity_id: Some("BOOT:30196:START".to_owned()),
            ppid: Some(30195),
            uid: Some(0),
            cgroup: Some("/".to_owned()),
            ..Process::default()
        };
        process.set_comm(b"date");
        process.set_executable(b"/usr/bin/date");
        process.set_args(&[b"date".to_vec(), b"+%s".to_vec()], false);
        process
    }

    const HEAD: &str = r#"{"v":1,"seq":42,"time":"2026-01-31T12:00:00.123456789Z","mono_ns":81,"#;
    const DATE: &str = r#""pid":30196,"entity_id":"BOOT:30196:START","ppid":30195,"uid":0,"comm":"date","executable":"/usr/bin/date","args":["date","+%s"],"args_truncated":false,"cgroup":"/""#;

    #[test]
    fn a_record_is_a_line_with_its_nulls_and_zeros() {
        let exec = line(What::Exec { process: date(), creator_tid: Some(30195) });
        assert_eq!(
            exec,
            format!("{HEAD}\"event\":\"exec\",\"process\":{{{DATE}}},\"creator_tid\":30195}}\n")
        );
        let ended =
            Ended { process: date(), exit_code: Some(0), core_dumped: Some(false), ..Ended::default() };
        let exit = line(What::Exit { process: ended, creator_tid: None });
        let status = r#""exit_code":0,"signal":null,"core_dumped":false,"duration_ns":null,"cpu_ns":null,"peak_memory":null"#;
        assert_eq!(
            exit,
            format!("{HEAD}\"event\":\"exit\",\"process\":{{{DATE},{status}}},\"creator_tid\":null}}\n")
        );
        let kinds = vec![Kind::Fork, Kind::ThreadExit];
        let lost = line(What::Lost { count: Some(3), kinds, recovered: 0, complete: true });
        let said =
            r#""event":"lost","count":3,"kinds":["fork","thread_exit"],"recovered":0,"complete":true}"#;
        assert_eq!(lost, format!("{HEAD}{said}\n"));
        let totals = Totals { fork: 1, ..Totals::default() };
        let said = r#""event":"end","totals":{"seen":0,"fork":1,"exec":0,"exit":0,"thread_create":0,"thread_exit":0,"lost":0}}"#;
        assert_eq!(line(What::End { totals }), format!("{HEAD}{said}\n"));
    }

    #[test]
    fn fields_that_are_not_known_yet_are_skipped() {
        let text = line(What::ThreadExit { process: date(), tid: 7, creator_tid: None });
        let later =
            text.replace("\"tid\":7", "\"tid\":7,\"later\":[{}]").replace("\"pid\":", "\"new\":0,\"pid\":");
        assert_eq!(
            parse(later.as_bytes(), 1).expect("a record"),
            parse(text.as_bytes(), 1).expect("a record")
        );
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let good = line(What::End { totals: Totals::default() });
        let text = format!("{good}\n{{}}\n{}", good.replace("\"v\":1", "\"v\":2"));
        let mut records = read(text.as_bytes());
        assert!(records.next().expect("the good one").is_ok());
        let said = |record: Option<Result<Record, RecordError>>| {
            record.expect("a line").expect_err("no record").to_string()
        };
        assert!(said(records.next()).starts_with("line 3 is no record (missing field `v`"));
        assert!(said(records.next()).starts_with("line 4 is a record of version 2"));
        assert!(records.next().is_none());
        for bad in [&good[..good.len() - 3], "[]", "\u{0}", "{\"v\":1}", &good.replace("end", "begin")] {
            assert!(parse(bad.as_bytes(), 1).is_err(), "{bad}");
        }
        assert!(parse(b"\xff", 1).is_err());
    }
}
