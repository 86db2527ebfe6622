//! What the daemon can still do once it serves: less than root.
//!
//! It reads what clients hand it and what other processes say of themselves. Should that ever take a
//! thread of ours over, it finds itself with a handful of capabilities, unable to gain others, to begin
//! another program, to write a file or to talk to the network.
//!
//! A forbidden system call fails with EPERM: a daemon that dies of a library's new habit would lose
//! more than it protects.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// The core thread: signals everybody, looks at everybody's /proc, makes its netlink queue long, goes
/// first.
pub const CORE: [Capability; 4] =
    [Capability::CAP_KILL, Capability::CAP_SYS_PTRACE, Capability::CAP_NET_ADMIN, Capability::CAP_SYS_NICE];

/// The thread that takes the daemon down: unmounts, removes the node from whosever directory, passes
/// signals on to a program that may have become another user's.
pub const MAIN: [Capability; 3] =
    [Capability::CAP_SYS_ADMIN, Capability::CAP_DAC_OVERRIDE, Capability::CAP_KILL];

/// The log.
pub const NOTHING: [Capability; 0] = [];

/// Leaves the calling thread these capabilities, of those that it has.
pub fn keep(capabilities: &[Capability]) -> Result<(), caps::errors::CapsError> {
    let wanted: CapsHashSet = capabilities.iter().copied().collect();
    let kept: CapsHashSet = caps::read(None, CapSet::Permitted)?.intersection(&wanted).copied().collect();
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

/// Starts a thread that has these capabilities only, and returns once it has given up the others: a
/// daemon that says it is ready is confined.
pub fn spawn<T: Send + 'static>(
    name: &str,
    capabilities: &'static [Capability],
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let confined = Arc::new(Barrier::new(2));
    let thread = thread::Builder::new().name(name.to_owned()).spawn({
        let confined = confined.clone();
        move || {
            // With more than it needs it works as well.
            let _ = keep(capabilities);
            confined.wait();
            work()
        }
    })?;
    confined.wait();
    Ok(thread)
}

/// Why the system calls cannot be limited.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// `PR_SET_NO_NEW_PRIVS`
    #[error("cannot give up gaining privileges: {0}")]
    NoNewPrivileges(nix::Error),
    /// The filter.
    #[error("cannot limit the system calls: {0}")]
    Filter(#[from] seccompiler::Error),
}

/// Limits all threads of this process, and those to come, to the system calls of a daemon at work.
pub fn limit_system_calls() -> Result<(), ConfineError> {
    prctl::set_no_new_privs().map_err(ConfineError::NoNewPrivileges)?;
    let program = program().map_err(seccompiler::Error::from)?;
    Ok(seccompiler::apply_filter_all_threads(&program)?)
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let rule = SeccompRule::new;
    // Files are read only.
    let reading = |argument| {
        let writing = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
        condition(argument, Dword, SeccompCmpOp::MaskedEq(writing as u64), libc::O_RDONLY)
    };
    rules.insert(libc::SYS_openat, vec![rule(vec![reading(2)?])?]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![rule(vec![reading(1)?])?]);
    // Limits are asked for, not set.
    rules.insert(libc::SYS_prlimit64, vec![rule(vec![condition(2, Qword, SeccompCmpOp::Eq, 0)?])?]);
    // To hear of events; to tell the service manager.
    let is = |argument, value| condition(argument, Dword, SeccompCmpOp::Eq, value);
    let kind = SeccompCmpOp::MaskedEq(!(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as u32 as u64);
    let datagrams = condition(1, Dword, kind, libc::SOCK_DGRAM)?;
    let connector = rule(vec![is(0, libc::AF_NETLINK)?, is(2, libc::NETLINK_CONNECTOR)?])?;
    let manager = rule(vec![is(0, libc::AF_UNIX)?, datagrams])?;
    rules.insert(libc::SYS_socket, vec![connector, manager]);
    let forbidden = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, forbidden, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?.try_into()
}

fn condition(
    argument: u8,
    length: SeccompCmpArgLen,
    operator: SeccompCmpOp,
    value: i32,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, length, operator, value as u64)
}

/// System calls without conditions.
const CALLS: &[i64] = &[
    // Files, which are read, and the device queue.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_dup,
    libc::SYS_ioctl,
    // The node's end.
    libc::SYS_umount2,
    libc::SYS_unlinkat,
    // Waiting.
    libc::SYS_ppoll,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_futex,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_wait4,
    libc::SYS_waitid,
    // Sockets.
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    // Other processes.
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kill,
    libc::SYS_tgkill,
    // Ourselves.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_prctl,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_setpriority,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_getcpu,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // What older libraries call instead, where it exists.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::process::Command;
    use std::thread;

    #[test]
    fn a_limited_thread_reads_files_and_can_neither_write_nor_execute() {
        // A thread of its own, since a filter cannot be taken off again.
        let limited = thread::spawn(|| {
            prctl::set_no_new_privs().expect("any thread may");
            seccompiler::apply_filter(&program().expect("it compiles")).expect("the kernel takes it");
            assert!(std::fs::read("/proc/self/status").is_ok());
            let refused = |error: io::Error| error.raw_os_error() == Some(libc::EPERM);
            let file = std::env::temp_dir().join("kmonitor-confine");
            assert!(std::fs::write(&file, "").is_err_and(refused));
            assert!(std::net::UdpSocket::bind("127.0.0.1:0").is_err_and(refused));
            assert!(std::os::unix::net::UnixDatagram::unbound().is_ok());
            assert!(std::os::unix::net::UnixStream::connect("/").is_err_and(refused));
            assert!(Command::new("true").spawn().is_err());
            assert!(thread::Builder::new().spawn(|| ()).is_err());
            assert!(nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0).is_err());
        });
        limited.join().expect("it ended well");
    }
}
