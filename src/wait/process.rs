//! What /proc tells of a process. Every answer may be about the next owner of the pid, so whoever asks holds a
//! pidfd and looks afterwards whether that process is still there.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::sys::procfs::{TaskStatus, process_stat, task_status};

/// The ids of all processes that /proc shows. NotFound: it is not mounted, or shows another pid namespace.
pub fn all() -> io::Result<Vec<i32>> {
    if fs::read_link("/proc/self")?.to_str() != Some(&std::process::id().to_string()) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let entries = fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// A process, looked at by its pid.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub i32);

impl Process {
    fn file(self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.0).into()
    }

    /// Whose it is, and who its parent is.
    pub fn status(self) -> Option<TaskStatus> {
        task_status(self.0).ok()
    }

    /// Its name: the first 15 bytes of its program's or script's name, or what it chose itself.
    pub fn name(self) -> Option<Vec<u8>> {
        let mut name = fs::read(self.file("comm")).ok()?;
        name.pop_if(|last| *last == b'\n');
        Some(name)
    }

    /// The file that it executes. `None` also where we may not look (another user's process).
    pub fn executable(self) -> Option<PathBuf> {
        let path = self.of_a_thread_alive(|process| fs::read_link(process.file("exe")).ok())?;
        // What the kernel writes after the name of a file that was removed.
        let bytes = path.as_os_str().as_bytes();
        Some(OsStr::from_bytes(bytes.strip_suffix(b" (deleted)").unwrap_or(bytes)).into())
    }

    /// Its arguments. `None` for a kernel thread.
    pub fn arguments(self) -> Option<Vec<OsString>> {
        let line = self.of_a_thread_alive(|process| {
            fs::read(process.file("cmdline")).ok().filter(|line| !line.is_empty())
        })?;
        let line = line.strip_suffix(b"\0").unwrap_or(&line);
        Some(line.split(|byte| *byte == 0).map(|argument| OsString::from_vec(argument.to_vec())).collect())
    }

    /// Where it is in each hierarchy of control groups.
    pub fn cgroups(self) -> Vec<PathBuf> {
        let lines = fs::read(self.file("cgroup")).unwrap_or_default();
        // hierarchy:controllers:path
        let path =
            |line: &[u8]| Some(OsString::from_vec(line.splitn(3, |byte| *byte == b':').nth(2)?.to_vec()));
        lines.split(|byte| *byte == b'\n').filter_map(path).map(PathBuf::from).collect()
    }

    /// The wait status of a process that has ended and was not waited for. `None` where we may not know it.
    pub fn zombie_status(self) -> Option<ExitStatus> {
        // Who may not look at the process is shown 0 as its status, and EACCES here.
        fs::read_link(self.file("exe")).err().filter(|error| error.kind() == io::ErrorKind::NotFound)?;
        let stat = process_stat(self.0).filter(|stat| stat.state == b'Z')?;
        Some(ExitStatus::from_raw(stat.exit_code))
    }

    /// When it began, in clock ticks since the boot.
    pub fn start(self) -> Option<u64> {
        Some(process_stat(self.0)?.start)
    }

    /// What the main thread has given back when it ends before the others, any of them still has.
    fn of_a_thread_alive<T>(self, look: impl Fn(Process) -> Option<T>) -> Option<T> {
        look(self).or_else(|| {
            let threads = fs::read_dir(self.file("task")).ok()?;
            let ids = threads.filter_map(|thread| thread.ok()?.file_name().to_str()?.parse().ok());
            ids.filter(|id| *id != self.0).find_map(|id| look(Process(id)))
        })
    }
}

/// The last part of a path.
pub fn base_name(path: impl AsRef<Path>) -> Option<OsString> {
    path.as_ref().file_name().map(OsStr::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, id};

    #[test]
    fn this_process_is_described() {
        let own = Process(id() as i32);
        assert!(all().expect("/proc").contains(&own.0));
        assert_eq!(own.executable(), std::env::current_exe().ok());
        assert_eq!(own.arguments().map(|arguments| arguments[0].clone()), std::env::args_os().next());
        assert_eq!(
            own.status().map(|status| status.parent),
            Some(std::os::unix::process::parent_id() as i32)
        );
        assert!(own.cgroups().iter().all(|path| path.starts_with("/")));
        assert_eq!(own.zombie_status(), None);
    }

    #[test]
    fn a_zombies_status_is_read() {
        let mut child = Command::new("sh").args(["-c", "exit 7"]).spawn().expect("cannot run sh");
        let zombie = Process(child.id() as i32);
        while zombie.status().is_some_and(|status| !status.ended) {
            std::thread::yield_now();
        }
        assert_eq!(zombie.zombie_status().and_then(|status| status.code()), Some(7));
        child.wait().expect("wait");
        assert_eq!(zombie.zombie_status(), None);
    }
}
