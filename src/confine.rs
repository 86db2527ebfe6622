//! What the daemon can still do once it serves: less than root.
//!
//! It reads what clients hand it and what other processes say of themselves. Should that ever take a
//! thread of ours over, it finds itself with a handful of capabilities, unable to gain others, to begin
//! another program, process or thread, to make memory executable, to reach a file or terminal
//! ([`crate::view`]), or to talk to the network. What takes more rights [`crate::keeper`] does.
//!
//! A forbidden system call fails with EPERM: a daemon that dies of a library's new habit would lose
//! more than it protects.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::remedy;
use crate::view::{View, ViewError};

/// The core thread: signals everybody, looks at everybody's /proc, makes its netlink queue long, goes
/// first.
pub const CORE: [Capability; 4] =
    [Capability::CAP_KILL, Capability::CAP_SYS_PTRACE, Capability::CAP_NET_ADMIN, Capability::CAP_SYS_NICE];

/// The main thread: passes signals on to a program that may have become another user's.
pub const MAIN: [Capability; 1] = [Capability::CAP_KILL];

/// The process that takes the node away: unmounts, removes the file from whosever directory.
pub const KEEPER: [Capability; 2] = [Capability::CAP_SYS_ADMIN, Capability::CAP_DAC_OVERRIDE];

/// The outputs, and what tells the status.
pub const NOTHING: [Capability; 0] = [];

/// Why a right cannot be given up.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// Capabilities.
    #[error("cannot drop capabilities: {0}: run it as root of the host, or with --unconfined")]
    Capabilities(#[from] caps::errors::CapsError),
    /// The file system.
    #[error("{0}; or run it with --unconfined")]
    View(#[from] ViewError),
    /// `PR_SET_NO_NEW_PRIVS`
    #[error("cannot give up gaining privileges: {0}: boot Linux 5.3 or later, or run it with --unconfined")]
    NoNewPrivileges(nix::Error),
    /// The filter.
    #[error(
        "cannot limit the system calls: {0}: boot a kernel with CONFIG_SECCOMP_FILTER=y, or run it with \
         --unconfined"
    )]
    Filter(#[from] seccompiler::Error),
    /// A thread.
    #[error("cannot start a thread: {error}: {}", remedy::of(error))]
    Thread {
        /// Why not.
        #[from]
        error: io::Error,
    },
}

/// How the threads of the daemon are confined.
#[derive(Clone, Debug)]
pub struct Confinement(Option<Arc<View>>);

impl Confinement {
    /// As described above.
    pub fn new() -> Result<Confinement, ConfineError> {
        Ok(Confinement(Some(Arc::new(View::new()?))))
    }

    /// Not at all.
    pub fn none() -> Confinement {
        Confinement(None)
    }

    /// Leaves the calling thread these capabilities, of those that it has, and the view of `/proc`.
    pub fn give_up(&self, capabilities: &[Capability]) -> Result<(), ConfineError> {
        let Some(view) = &self.0 else { return Ok(()) };
        view.enter()?;
        Ok(keep(capabilities)?)
    }

    /// Starts a thread that has these capabilities only, and returns once it has given up the others: a
    /// daemon that says it is ready is confined.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        capabilities: &'static [Capability],
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, ConfineError> {
        let confinement = self.clone();
        let (sender, given_up) = mpsc::channel();
        let (leave, may_work) = mpsc::channel::<()>();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ = sender.send(confinement.give_up(capabilities));
            // If it has kept too much, the daemon ends.
            let _ = may_work.recv();
            work()
        })?;
        given_up.recv().map_err(|_| io::Error::from_raw_os_error(libc::EAGAIN))??;
        drop(leave);
        Ok(thread)
    }

    /// Limits all threads of this process, and those to come, to the system calls of a daemon at work. It
    /// may signal this child, by kill(2).
    pub fn limit_system_calls(&self, child: Option<u32>) -> Result<(), ConfineError> {
        if self.0.is_none() {
            return Ok(());
        }
        prctl::set_no_new_privs().map_err(ConfineError::NoNewPrivileges)?;
        let program = serving(child).map_err(seccompiler::Error::from)?;
        Ok(seccompiler::apply_filter_all_threads(&program)?)
    }
}

