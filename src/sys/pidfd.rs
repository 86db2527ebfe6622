//! pidfds: a process named by a descriptor, which no later owner of its pid inherits.

use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::sys::statfs::{FsType, fstatfs};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};

/// A process, for as long as this is held.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

/// The siginfo of a queued signal (`SI_QUEUE`), as `rt_sigqueueinfo(2)` takes it
/// (docs/kernel-facts.md#siginfo-of-a-queued-signal).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuedSignal {
    /// `si_signo`
    pub signo: i32,
    /// `si_pid`
    pub pid: i32,
    /// `si_uid`
    pub uid: u32,
    /// `si_int`; the rest of `si_value` is 0.
    pub value: i32,
}

/// The kernel's layout of a queued signal on every architecture but MIPS, which swaps the second
/// and third member.
#[repr(C)]
struct RawSiginfo {
    signo: i32,
    errno: i32,
    code: i32,
    rt: RawRt,
}

#[repr(C)]
struct RawRt {
    pid: i32,
    uid: u32,
    value: RawValue,
}

#[repr(C)]
union RawValue {
    int: i32,
    pointer: usize,
}

const _: () = assert!(size_of::<RawSiginfo>() <= size_of::<libc::siginfo_t>());

impl QueuedSignal {
    fn to_raw(self) -> libc::siginfo_t {
        let mut value = RawValue { pointer: 0 };
        value.int = self.value;
        let raw = RawSiginfo {
            signo: self.signo,
            errno: 0,
            code: libc::SI_QUEUE,
            rt: RawRt { pid: self.pid, uid: self.uid, value },
        };
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: the assertion above shows that `raw` fits; siginfo_t is at least as aligned,
        // since both hold a pointer-sized member; and all-zero bytes under it are a valid siginfo_t.
        unsafe {
            info.as_mut_ptr().cast::<RawSiginfo>().write(raw);
            info.assume_init()
        }
    }
}

/// `struct pidfd_info` (linux/pidfd.h) as of its first version, 64 bytes.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroupid: u64,
    /// pid, tgid and ppid.
    pids: [u32; 3],
    /// Real uid and gid, then effective, saved and file system ones.
    ids: [u32; 8],
    exit_code: i32,
}

const _: () = assert!(size_of::<Info>() == 64);

/// Whose a process is, in our user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uids {
    /// Real uid.
    pub real: u32,
    /// Saved set-uid.
    pub saved: u32,
}

/// `PIDFD_INFO_CREDS`: the uids are wanted, or filled in.
const INFO_CREDS: u64 = 1 << 1;

/// `PIDFD_INFO_EXIT`: `exit_code` is wanted, or filled in.
const INFO_EXIT: u64 = 1 << 3;

/// `PID_FS_MAGIC` (linux/magic.h)
const PID_FS_MAGIC: FsType = FsType(0x5049_4446);

mod requests {
    // PIDFD_GET_INFO
    nix::ioctl_readwrite!(get_info, 0xff, 11, super::Info);
}

impl PidFd {
    /// `pidfd_open(2)` of a process by the pid of its main thread. ESRCH: there is none; EINVAL, or ENOENT
    /// on newer kernels: the id is that of another thread.
    pub fn open(pid: i32) -> Result<PidFd, Errno> {
        // SAFETY: no pointers; the result is checked before it is taken for a descriptor.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
        // SAFETY: the kernel has just made this descriptor, and nobody else has it.
        Ok(PidFd(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    /// True once the process has ended, all its threads included (docs/kernel-facts.md#readable).
    pub fn has_exited(&self) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(n) if n > 0)
    }

    /// True once the parent has waited for the process too; its pid may be another's now.
    pub fn is_reaped(&self) -> bool {
        // SAFETY: signal 0 is none, and a null siginfo stands for kill(2)'s.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                0,
                ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        Errno::result(result) == Err(Errno::ESRCH)
    }

    /// The wait status of a process that has been reaped (`PIDFD_GET_INFO`, Linux 6.15). `None` before, and on
    /// older kernels (docs/kernel-facts.md#exit-status).
    pub fn exit_status(&self) -> Option<ExitStatus> {
        let mut info = Info { mask: INFO_EXIT, ..Info::default() };
        // SAFETY: the request's number says how many bytes the kernel reads and writes, and they are there.
        unsafe { requests::get_info(self.0.as_raw_fd(), &mut info) }.ok()?;
        (info.mask & INFO_EXIT != 0).then(|| ExitStatus::from_raw(info.exit_code))
    }

    /// The uids of the process's main thread (`PIDFD_GET_INFO`, Linux 6.13). `None` if it is dead, and on
    /// older kernels.
    pub fn uids(&self) -> Option<Uids> {
        let mut info = Info { mask: INFO_CREDS, ..Info::default() };
        // SAFETY: the request's number says how many bytes the kernel reads and writes, and they are there.
        unsafe { requests::get_info(self.0.as_raw_fd(), &mut info) }.ok()?;
        let [real, _, _, _, saved, ..] = info.ids;
        (info.mask & INFO_CREDS != 0).then_some(Uids { real, saved })
    }

    /// The inode number by which the kernel tells this process from all others since the boot (pidfs,
    /// Linux 6.9). `None` on older kernels, where all pidfds have one inode.
    pub fn inode(&self) -> nix::Result<Option<u64>> {
        let is_pidfs = fstatfs(&self.0)?.filesystem_type() == PID_FS_MAGIC;
        Ok(if is_pidfs { Some(fstat(&self.0)?.st_ino) } else { None })
    }

    /// `pidfd_send_signal(2)`: queues the signal to the process. EAGAIN: its signal queue is full;
    /// ESRCH: it is gone; EPERM: we may not signal it; EINVAL: there is no such signal.
    pub fn send(&self, signal: QueuedSignal) -> Result<(), Errno> {
        let info = signal.to_raw();
        // SAFETY: `info` outlives the call, which only reads it.
        let result = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal.signo, &raw const info, 0)
        };
        Errno::result(result).map(mem::drop)
    }
}

