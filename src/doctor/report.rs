//! What the checks found, and its JSON form.

use serde::Serialize;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be, or not needed here.
    Ok,
    /// kmonitor works without it, or it could not be checked.
    Warn,
    /// kmonitor cannot be used until this is put right.
    Fail,
}

impl Status {
    /// The word that stands for it in both forms of output.
    pub fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "fail",
        }
    }
}

/// One check. The names of the fields are those of the JSON output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked: one word, which stays the same in later versions.
    pub name: &'static str,
    /// How it came out.
    pub status: Status,
    /// What was found, in words.
    pub found: String,
    /// What to do about it; nothing for [`Status::Ok`].
    pub remedy: Option<String>,
}

impl Check {
    /// Nothing to do.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Check {
        Check { name, status: Status::Ok, found: found.into(), remedy: None }
    }

    /// It works without, or was not checked.
    pub fn warn(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check { name, status: Status::Warn, found: found.into(), remedy: Some(remedy.into()) }
    }

    /// It does not work.
    pub fn fail(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check { name, status: Status::Fail, found: found.into(), remedy: Some(remedy.into()) }
    }

    /// A check of what only `kmonitor serve` needs: no failure where a daemon serves already.
    pub fn for_serving(mut self, served: bool) -> Check {
        if served {
            self.status = self.status.min(Status::Warn);
        }
        self
    }
}

/// All checks.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version of this kmonitor.
    pub version: &'static str,
    /// Where the device is, or would be.
    pub path: String,
    /// Whether a device answers there.
    pub served: bool,
    /// Whether kmonitor can be used: no check failed.
    pub usable: bool,
    /// The checks.
    pub checks: Vec<Check>,
}

impl Report {
    /// The verdict on these checks.
    pub fn new(path: String, served: bool, checks: Vec<Check>) -> Report {
        let usable = checks.iter().all(|check| check.status != Status::Fail);
        Report { version: env!("CARGO_PKG_VERSION"), path, served, usable, checks }
    }

    /// The report as one JSON object, on one line.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_makes_it_unusable_but_not_where_only_serving_needs_it() {
        let report = |checks| Report::new("/dev/kmonitor".to_owned(), false, checks);
        let failed = Check::fail("fuse", "missing", "load it");
        assert!(report(vec![Check::ok("a", "b"), Check::warn("c", "d", "e")]).usable);
        assert!(!report(vec![Check::ok("a", "b"), failed.clone()]).usable);
        assert!(!report(vec![failed.clone().for_serving(false)]).usable);
        assert!(report(vec![failed.for_serving(true)]).usable);
        assert_eq!(Check::ok("a", "b").for_serving(true).status, Status::Ok);
    }

    #[test]
    fn the_json_form_is_as_documented() {
        let checks = vec![Check::ok("a", "say \"b\"\n"), Check::warn("c", "d", "e")];
        let json = Report::new("/dev/kmonitor".to_owned(), true, checks).to_json().expect("it is plain data");
        let expected = format!(
            "{{\"version\":\"{}\",\"path\":\"/dev/kmonitor\",\"served\":true,\"usable\":true,\"checks\":[\
             {{\"name\":\"a\",\"status\":\"ok\",\"found\":\"say \\\"b\\\"\\n\",\"remedy\":null}},\
             {{\"name\":\"c\",\"status\":\"warn\",\"found\":\"d\",\"remedy\":\"e\"}}]}}",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(json, expected);
    }
}
