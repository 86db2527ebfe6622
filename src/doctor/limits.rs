//! Limits of resources.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::{Check, Facts};
use crate::sys::kernel::Version;

/// Descriptors without which not even a few targets can be watched.
const FEWEST_FILES: u64 = 32;
/// What a daemon should have: a descriptor for each target and each monitor.
const MANY_FILES: u64 = 4096;
/// Signals that wait for all processes of one user.
const MANY_SIGNALS: u64 = 1024;
/// What the maps of the BPF programs take.
const BPF_BYTES: u64 = 1 << 20;
/// With less memory a table of many registrations could cost the daemon its life.
const MEMORY: u64 = 64 << 20;

/// What limits the daemon: the one that serves, or one started from here; and this user's signals.
#[derive(Clone, Copy, Debug)]
struct Limits {
    files: u64,
    signals: u64,
    /// How many signals wait already.
    waiting: u64,
    locked: u64,
    /// Whether locked memory matters to this kernel's BPF.
    locked_counts: bool,
    /// The smallest limit of our control group and those above it.
    memory: Option<u64>,
}

impl Limits {
    fn look(facts: &Facts) -> Limits {
        let limit = |resource| getrlimit(resource).map_or(RLIM_INFINITY, |(_, hard)| hard);
        let daemon = facts.daemon.as_ref().map(|daemon| daemon.pid.to_string());
        let files = daemon.as_ref().and_then(|pid| {
            // It has raised its own as far as it may.
            open_files(&fs::read_to_string(format!("/proc/{pid}/limits")).ok()?)
        });
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Limits {
            files: files.unwrap_or_else(|| limit(Resource::RLIMIT_NOFILE)),
            signals: getrlimit(Resource::RLIMIT_SIGPENDING).map_or(RLIM_INFINITY, |(soft, _)| soft),
            waiting: waiting_signals(&status).unwrap_or(0),
            locked: limit(Resource::RLIMIT_MEMLOCK),
            locked_counts: facts.kernel.version < Version::BPF_WITHOUT_MEMLOCK,
            memory: memory(
                Path::new("/proc"),
                daemon.as_deref().unwrap_or("self"),
                Path::new("/sys/fs/cgroup"),
            ),
        }
    }

    fn check(self) -> Check {
        const NAME: &str = "limits";
        let mut faults = Vec::new();
        let mut remedies = Vec::new();
        if self.files < MANY_FILES {
            faults.push(format!(
                "{} open files (each target and each monitor takes one of the daemon's)",
                self.files
            ));
            remedies.push("ulimit -Hn, or LimitNOFILE= of the service");
        }
        if self.signals < MANY_SIGNALS || self.waiting > self.signals / 10 * 9 {
            faults.push(format!(
                "{} pending signals for this user, of which {} are taken (more wait in the daemon)",
                self.signals, self.waiting
            ));
            remedies.push("ulimit -i, or LimitSIGPENDING= of a service; and take signals faster");
        }
        if self.locked_counts && self.locked < BPF_BYTES {
            faults.push(format!("{} bytes of locked memory (for BPF on this kernel)", self.locked));
            remedies.push("ulimit -l, or LimitMEMLOCK=");
        }
        if let Some(memory) = self.memory.filter(|memory| *memory < MEMORY) {
            faults.push(format!("{} MiB of memory for its control group", memory >> 20));
            remedies.push("MemoryMax= of the service, --memory of the container");
        }
        if faults.is_empty() {
            return Check::ok(NAME, self.to_string());
        }
        let found = format!("few: {}", faults.join("; "));
        let remedy = format!("raise {}", remedies.join("; "));
        if self.files < FEWEST_FILES {
            Check::fail(NAME, found, remedy)
        } else {
            Check::warn(NAME, found, remedy)
        }
    }
}

impl std::fmt::Display for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number =
            |limit: u64| if limit == RLIM_INFINITY { "unlimited".to_owned() } else { limit.to_string() };
        let memory =
            self.memory.map_or_else(|| "unlimited".to_owned(), |memory| format!("{} MiB", memory >> 20));
        let (files, signals) = (number(self.files), number(self.signals));
        write!(f, "open files {files}, pending signals {signals} ({} taken), memory {memory}", self.waiting)?;
        if self.locked_counts { write!(f, ", locked memory {}", number(self.locked)) } else { Ok(()) }
    }
}

/// The limit in force of open files in `/proc/PID/limits`.
fn open_files(limits: &str) -> Option<u64> {
    let limit =
        limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?;
    if limit == "unlimited" { Some(RLIM_INFINITY) } else { limit.parse().ok() }
}

