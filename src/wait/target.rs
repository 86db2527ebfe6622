//! A process to wait for, held by a pidfd.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::kill;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, SysconfVar, getpid, sysconf};

use super::process::Process;
use crate::remedy::remedy;
use crate::sys::pidfd::PidFd;

/// A process as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its pid.
    pub pid: i32,
    /// The inode number of its pidfd, which tells it from other owners of the pid.
    pub inode: Option<u64>,
}

/// A process, and no later owner of its pid.
#[derive(Debug)]
pub struct Target {
    /// Its pid.
    pub pid: i32,
    pub(super) pidfd: PidFd,
}

/// Why a target cannot be waited for. Each is a sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Its pid is ours.
    #[error("{0} is this kmonitor itself, which would wait for ever: choose another process")]
    Ourselves(i32),
    /// Its id is no process's.
    #[error("{tid} is the id of a thread: use its process{}", .process.map(|pid| format!(", {pid}")).unwrap_or_default())]
    Thread {
        /// The thread.
        tid: i32,
        /// Its process, where we may know it.
        process: Option<i32>,
    },
    /// PID:INODE on a kernel whose pidfds have no inode numbers of their own.
    #[error(
        "this kernel does not tell processes apart by inode (Linux 6.9 and later do): use {0} without :INODE"
    )]
    NoInodes(i32),
    /// No more descriptors.
    #[error(
        "too many processes to wait for: each takes a file descriptor, and the limit is {0} \
         (raise it with `ulimit -Hn`, or wait for fewer)"
    )]
    Descriptors(u64),
    /// The kernel has no pidfds.
    #[error("this kernel has no pidfd_open(2): boot Linux 5.3 or later")]
    NoPidfds,
    /// Another error of pidfd_open(2).
    #[error("cannot open a pidfd of {pid}: {errno} (a container's seccomp profile may forbid it): {}", remedy(*errno))]
    Open {
        /// The process.
        pid: i32,
        /// What the kernel said.
        errno: Errno,
    },
    /// A selection, without /proc.
    #[error(
        "cannot look for processes ({0}): /proc is not mounted, or is that of another pid namespace: run `mount -t proc proc /proc`"
    )]
    NoProc(io::Error),
    /// A pidfile cannot be read.
    #[error("cannot read the pidfile {path}: {error}: choose the file that the program writes")]
    Pidfile {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A pidfile is something else.
    #[error("{path} is not a pidfile: {what}: choose the file that the program writes")]
    NoPidfile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A pidfile's process began after the file was written.
    #[error(
        "the pidfile {path} is stale: {pid} started after the file was written, so the number was given to another \
         process (unless the clock was set since): remove the file, or use {pid} itself"
    )]
    Stale {
        /// The file.
        path: PathBuf,
        /// The number in it.
        pid: i32,
    },
}

impl Target {
    /// Opens the process that has this pid now. `None`: there is none.
    pub(super) fn open(pid: i32) -> Result<Option<Target>, TargetError> {
        match PidFd::open(pid) {
            Ok(pidfd) => Ok(Some(Target { pid, pidfd })),
            Err(Errno::ESRCH) => Ok(None),
            // It is going just now (docs/kernel-facts.md#einval-of-a-process-that-is-going).
            Err(Errno::EINVAL | Errno::ENOENT) if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) => {
                Ok(None)
            }
            Err(Errno::EINVAL | Errno::ENOENT) => {
                let process = Process(pid).status().map(|status| status.tgid);
                Err(TargetError::Thread { tid: pid, process })
            }
            Err(Errno::EMFILE | Errno::ENFILE) => Err(TargetError::Descriptors(descriptor_limit())),
            Err(Errno::ENOSYS) => Err(TargetError::NoPidfds),
            Err(errno) => Err(TargetError::Open { pid, errno }),
        }
    }

    /// True once it has ended, all its threads included.
    pub fn has_exited(&self) -> bool {
        self.pidfd.has_exited()
    }
}

/// The process as it was named. `None`: it does not exist, or not any more.
pub fn open(named: Named) -> Result<Option<Target>, TargetError> {
    let Named { pid, inode } = named;
    if pid == getpid().as_raw() {
        return Err(TargetError::Ourselves(pid));
    }
    let Some(target) = Target::open(pid)? else { return Ok(None) };
    let Some(inode) = inode else { return Ok(Some(target)) };
    match target.pidfd.inode() {
        Ok(Some(own)) => Ok((own == inode).then_some(target)),
        Ok(None) => Err(TargetError::NoInodes(pid)),
        Err(errno) => Err(TargetError::Open { pid, errno }),
    }
}

/// No pidfile has a longer first line.
const PIDFILE_START: u64 = 64;