/// Whether [`PidFd::exit_status`] works here, which is found out with a child that exits at once.
pub fn exit_statuses_are_kept() -> nix::Result<bool> {
    // SAFETY: the child calls nothing but _exit, which is async-signal-safe.
    match unsafe { fork() }? {
        // SAFETY: it ends this process, without running anything of ours.
        ForkResult::Child => unsafe { libc::_exit(0) },
        ForkResult::Parent { child } => {
            // It cannot be reaped before this thread does so.
            let pidfd = PidFd::open(child.as_raw());
            waitpid(child, None)?;
            Ok(pidfd?.exit_status().is_some())
        }
    }
}

/// `tgkill(2)` with signal 0: true if the process has a task of this id.
pub fn has_task(tgid: i32, tid: i32) -> bool {
    // SAFETY: no pointers.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, tgid, tid, 0) };
    Errno::result(result) != Err(Errno::ESRCH)
}

impl AsFd for PidFd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queued_signal_has_every_byte_set() {
        let info = QueuedSignal { signo: 34, pid: 4711, uid: 1000, value: 0x40 }.to_raw();
        assert_eq!((info.si_signo, info.si_errno, info.si_code), (34, 0, libc::SI_QUEUE));
        // SAFETY: to_raw filled the members of a queued signal.
        let (pid, uid, value) = unsafe { (info.si_pid(), info.si_uid(), info.si_value()) };
        assert_eq!((pid, uid), (4711, 1000));
        #[cfg(target_endian = "little")]
        assert_eq!(value.sival_ptr as usize, 0x40);
    }

    #[test]
    fn a_pid_that_nobody_has_cannot_be_opened() {
        assert_eq!(PidFd::open(i32::MAX).err(), Some(Errno::ESRCH));
        assert_eq!(PidFd::open(-1).err(), Some(Errno::EINVAL));
    }

    #[test]
    fn a_process_is_told_from_others_by_its_inode_where_there_is_pidfs() {
        let own = |pid: u32| PidFd::open(pid as i32).expect("pidfd_open").inode().expect("fstat");
        let mut other = std::process::Command::new("true").spawn().expect("cannot run true");
        let (one, two) = (own(std::process::id()), own(other.id()));
        other.wait().expect("wait");
        assert!(one.is_none() || one != two, "{one:?} {two:?}");
        assert_eq!(own(std::process::id()), one);
    }

    #[test]
    fn an_exit_status_is_known_once_the_process_is_reaped() {
        let mut child =
            std::process::Command::new("sh").args(["-c", "exit 7"]).spawn().expect("cannot run sh");
        let pidfd = PidFd::open(child.id() as i32).expect("pidfd_open");
        assert!(!pidfd.is_reaped());
        assert_eq!(pidfd.exit_status(), None);
        let status = child.wait().expect("wait");
        assert!(pidfd.is_reaped());
        let kept = exit_statuses_are_kept().expect("fork");
        assert_eq!(pidfd.exit_status(), kept.then_some(status));
    }

    #[test]
    fn an_ended_process_is_known_and_takes_no_signal() {
        let mut child = std::process::Command::new("true").spawn().expect("cannot run true");
        let pidfd = PidFd::open(child.id() as i32).expect("pidfd_open");
        child.wait().expect("wait");
        assert!(pidfd.has_exited());
        let signal = QueuedSignal { signo: libc::SIGTERM, pid: 0, uid: 0, value: 0 };
        assert_eq!(pidfd.send(signal), Err(Errno::ESRCH));
        assert!(!PidFd::open(std::process::id() as i32).expect("own pidfd").has_exited());
    }
}
