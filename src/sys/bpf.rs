//! bpf(2): programs that the kernel runs at a tracepoint, and what they share with us.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::sys::mman::ProtFlags;

use super::mapping::{Mapping, page_size};

const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const LINK_CREATE: libc::c_int = 28;
const ITER_CREATE: libc::c_int = 33;
const TRACE_ITER: u32 = 28;

const MAP_TYPE_ARRAY: u32 = 2;
const MAP_TYPE_RINGBUF: u32 = 27;
const PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
const F_MMAPABLE: u32 = 1 << 10;

/// One instruction of an extended BPF program, `struct bpf_insn` (linux/bpf.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// What it does.
    pub code: u8,
    /// The number of the destination register; that of the source in the upper half.
    pub registers: u8,
    /// Of a jump, or of an address.
    pub offset: i16,
    /// The constant.
    pub immediate: i32,
}

/// The members of `union bpf_attr` for `BPF_MAP_CREATE`, as far as we need them.
#[repr(C)]
struct MapAttributes {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

/// Those for `BPF_PROG_LOAD`.
#[repr(C)]
struct ProgramAttributes {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
}

/// Those for `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
struct TracepointAttributes {
    name: u64,
    program: u32,
    padding: u32,
}

/// Those for `BPF_LINK_CREATE`.
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

fn create_map(attributes: &MapAttributes) -> Result<OwnedFd, Errno> {
    // SAFETY: there is no address in it.
    unsafe { bpf(MAP_CREATE, attributes) }
}

/// Runs a program at each hit of a raw tracepoint, for as long as the result is held. EPERM: it takes
/// CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN. EINVAL, EACCES: the kernel does not accept the program.
/// ENOENT: there is no such tracepoint.
pub fn attach(tracepoint: &CStr, program: &[Insn]) -> Result<OwnedFd, Errno> {
    let license = c"MIT";
    let load = ProgramAttributes {
        kind: PROG_TYPE_RAW_TRACEPOINT,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
    };
    // SAFETY: `program` has so many instructions, and `license` ends with a 0.
    let program = unsafe { bpf(PROG_LOAD, &load) }?;
    let open = TracepointAttributes {
        name: tracepoint.as_ptr() as u64,
        program: program.as_raw_fd() as u32,
        padding: 0,
    };
    // SAFETY: the name ends with a 0.
    unsafe { bpf(RAW_TRACEPOINT_OPEN, &open) }
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

/// Words that a program and we both read and write.
#[derive(Debug)]
pub struct SharedWords {
    map: OwnedFd,
    mapping: Mapping,
    count: usize,
}

impl SharedWords {
    /// So many words, all 0. (An array map of one entry, Linux 5.5.)
    pub fn new(count: NonZeroUsize) -> Result<SharedWords, Errno> {
        let length =
            count.checked_mul(NonZeroUsize::new(size_of::<u32>()).expect("4")).ok_or(Errno::E2BIG)?;
        let map = create_map(&MapAttributes {
            kind: MAP_TYPE_ARRAY,
            key_size: size_of::<u32>() as u32,
            value_size: length.get() as u32,
            max_entries: 1,
            flags: F_MMAPABLE,
        })?;
        let mapping = Mapping::new(&map, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, 0)?;
        Ok(SharedWords { map, mapping, count: count.get() })
    }

    /// One of them.
    pub fn get(&self, at: usize) -> Option<&AtomicU32> {
        // SAFETY: the mapping holds `count` words, aligned to its page, for as long as `self`, and all
        // access to them is atomic.
        (at < self.count).then(|| unsafe { self.mapping.address::<AtomicU32>().add(at).as_ref() })
    }
}

impl AsFd for SharedWords {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

/// A ring buffer through which a program wakes us (Linux 5.8). What it writes is not looked at.
#[derive(Debug)]
pub struct Bell {
    map: OwnedFd,
    /// How far we have read.
    consumer: Mapping,
    /// How far the program has written.
    producer: Mapping,
}

impl Bell {
    /// A bell that has not been rung.
    pub fn new() -> Result<Bell, Errno> {
        let page = page_size()?;
        let map = create_map(&MapAttributes {
            kind: MAP_TYPE_RINGBUF,
            key_size: 0,
            value_size: 0,
            max_entries: page.get() as u32,
            flags: 0,
        })?;
        let consumer = Mapping::new(&map, page, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, 0)?;
        let producer = Mapping::new(&map, page, ProtFlags::PROT_READ, page.get())?;
        Ok(Bell { map, consumer, producer })
    }

    /// True if it was rung since the last call.
    pub fn take(&self) -> bool {
        let position = |mapping: &Mapping| mapping.address::<AtomicU64>();
        // SAFETY: each page begins with a position, which is reached by atomics alone: the kernel's, and
        // ours.
        let (written, read) =
            unsafe { (position(&self.producer).as_ref(), position(&self.consumer).as_ref()) };
        let written = written.load(Ordering::Acquire);
        read.swap(written, Ordering::AcqRel) != written
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}