/// How much later than its pidfile a process may seem to have started: file systems round times to 2 seconds at
/// worst, and clocks are set by small steps.
const SLACK: Duration = Duration::from_secs(2);

/// The pid in this file, and the process that wrote it. `None` in its place: it does not exist any more.
pub fn from_pidfile(path: &Path) -> Result<(i32, Option<Target>), TargetError> {
    let unreadable = |error| TargetError::Pidfile { path: path.to_owned(), error };
    let no_pidfile = |what| TargetError::NoPidfile { path: path.to_owned(), what };
    // A FIFO or a device might keep us waiting.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(no_pidfile("it is no regular file"));
    }
    let mut start = Vec::new();
    file.take(PIDFILE_START).read_to_end(&mut start).map_err(unreadable)?;
    let pid = match parse_pidfile(&start) {
        Some(pid) => pid,
        None if start.is_empty() => {
            return Err(no_pidfile("it is empty (its process may not have written it yet)"));
        }
        None => return Err(no_pidfile("its first line is not the number of a process")),
    };
    let target = open(Named { pid, inode: None })?;
    if let Some(target) = &target
        && let (Some(started), Ok(written)) = (start_time(pid), metadata.modified())
        && started > written + SLACK
        // Else the pid may have had another owner by the time of the look.
        && !target.has_exited()
    {
        return Err(TargetError::Stale { path: path.to_owned(), pid });
    }
    Ok((pid, target))
}

fn parse_pidfile(start: &[u8]) -> Option<i32> {
    let line = start.split(|byte| *byte == b'\n').next()?;
    str::from_utf8(line).ok()?.trim().parse().ok().filter(|pid| *pid > 0)
}

/// When a process began, by today's clock.
fn start_time(pid: i32) -> Option<SystemTime> {
    let ticks = Process(pid).start()?;
    let per_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok().filter(|ticks| *ticks > 0)?;
    let since_boot = Duration::from_secs(ticks / per_second)
        + Duration::from_secs(ticks % per_second) / u32::try_from(per_second).ok()?;
    let uptime = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    SystemTime::now().checked_sub(uptime.checked_sub(since_boot)?)
}

fn descriptor_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pidfile_begins_with_a_number() {
        for (text, pid) in [("12", 12), ("12\n", 12), ("  12 \nmore\n", 12), ("2147483647", i32::MAX)] {
            assert_eq!(parse_pidfile(text.as_bytes()), Some(pid), "{text:?}");
        }
        for text in ["", "\n12", "0", "-1", "x", "2147483648", "12 13", "\u{1}"] {
            assert_eq!(parse_pidfile(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_pidfile(b"\xff\n"), None);
    }

    #[test]
    fn a_process_began_a_moment_ago() {
        let before = SystemTime::now();
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat");
        let started = start_time(child.id() as i32).expect("it is there");
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(
            started + SLACK > before && started < SystemTime::now() + SLACK,
            "{started:?}, not {before:?}"
        );
    }

    /// Linux 6.1 fails this without the second question.
    #[test]
    fn a_number_is_of_a_thread_only_while_it_has_a_task() {
        let pid = std::sync::atomic::AtomicI32::new(0);
        let order = std::sync::atomic::Ordering::SeqCst;
        std::thread::scope(|scope| {
            let opener = scope.spawn(|| {
                let mut tried = 0;
                while pid.load(order) >= 0 {
                    let pid = pid.load(order);
                    if pid > 0 {
                        Target::open(pid).expect("it is a process, or gone");
                        tried += 1;
                    }
                }
                tried
            });
            for _ in 0..50 {
                let mut child = std::process::Command::new("true").spawn().expect("true");
                pid.store(child.id() as i32, order);
                child.wait().expect("wait");
            }
            pid.store(-1, order);
            assert!(opener.join().expect("it does not panic") > 50);
        });
    }

    #[test]
    fn a_thread_is_no_process() {
        let thread = std::thread::spawn(|| {
            let tid = nix::unistd::gettid().as_raw();
            open(Named { pid: tid, inode: None })
        });
        let error = thread.join().expect("no panic").expect_err("a thread");
        let process = Some(std::process::id() as i32);
        assert!(matches!(error, TargetError::Thread { process: of, .. } if of == process), "{error:?}");
    }

    #[test]
    fn another_life_of_the_pid_is_not_opened() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat");
        let pid = child.id() as i32;
        let inode = PidFd::open(pid).expect("pidfd_open").inode().expect("fstat");
        for (wanted, found) in [(inode, true), (inode.map(|inode| inode + 1), false)] {
            let target = wanted.map(|inode| open(Named { pid, inode: Some(inode) }).expect("no error"));
            assert!(target.is_none_or(|target| target.is_some() == found), "{wanted:?}");
        }
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}
