//! Thin wrappers over system calls that no crate of ours wraps: the only `unsafe` of the project.
//!
//! Nothing here knows what kmonitor is. Each function names the call it makes and gives its errno.

pub mod bpf;
pub mod bpf_memory;
pub mod clock;
pub mod disposition;
pub mod fork;
pub mod held;
pub mod ioctl;
pub mod kernel;
pub mod malloc;
mod mapping;
pub mod mount;
pub mod namespaces;
pub mod netlink;
pub mod pidfd;
pub mod priority;
pub mod procfs;
pub mod real_time_signal;
pub mod spawn;
pub mod statx;
pub mod thread_name;
