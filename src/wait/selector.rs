//! Processes by what they are, instead of by number.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::unistd::{getpid, getppid};
use regex_lite::Regex;

use super::process::{self, Process, base_name};
use super::target::{Target, TargetError};
use crate::records::Process as Record;
use crate::sys::procfs;

/// The kernel keeps so many bytes of a process's name (TASK_COMM_LEN, less the zero).
const NAME_LENGTH: usize = 15;

/// What a process must be like. Each list that is not empty must hold what is true of the process.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// Its name, or that of the file that it executes.
    pub names: Vec<OsString>,
    /// Found in its arguments, which are joined by blanks.
    pub patterns: Vec<Regex>,
    /// Its effective uid.
    pub users: Vec<u32>,
    /// Its parent's process id.
    pub parents: Vec<i32>,
    /// Its control group, or one above, as in `/proc/PID/cgroup`; [`cgroup`] makes one of what users write.
    pub cgroups: Vec<PathBuf>,
}

impl Selector {
    /// True if nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
            && self.patterns.is_empty()
            && self.users.is_empty()
            && self.parents.is_empty()
            && self.cgroups.is_empty()
    }

    /// True of a process that a record tells of, as far as that tells it: what is not known does not match.
    pub fn matches_record(&self, process: &Record) -> bool {
        let is_named = |name: &OsString| {
            let file = process.executable_bytes().map(OsString::from_vec);
            process.comm_bytes().as_deref() == Some(name.as_bytes())
                || file.as_ref() == Some(name)
                || file.and_then(base_name).as_ref() == Some(name)
        };
        let line = || {
            let arguments = process.args_bytes()?;
            Some(String::from_utf8_lossy(&arguments.join(&b' ')).into_owned())
        };
        let matches = |pattern: &Regex| line().is_some_and(|line| pattern.is_match(&line));
        let is_in =
            |group: &PathBuf| process.cgroup.as_ref().is_some_and(|own| Path::new(own).starts_with(group));
        (self.users.is_empty() || process.uid.is_some_and(|uid| self.users.contains(&uid)))
            && (self.parents.is_empty() || process.ppid.is_some_and(|ppid| self.parents.contains(&ppid)))
            && (self.names.is_empty() || self.names.iter().any(is_named))
            && (self.patterns.is_empty() || self.patterns.iter().any(matches))
            && (self.cgroups.is_empty() || self.cgroups.iter().any(is_in))
    }

    /// Looks at the process of this pid. False too if there is none.
    fn matches(&self, pid: i32) -> bool {
        let process = Process(pid);
        let Some(status) = process.status() else { return false };
        let any = |list_is_empty: bool, found: &dyn Fn() -> bool| list_is_empty || found();
        any(self.users.is_empty(), &|| self.users.contains(&status.effective_uid))
            && any(self.parents.is_empty(), &|| self.parents.contains(&status.parent))
            && any(self.names.is_empty(), &|| self.names.iter().any(|name| is_named(process, name)))
            && any(self.patterns.is_empty(), &|| self.matches_arguments(process))
            && any(self.cgroups.is_empty(), &|| self.is_in_cgroup(process))
    }

    fn matches_arguments(&self, process: Process) -> bool {
        let Some(arguments) = process.arguments() else { return false };
        let line = arguments.join(OsStr::new(" "));
        let line = line.to_string_lossy();
        self.patterns.iter().any(|pattern| pattern.is_match(&line))
    }

    fn is_in_cgroup(&self, process: Process) -> bool {
        let groups = process.cgroups();
        self.cgroups.iter().any(|wanted| groups.iter().any(|group| group.starts_with(wanted)))
    }
}

/// The control group of this path, which may also be its directory, and may lack the slash in front.
pub fn cgroup(path: &Path) -> PathBuf {
    let mounts = procfs::mounts().unwrap_or_default();
    let hierarchies = mounts.iter().filter(|mount| mount.fs_type.starts_with("cgroup"));
    let mut inside =
        hierarchies.filter_map(|mount| path.strip_prefix(OsStr::from_bytes(&mount.mount_point)).ok());
    Path::new("/").join(inside.next().unwrap_or(path))
}

fn is_named(process: Process, wanted: &OsStr) -> bool {
    let Some(name) = process.name() else { return false };
    if name == wanted.as_bytes() {
        return true;
    }
    if let Some(executable) = process.executable()
        && (executable.as_os_str() == wanted || executable.file_name() == Some(wanted))
    {
        return true;
    }
    // A longer name is cut. That of a program is its first argument, usually, that of a script the second.
    wanted.as_bytes().get(..NAME_LENGTH) == Some(&name)
        && process.arguments().is_some_and(|arguments| {
            arguments.iter().take(2).any(|a| base_name(a).as_deref() == Some(wanted))
        })
}

/// All processes that match, and have not ended. Neither this process nor an ancestor is among them: an
/// ancestor (a shell, sudo) usually waits for us.
pub fn select(selector: &Selector) -> Result<Vec<Target>, TargetError> {
    let ours = lineage();
    let all = process::all().map_err(TargetError::NoProc)?;
    let others = all.into_iter().filter(|pid| !ours.contains(pid));
    others.filter_map(|pid| confirm(pid, || selector.matches(pid)).transpose()).collect()
}

/// The process of this pid, if it is as wanted. Looked at once more when the pidfd is open: if that process
/// is still there afterwards, it was the one looked at, and not an earlier owner of the pid.
fn confirm(pid: i32, is_wanted: impl Fn() -> bool) -> Result<Option<Target>, TargetError> {
    if !is_wanted() {
        return Ok(None);
    }
    let target = match Target::open(pid) {
        // By now the number is a thread's.
        Ok(None) | Err(TargetError::Thread { .. }) => return Ok(None),
        Ok(Some(target)) => target,
        Err(error) => return Err(error),
    };
    let still = is_wanted() && !target.has_exited();
    Ok(still.then_some(target))
}

