//! Whether our namespaces are the machine's first ones, as `/proc/self/ns` shows.

use std::fs;

/// Inode numbers of the initial namespaces (`include/uapi/linux/nsfs.h`).
const PID: u64 = 0xeffffffc;
const USER: u64 = 0xeffffffd;

/// The inode number of a process's namespace.
pub fn inode(process: &str, name: &str) -> Option<u64> {
    let link = fs::read_link(format!("/proc/{process}/ns/{name}")).ok()?;
    link.to_str()?.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}

/// True if our pids are not the machine's.
pub fn has_own_pids() -> bool {
    inode("self", "pid").is_some_and(|inode| inode != PID)
}

/// True if our users are not the machine's.
pub fn has_own_users() -> bool {
    inode("self", "user").is_some_and(|inode| inode != USER)
}