/// Leaves the calling thread these capabilities, of those that it has.
pub fn keep(capabilities: &[Capability]) -> Result<(), caps::errors::CapsError> {
    let wanted: CapsHashSet = capabilities.iter().copied().collect();
    let kept: CapsHashSet = caps::read(None, CapSet::Permitted)?.intersection(&wanted).copied().collect();
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

/// Limits the process that takes the node away to the system calls for that.
pub fn limit_keeper() -> Result<(), ConfineError> {
    prctl::set_no_new_privs().map_err(ConfineError::NoNewPrivileges)?;
    let program = filter(&[COMMON, KEEPING], Vec::new()).map_err(seccompiler::Error::from)?;
    Ok(seccompiler::apply_filter(&program)?)
}

fn serving(child: Option<u32>) -> Result<BpfProgram, BackendError> {
    let is = |argument, value: i32| condition(argument, Dword, SeccompCmpOp::Eq, value);
    let rule = SeccompRule::new;
    let names = [libc::PR_SET_NAME, libc::PR_GET_NAME];
    let mut rules = vec![
        // Of ourselves: limits are asked for, not set; of our threads the name and the priority change.
        (libc::SYS_prlimit64, vec![rule(vec![is(0, 0)?, condition(2, Qword, SeccompCmpOp::Eq, 0)?])?]),
        (libc::SYS_prctl, names.map(|name| rule(vec![is(0, name)?])).into_iter().collect::<Result<_, _>>()?),
        (libc::SYS_setpriority, vec![rule(vec![is(1, 0)?])?]),
        (libc::SYS_sched_setscheduler, vec![rule(vec![is(0, 0)?])?]),
        // To ourselves, where something is amiss; of other processes, whether they have a thread.
        (libc::SYS_tgkill, vec![rule(vec![is(0, std::process::id() as i32)?])?, rule(vec![is(2, 0)?])?]),
        // Of another process, how it ended, by PIDFD_GET_INFO: whatever its size, the kernel copies no more.
        (libc::SYS_ioctl, vec![rule(vec![condition(1, Dword, SeccompCmpOp::MaskedEq(0xffff), 0xff0b)?])?]),
        // To hear of events.
        (libc::SYS_socket, vec![rule(vec![is(0, libc::AF_NETLINK)?, is(2, libc::NETLINK_CONNECTOR)?])?]),
    ];
    if let Some(child) = child {
        rules.push((libc::SYS_kill, vec![rule(vec![is(0, child as i32)?])?]));
    }
    filter(&[COMMON, SERVING], rules)
}

/// A filter that allows these calls, and others under these conditions.
fn filter(calls: &[&[i64]], conditions: Vec<(i64, Vec<SeccompRule>)>) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        calls.iter().flat_map(|calls| calls.iter()).map(|call| (*call, Vec::new())).collect();
    rules.extend(conditions);
    let rule = SeccompRule::new;
    // Files are read only, by paths from the root.
    let writing = SeccompCmpOp::MaskedEq((libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64);
    let reading = condition(2, Dword, writing, libc::O_RDONLY)?;
    let from_root = condition(0, Dword, SeccompCmpOp::Eq, libc::AT_FDCWD)?;
    rules.insert(libc::SYS_openat, vec![rule(vec![from_root, reading])?]);
    // Memory never becomes executable.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let executable = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
        rules.insert(call, vec![rule(vec![condition(2, Dword, executable, 0)?])?]);
    }
    let forbidden = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, forbidden, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?.try_into()
}

fn condition(
    argument: u8,
    length: SeccompCmpArgLen,
    operator: SeccompCmpOp,
    value: i32,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, length, operator, value as u32 as u64)
}

/// What every process needs: files that are read, memory, its end. There is no ioctl among it.
const COMMON: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_readlinkat,
    libc::SYS_futex,
    libc::SYS_restart_syscall,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
];

/// What serving takes besides.
const SERVING: &[i64] = &[
    // Waiting.
    libc::SYS_ppoll,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_wait4,
    libc::SYS_waitid,
    // The source's socket, the keeper's.
    libc::SYS_bind,
    libc::SYS_getsockname,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_shutdown,
    // Who asks for the status.
    libc::SYS_accept4,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    // Other processes.
    libc::SYS_getdents64,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    // Our threads.
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_getcpu,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

/// What taking the node away takes besides.
const KEEPING: &[i64] = &[
    libc::SYS_umount2,
    libc::SYS_unlinkat,
    libc::SYS_flock,
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
            seccompiler::apply_filter(&serving(None).expect("it compiles")).expect("the kernel takes it");
            assert!(std::fs::read("/proc/self/status").is_ok());
            let refused = |error: io::Error| error.raw_os_error() == Some(libc::EPERM);
            let file = std::env::temp_dir().join("kmonitor-confine");
            assert!(std::fs::write(&file, "").is_err_and(refused));
            assert!(std::net::UdpSocket::bind("127.0.0.1:0").is_err_and(refused));
            assert!(std::os::unix::net::UnixDatagram::unbound().is_err_and(refused));
            assert!(Command::new("true").spawn().is_err());
            assert!(thread::Builder::new().spawn(|| ()).is_err());
            assert!(nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0).is_err());
        });
        limited.join().expect("it ended well");
    }
}
