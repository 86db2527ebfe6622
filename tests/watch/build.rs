//! A build, with strace as the judge: what it saw, a watch has told.

use super::harness::{Lines, Tally};
use crate::device::program::{LONG, finish_within};
use crate::guest::host::{self, Scratch};
use kmonitor::records::{Record, What};
use std::collections::HashMap;
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Files of C that are built.
const FILES: usize = 100;

/// KMONITOR_BUILDS makes them more.
#[test]
fn of_a_build_all_is_told_that_strace_sees() {
    let builds: u32 = env::var("KMONITOR_BUILDS").map_or(1, |text| text.parse().expect("a number"));
    for build in 1..=builds {
        let scratch = Scratch::new(&host::cache().expect("a cache")).expect("a folder");
        let (sources, traces) = (scratch.path("sources"), scratch.path("traces"));
        fs::create_dir(&traces).expect("a folder");
        write_sources(&sources);
        let lines = Lines::new();
        // Each process has a file of its own, and strings are in hexadecimal digits.
        let mut strace =
            lines.watch(&["--", "strace", "-ff", "-xx", "-s", "65536", "-v", "-e", "trace=process"]);
        strace.arg("-o").arg(traces.join("of"));
        strace.args(["make", "-j8", "-s", "-C"]).arg(&sources);
        let ended = finish_within(LONG, &mut strace);
        assert_eq!(ended.code(), 0, "{ended:?}");
        let records = lines.read();
        let tally = Tally::of(&records);
        assert_eq!((&tally.wrong[..], tally.living.len()), (&[][..], 0), "build {build}");
        assert_eq!(tally.totals.lost, 0, "build {build}");
        let (told, seen) = (told(&records), seen(&traces, records[0].what.process().expect("strace").pid));
        assert!(seen.len() > 4 * FILES, "strace saw only {} processes", seen.len());
        for (pid, life) in &seen {
            assert_eq!(told.get(pid), Some(life), "build {build}: what became of {pid}");
        }
    }
}

/// A Makefile and its sources: processes that the compiler makes, shells, a pipe, a failure and a signal.
fn write_sources(directory: &Path) {
    fs::create_dir(directory).expect("a folder");
    let mut makefile = String::from("all: program\n\t-@exit 3\n\t-@kill -KILL $$$$\n");
    let names = |suffix: &str| (0..FILES).map(|at| format!(" f{at}{suffix}")).collect::<String>();
    write!(makefile, "program:{}\n\tgcc -o $@ $^\n", names(".o")).expect("memory");
    makefile += "%.o: %.c\n\tgcc -O1 -DNAME='\"a b\"' -c $< -o $@ && nm $@ | sort >$@.names\n";
    fs::write(directory.join("Makefile"), makefile).expect("it is written");
    for at in 0..FILES {
        let main = if at == 0 { "int main(void) { return 0; }\n" } else { "" };
        let source = format!("#include <stdio.h>\nint f{at}(void) {{ return puts(NAME); }}\n{main}");
        fs::write(directory.join(format!("f{at}.c")), source).expect("it is written");
    }
}

/// One process.
#[derive(Debug, Default, PartialEq)]
struct Life {
    parent: Option<i32>,
    /// The arguments of each program that it executed.
    programs: Vec<Vec<String>>,
    end: String,
}

fn told(records: &[Record]) -> HashMap<i32, Life> {
    let mut lives: HashMap<i32, Life> = HashMap::new();
    for record in records {
        let Some(process) = record.what.process() else { continue };
        let life = lives.entry(process.pid).or_default();
        match &record.what {
            What::Fork { .. } => life.parent = process.ppid,
            What::Exec { .. } => life.programs.push(process.args.clone().expect("they are known")),
            What::Exit { process, .. } => {
                life.end = match (process.exit_code, process.signal) {
                    (Some(code), None) => format!("exited with {code}"),
                    (None, Some(9)) => "killed by SIGKILL".to_owned(),
                    end => panic!("{end:?}"),
                }
            }
            _ => {}
        }
    }
    lives
}

/// What strace, whose process id this is, wrote to the files of.PID.
fn seen(traces: &Path, strace: i32) -> HashMap<i32, Life> {
    let mut lives: HashMap<i32, Life> = HashMap::new();
    for file in fs::read_dir(traces).expect("it is there") {
        let path = file.expect("it is there").path();
        let pid = path.extension().and_then(|pid| pid.to_str()?.parse().ok()).expect("a process id");
        for line in fs::read_to_string(&path).expect("text").lines() {
            let (call, result) = line.rsplit_once(" = ").unwrap_or((line, ""));
            let child = result.parse().ok().filter(|_| call.contains("fork(") || call.starts_with("clone"));
            if let Some(child) = child {
                assert!(!call.contains("CLONE_THREAD") && !call.contains("CLONE_PARENT|"), "{line}");
                lives.entry(child).or_default().parent = Some(pid);
            } else if call.starts_with("execve(") && result == "0" {
                lives.entry(pid).or_default().programs.push(arguments(call));
            } else if let Some(end) = line.strip_prefix("+++ ").and_then(|end| end.strip_suffix(" +++")) {
                lives.entry(pid).or_default().end = end.to_owned();
            }
        }
    }
    // It does not see the birth of its own child.
    let first = lives.values_mut().find(|life| life.parent.is_none()).expect("make");
    assert_eq!(first.programs[0][0], "make");
    first.parent = Some(strace);
    lives
}

/// The second argument of `execve("FILE", ["ARGUMENT", ...], [...])`.
fn arguments(call: &str) -> Vec<String> {
    let (_, from) = call.split_once(", [").expect("a list");
    let (list, _) = from.split_once(']').expect("its end");
    list.split(", ").map(|text| unquote(text.trim_matches('"'))).collect()
}

/// `\x61\x62`: ab.
fn unquote(text: &str) -> String {
    let byte = |digits| u8::from_str_radix(digits, 16).expect("two digits");
    let bytes = text.split("\\x").skip(1).map(byte).collect();
    String::from_utf8(bytes).expect("text")
}
