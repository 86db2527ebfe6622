//! bpf(2), for what aya does not do.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

const LINK_CREATE: libc::c_int = 28;
const ITER_CREATE: libc::c_int = 33;
const TRACE_ITER: u32 = 28;

/// The members of `union bpf_attr` for `BPF_LINK_CREATE`, as far as we need them.
#[repr(C)]
struct LinkAttributes {
    program: u32,
    target: u32,
    kind: u32,
    flags: u32,
}

/// Those for `BPF_ITER_CREATE`.
#[repr(C)]
struct IteratorAttributes {
    link: u32,
    flags: u32,
}

/// Makes the call that gives a descriptor.
///
/// # Safety
/// The addresses in `attributes` are valid for what the command reads there.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> Result<OwnedFd, Errno> {
    // SAFETY: the kernel reads so many bytes of `attributes`, in which there is no padding, and takes
    // what lies beyond for 0; the caller vouches for the addresses in it.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>() as libc::c_uint)
    };
    let fd = Errno::result(result)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A BPF program that is called for each task there is (`iter/task`, Linux 5.8).
#[derive(Debug)]
pub struct TaskIterator(OwnedFd);

impl TaskIterator {
    /// Attaches the program, which does not run yet.
    pub fn new(program: BorrowedFd<'_>) -> Result<TaskIterator, Errno> {
        let attributes =
            LinkAttributes { program: program.as_raw_fd() as u32, target: 0, kind: TRACE_ITER, flags: 0 };
        // SAFETY: there is no address in it.
        unsafe { bpf(LINK_CREATE, &attributes) }.map(TaskIterator)
    }

    /// Runs it for all tasks. It needs no capability, and of bpf(2) BPF_ITER_CREATE only.
    pub fn run(&self) -> io::Result<()> {
        let attributes = IteratorAttributes { link: self.0.as_raw_fd() as u32, flags: 0 };
        // SAFETY: there is no address in it.
        let run = File::from(unsafe { bpf(ITER_CREATE, &attributes) }?);
        io::copy(&mut &run, &mut io::sink()).map(drop)
    }
}
