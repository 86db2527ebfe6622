//! The process that serves the device, as /proc shows it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::daemon::Config;
use crate::sys::statx;

use super::{Check, Facts};

/// A kmonitor that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Its process id.
    pub pid: i32,
    /// It is stopped by a signal, or by a tracer.
    pub stopped: bool,
    /// Its program.
    pub program: Program,
}

/// Which program a daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// This one.
    Same,
    /// The file was replaced or removed since the daemon began.
    Replaced,
    /// Another file.
    Other(PathBuf),
    /// We may not look.
    Unknown,
}

/// Looks for the daemon of a device among all processes.
pub fn find(path: &Path) -> Option<Daemon> {
    let pids = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| serves(*pid, path)).map(look).next()
}

fn serves(pid: i32, path: &Path) -> bool {
    let read = |file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    if read("comm") != b"kmonitor\n" {
        return false;
    }
    let arguments = read("cmdline");
    let arguments = arguments.split(|byte| *byte == 0).map(|text| OsString::from_vec(text.to_vec()));
    let working_directory = PathBuf::from(format!("/proc/{pid}/cwd"));
    served_path(arguments).is_some_and(|served| resolved(&working_directory.join(served)) == resolved(path))
}

/// The device that a command line serves.
fn served_path(arguments: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    let mut arguments = arguments.skip(1).take_while(|argument| argument != "--");
    if !matches!(arguments.next()?.to_str(), Some("serve" | "run")) {
        return None;
    }
    let mut path = Config::default().path;
    while let Some(argument) = arguments.next() {
        if argument == "--path" {
            path = arguments.next()?.into();
        } else if let Some(value) = argument.to_str().and_then(|text| text.strip_prefix("--path=")) {
            path = value.into();
        }
    }
    Some(path)
}

/// The path with its directory resolved; not the file, which a stopped daemon may serve.
fn resolved(path: &Path) -> Option<PathBuf> {
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}

fn look(pid: i32) -> Daemon {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or_default();
    Daemon { pid, stopped: state.trim().starts_with(['T', 't']), program: program(pid) }
}

fn program(pid: i32) -> Program {
    let link = PathBuf::from(format!("/proc/{pid}/exe"));
    let file = |path: &Path| statx::cached(path, 0).map(|status| (status.device, status.inode));
    let Ok(name) = fs::read_link(&link) else { return Program::Unknown };
    let Ok(theirs) = file(&link) else { return Program::Unknown };
    if file(Path::new("/proc/self/exe")) == Ok(theirs) {
        Program::Same
    } else if file(&name) == Ok(theirs) {
        Program::Other(name)
    } else {
        Program::Replaced
    }
}

/// Which process serves, and whether it runs the program that is installed.
pub fn check(facts: &Facts) -> Check {
    const NAME: &str = "daemon";
    let Some(Daemon { pid, stopped, program }) = &facts.daemon else {
        return Check::warn(
            NAME,
            "the process that serves is not to be seen from here (another pid namespace, or a hidden /proc)",
            "run this where the daemon runs",
        );
    };
    if *stopped {
        return Check::fail(
            NAME,
            format!("process {pid} serves, and is stopped"),
            format!("continue it: kill -CONT {pid}; or end it: kill -KILL {pid}, and serve again"),
        );
    }
    match program {
        Program::Same => Check::ok(NAME, format!("process {pid} serves, and runs this very program")),
        Program::Unknown => Check::ok(
            NAME,
            format!("process {pid} serves; which program it runs only its user and root can see"),
        ),
        Program::Other(program) => Check::warn(
            NAME,
            format!("process {pid} serves, and runs another program: {}", program.display()),
            "if that is an older version, stop it and serve by this one",
        ),
        Program::Replaced => Check::warn(
            NAME,
            format!("process {pid} serves, and its program was replaced since it began"),
            "when its clients can do without it for a moment: systemctl restart kmonitor, or end it and \
             serve again",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(line: &str) -> Option<PathBuf> {
        served_path(line.split(' ').map(OsString::from))
    }

    #[test]
    fn a_command_line_tells_which_device_it_serves() {
        let default = Some(PathBuf::from("/dev/kmonitor"));
        assert_eq!(path_of("kmonitor serve --mode 660"), default);
        assert_eq!(path_of("kmonitor run -- ls --path x"), default);
        assert_eq!(path_of("kmonitor run --mode 660 --path /run/k -- ls"), Some("/run/k".into()));
        assert_eq!(path_of("kmonitor serve --path=k"), Some("k".into()));
        assert_eq!(path_of("kmonitor doctor --path /run/k"), None);
        assert_eq!(path_of("kmonitor"), None);
        assert_eq!(path_of("kmonitor serve --path"), None);
    }

    #[test]
    fn no_other_process_serves_our_own_path() {
        assert_eq!(find(Path::new("/no such place/kmonitor")), None);
        assert_eq!(program(std::process::id() as i32), Program::Same);
        assert_eq!(program(i32::MAX), Program::Unknown);
    }
}
