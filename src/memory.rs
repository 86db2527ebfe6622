//! How much memory there is for us: the limits of the tables follow it.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};

/// Bytes that this process can use in all: the machine's memory, or less where a memory cgroup or the
/// limit of the address space says so.
pub fn available() -> u64 {
    let machine = meminfo(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
    let groups = memory_limits(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default());
    let groups = groups.iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    let address_space = getrlimit(Resource::RLIMIT_AS).map_or(u64::MAX, |(soft, _)| soft);
    groups.chain(machine).fold(address_space, u64::min)
}

/// True if so many bytes more could be had now, as far as address space goes.
pub fn can_be_had(bytes: usize) -> bool {
    Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}

fn meminfo(text: &str) -> Option<u64> {
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// The files that may limit the memory of the cgroups of this /proc/self/cgroup, of both versions. A file
/// without a limit has a word in it, or a number beyond all memory.
fn memory_limits(groups: &str) -> Vec<PathBuf> {
    let limits = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            v1 if v1.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let ancestors = Path::new(group.trim_start_matches('/')).ancestors();
        Some(ancestors.map(|group| Path::new(root).join(group).join(file)).collect::<Vec<_>>())
    });
    limits.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_some_and_not_all_can_be_had() {
        let available = available();
        assert!(available > 16 << 20, "{available}");
        assert!(can_be_had(1 << 20));
        assert!(!can_be_had(isize::MAX as usize));
        assert_eq!(meminfo("MemTotal:        2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
        assert_eq!(meminfo("MemTotal: many\n"), None);
    }

    #[test]
    fn each_group_and_those_above_it_can_limit() {
        let groups = "5:cpu:/a\n4:hugetlb,memory:/a/b\n0::/c\n";
        let expected = [
            "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/c/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(memory_limits(groups), expected.map(PathBuf::from));
        assert_eq!(memory_limits("no line of this kind"), [] as [PathBuf; 0]);
    }
}
