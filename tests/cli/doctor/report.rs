//! What `kmonitor doctor --json` says, and how it is asked.

use crate::device::client::project;
use crate::device::program::{finish, until};
use crate::device::served::{KMONITOR, Place};
use serde_json::Value;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a doctor said in JSON.
pub struct Report {
    pub status: i32,
    pub json: Value,
}

impl Report {
    /// Of a doctor that got as far as it could: on a busy machine its client may not start in time, or the
    /// process that is to be watched.
    pub fn of(command: &mut Command) -> Report {
        let mut report = Report::once(command);
        until("the doctor's client is not held up", || {
            let is_held_up = |name| {
                let found = report.check(name).map(|check| check["found"].to_string());
                found.is_some_and(|found| {
                    found.contains("not checked: no process") || found.contains("not opened")
                })
            };
            let held_up = is_held_up("device") || is_held_up("events");
            if held_up {
                report = Report::once(command);
            }
            !held_up
        });
        report
    }

    fn once(command: &mut Command) -> Report {
        let ended = finish(command);
        assert_eq!(ended.errors, "", "{ended:?}");
        let json: Value =
            serde_json::from_str(&ended.output).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        let report = Report { status: ended.code(), json };
        report.assert_valid();
        report
    }

    /// The schema in docs/doctor.md.
    fn assert_valid(&self) {
        let object = self.json.as_object().expect("an object");
        assert_eq!(object.keys().collect::<Vec<_>>(), ["checks", "path", "served", "usable", "version"]);
        assert_eq!(object["version"], env!("CARGO_PKG_VERSION"));
        let checks = object["checks"].as_array().expect("an array");
        let document = fs::read_to_string(project("docs/doctor.md")).expect("the document");
        for check in checks {
            let check = check.as_object().expect("an object");
            assert_eq!(check.keys().collect::<Vec<_>>(), ["found", "name", "remedy", "status"]);
            let name = check["name"].as_str().expect("a text");
            assert!(document.contains(&format!("| `{name}` |")), "docs/doctor.md does not explain {name}");
            assert!(check["found"].as_str().is_some_and(|found| !found.is_empty()), "{check:?}");
            let status = check["status"].as_str().expect("a text");
            assert!(["ok", "warn", "fail"].contains(&status), "{check:?}");
            assert_eq!(check["remedy"].is_string(), status != "ok", "{check:?}");
        }
        let failed = checks.iter().any(|check| check["status"] == "fail");
        assert_eq!((object["usable"].as_bool(), self.status), (Some(!failed), if failed { 2 } else { 0 }));
    }

    pub fn check(&self, name: &str) -> Option<&Value> {
        self.json["checks"].as_array()?.iter().find(|check| check["name"] == name)
    }

    /// Asserts how a check came out; `found` and `remedy` must have these parts.
    pub fn shows(&self, name: &str, status: &str, parts: &[&str]) {
        let check = self.check(name).unwrap_or_else(|| panic!("no check of {name}: {}", self.json));
        assert_eq!(check["status"], status, "{check}");
        let text = format!("{} -> {}", check["found"], check["remedy"]);
        for part in parts {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
}

pub fn doctor(path: &Path) -> Command {
    doctor_by(KMONITOR.as_ref(), path)
}

pub fn doctor_by(program: &Path, path: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["doctor", "--json", "--path"]).arg(path);
    command
}

pub fn examine(place: &Place) -> Report {
    Report::of(&mut doctor(place.path()))
}

/// As this user, who may not reach the directory that the program was built in.
pub fn examine_as(uid: u32, gid: u32, place: &Place) -> Report {
    let copy = copy(place);
    Report::of(doctor_by(&copy, place.path()).uid(uid).gid(gid))
}

pub fn copy(place: &Place) -> PathBuf {
    let copy = place.beside("copy");
    finish(Command::new("install").args(["-m", "755", KMONITOR]).arg(&copy)).well();
    copy
}

/// By a tool that changes what it runs in.
pub fn examine_in(tool: &[&str], place: &Place) -> Report {
    let mut command = Command::new(tool[0]);
    Report::of(command.args(&tool[1..]).arg(KMONITOR).args(["doctor", "--json", "--path", place.text()]))
}