/// How many signals wait for processes of our user, in `/proc/PID/status`.
fn waiting_signals(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("SigQ:"))?.trim().split('/').next()?.parse().ok()
}

/// The smallest memory limit of a process's control group and those above it; `None`: unlimited, or not to
/// be seen from here.
fn memory(proc: &Path, process: &str, cgroups: &Path) -> Option<u64> {
    let groups = fs::read_to_string(proc.join(process).join("cgroup")).ok()?;
    let limits = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        let (root, file) = match controllers {
            "" => (cgroups.to_owned(), "memory.max"),
            list if list.split(',').any(|one| one == "memory") => {
                (cgroups.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let group = root.join(group.trim_start_matches('/'));
        let within = group.ancestors().take_while(|directory| directory.starts_with(&root));
        within.filter_map(|directory| read_limit(directory.join(file))).min()
    });
    limits.min()
}

fn read_limit(file: PathBuf) -> Option<u64> {
    // "max" for none; version 1 writes a number near the largest.
    fs::read_to_string(file).ok()?.trim().parse().ok().filter(|limit| *limit < 1 << 60)
}

/// Whether the limits are high enough.
pub fn check(facts: &Facts) -> Check {
    Limits::look(facts).check()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn each_low_limit_is_named_with_its_remedy() {
        let high = Limits {
            files: 1 << 20,
            signals: 96_365,
            waiting: 3,
            locked: 8 << 20,
            locked_counts: true,
            memory: None,
        };
        assert_eq!(high.check().status, Status::Ok);
        assert_eq!(Limits { locked: 0, locked_counts: false, ..high }.check().status, Status::Ok);
        for (limits, status, part, remedy) in [
            (Limits { files: 256, ..high }, Status::Warn, "256 open files", "LimitNOFILE="),
            (Limits { files: 16, ..high }, Status::Fail, "16 open files", "ulimit -Hn"),
            (Limits { signals: 16, ..high }, Status::Warn, "16 pending", "ulimit -i"),
            (Limits { waiting: 96_000, ..high }, Status::Warn, "96000 are taken", "ulimit -i"),
            (Limits { locked: 65_536, ..high }, Status::Warn, "65536 bytes", "LimitMEMLOCK="),
            (Limits { memory: Some(32 << 20), ..high }, Status::Warn, "32 MiB", "MemoryMax="),
        ] {
            let check = limits.check();
            assert_eq!(check.status, status, "{check:?}");
            assert!(check.found.contains(part), "{check:?}");
            assert!(check.remedy.as_ref().is_some_and(|text| text.contains(remedy)), "{check:?}");
        }
    }

    #[test]
    fn proc_files_are_read() {
        let limits =
            "Limit   Soft Limit   Hard Limit   Units\nMax open files            20000     20000     files\n";
        assert_eq!(open_files(limits), Some(20_000));
        assert_eq!(open_files("Max open files  unlimited  unlimited  files"), Some(RLIM_INFINITY));
        assert_eq!(open_files("junk"), None);
        assert_eq!(waiting_signals("Name:\tx\nSigQ:\t3/96365\n"), Some(3));
        assert_eq!(waiting_signals("SigQ:\tx"), None);
    }

    #[test]
    fn the_smallest_memory_limit_on_the_way_up_counts() {
        let root = std::env::temp_dir().join(format!("kmonitor-limits-{}", std::process::id()));
        let (proc, cgroups) = (root.join("proc"), root.join("cgroup"));
        fs::create_dir_all(proc.join("7")).expect("mkdir");
        fs::create_dir_all(cgroups.join("a/b")).expect("mkdir");
        fs::create_dir_all(cgroups.join("memory/c")).expect("mkdir");
        fs::write(proc.join("7/cgroup"), "4:memory:/c\n1:cpu:/x\n0::/a/b\n").expect("write");
        assert_eq!(memory(&proc, "7", &cgroups), None);
        fs::write(cgroups.join("a/b/memory.max"), "max\n").expect("write");
        fs::write(cgroups.join("memory/c/memory.limit_in_bytes"), "9223372036854771712\n").expect("write");
        assert_eq!(memory(&proc, "7", &cgroups), None);
        fs::write(cgroups.join("a/memory.max"), "5000\n").expect("write");
        assert_eq!(memory(&proc, "7", &cgroups), Some(5000));
        fs::write(cgroups.join("memory/memory.limit_in_bytes"), "4000\n").expect("write");
        assert_eq!(memory(&proc, "7", &cgroups), Some(4000));
        fs::remove_dir_all(&root).expect("rm -r");
    }
}