fn lineage() -> Vec<i32> {
    let mut ours = vec![getpid().as_raw(), getppid().as_raw()];
    while let Some(status) = ours.last().and_then(|pid| Process(*pid).status()) {
        // A parent in another pid namespace is 0; the limit guards against a chain that changes as we look.
        if status.parent == 0 || ours.contains(&status.parent) {
            break;
        }
        ours.push(status.parent);
    }
    ours
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::process::{Child, Command, Stdio};

    /// A process that lasts until it is dropped, which ends its input.
    struct Cat(Child);

    impl Cat {
        fn start() -> Cat {
            let cat = Cat(Command::new("cat").stdin(Stdio::piped()).spawn().expect("cannot run cat"));
            // Until its exec is past it has our name.
            while Process(cat.pid()).name().as_deref() != Some(b"cat") {
                std::thread::yield_now();
            }
            cat
        }

        fn pid(&self) -> i32 {
            self.0.id() as i32
        }

        fn end(&mut self) {
            self.0.stdin = None;
            self.0.wait().expect("wait");
        }
    }

    impl Drop for Cat {
        fn drop(&mut self) {
            self.end();
        }
    }

    fn selected(selector: &Selector) -> Vec<i32> {
        select(selector).expect("/proc").iter().map(|target| target.pid).collect()
    }

    #[test]
    fn each_condition_narrows_the_selection() {
        let (one, two) = (Cat::start(), Cat::start());
        let own = std::process::id() as i32;
        let uid = nix::unistd::geteuid().as_raw();
        let mut selector = Selector { parents: vec![own], ..Selector::default() };
        assert!([one.pid(), two.pid()].iter().all(|pid| selected(&selector).contains(pid)));
        selector.names = vec!["cat".into()];
        selector.patterns = vec![Regex::new("^cat$").expect("a pattern")];
        selector.users = vec![uid];
        assert!([one.pid(), two.pid()].iter().all(|pid| selected(&selector).contains(pid)));
        for narrower in [
            Selector { names: vec!["dog".into()], ..selector.clone() },
            Selector { patterns: vec![Regex::new("dog").expect("a pattern")], ..selector.clone() },
            Selector { users: vec![uid + 1], ..selector.clone() },
            Selector { parents: vec![one.pid()], ..selector.clone() },
            Selector { cgroups: vec!["/no/such/group".into()], ..selector.clone() },
        ] {
            assert_eq!(selected(&narrower), [0; 0], "{narrower:?}");
        }
    }

    #[test]
    fn a_record_matches_as_far_as_it_tells() {
        let mut record =
            Record { ppid: Some(3), uid: Some(7), cgroup: Some("/a/b".to_owned()), ..Record::default() };
        let named = |name: &str| Selector { names: vec![name.into()], ..Selector::default() };
        assert!(!named("date").matches_record(&record));
        record.set_executable(b"/usr/bin/date");
        record.set_comm(b"Date");
        record.set_args(&[b"date".to_vec(), b"+%s".to_vec()], false);
        for selector in [
            named("date"),
            named("Date"),
            named("/usr/bin/date"),
            Selector { patterns: vec![Regex::new("^date [+]").expect("a pattern")], ..Selector::default() },
            Selector { users: vec![7], parents: vec![4, 3], ..Selector::default() },
            Selector { cgroups: vec!["/a".into()], ..named("date") },
        ] {
            assert!(selector.matches_record(&record), "{selector:?}");
        }
        for selector in [
            named("dat"),
            Selector { patterns: vec![Regex::new("x").expect("a pattern")], ..Selector::default() },
            Selector { users: vec![8], ..Selector::default() },
            Selector { parents: vec![4], ..Selector::default() },
            Selector { cgroups: vec!["/b".into()], ..named("date") },
        ] {
            assert!(!selector.matches_record(&record), "{selector:?}");
        }
    }

    #[test]
    fn a_control_group_is_found_by_its_name_and_by_its_directory() {
        assert_eq!(cgroup(Path::new("/a.slice/b/")), Path::new("/a.slice/b"));
        assert_eq!(cgroup(Path::new("a.slice/b")), Path::new("/a.slice/b"));
        for mount in procfs::mounts().expect("/proc").iter().filter(|mount| mount.fs_type == "cgroup2") {
            let directory = Path::new(OsStr::from_bytes(&mount.mount_point)).join("a.slice");
            assert_eq!(cgroup(&directory), Path::new("/a.slice"));
        }
    }

    #[test]
    fn neither_this_process_nor_an_ancestor_is_selected() {
        let everything =
            Selector { patterns: vec![Regex::new("").expect("a pattern")], ..Selector::default() };
        let all = selected(&everything);
        for pid in [std::process::id() as i32, std::os::unix::process::parent_id() as i32, 1] {
            assert!(!all.contains(&pid), "{pid}");
        }
    }

    #[test]
    fn a_process_that_ends_between_the_looks_is_not_selected() {
        for end_at_look in [1, 2] {
            let cat = std::cell::RefCell::new(Cat::start());
            let pid = cat.borrow().pid();
            let looks = Cell::new(0);
            let found = confirm(pid, || {
                looks.set(looks.get() + 1);
                if looks.get() == end_at_look {
                    cat.borrow_mut().end();
                }
                true
            });
            assert!(found.expect("no error").is_none(), "ended at look {end_at_look}");
        }
    }
}
