//! What strangers do: a process on each processor, all at once.

use std::num::NonZeroUsize;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use kmonitor::sys::clock::monotonic_ns;
use nix::sched::{CloneFlags, CpuSet, clone, sched_getaffinity, sched_setaffinity};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe, read, write};

#[derive(Clone, Copy)]
pub enum Operation {
    Vfork,
    Thread,
    Fork,
    Exec,
}

impl Operation {
    pub const ALL: [Operation; 4] = [Operation::Vfork, Operation::Thread, Operation::Fork, Operation::Exec];

    pub fn name(self) -> &'static str {
        match self {
            Operation::Vfork => "vfork",
            Operation::Thread => "thread",
            Operation::Fork => "fork",
            Operation::Exec => "exec",
        }
    }

    /// As many as take some 50 ms.
    fn count(self) -> u32 {
        match self {
            Operation::Vfork | Operation::Thread => 1000,
            Operation::Fork => 500,
            Operation::Exec => 60,
        }
    }

    /// Each of them lasts until what was made has ended.
    fn perform(self, stack: &mut [u8]) {
        let child = match self {
            Operation::Thread => return std::thread::spawn(|| ()).join().expect("it does nothing"),
            Operation::Exec => {
                assert!(Command::new("/bin/true").status().expect("run true").success());
                return;
            }
            // SAFETY: the child has a stack of its own, and ends before the parent goes on.
            Operation::Vfork => unsafe {
                let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
                clone(Box::new(|| 0), stack, flags, Some(libc::SIGCHLD)).expect("vfork")
            },
            // SAFETY: this process has one thread, and the child does nothing.
            Operation::Fork => match unsafe { fork() }.expect("fork") {
                // SAFETY: always.
                ForkResult::Child => unsafe { libc::_exit(0) },
                ForkResult::Parent { child } => child,
            },
        };
        waitpid(child, None).expect("wait");
    }
}

/// What one operation took, in nanoseconds.
#[derive(Clone, Copy)]
pub struct Cost {
    /// From its begin to its end.
    pub elapsed: f64,
    /// Of a processor, by the stranger and its children.
    pub processor: f64,
}

impl Cost {
    pub fn ratio(self, to: Cost) -> Cost {
        Cost { elapsed: self.elapsed / to.elapsed, processor: self.processor / to.processor }
    }

    /// The mean of two.
    pub fn between(self, other: Cost) -> Cost {
        Cost {
            elapsed: (self.elapsed + other.elapsed) / 2.0,
            processor: (self.processor + other.processor) / 2.0,
        }
    }
}

/// What a burst of operations took.
pub struct Burst {
    pub cost: Cost,
    pub operations: u64,
}

/// The processors on which we may run.
fn processors() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("sched_getaffinity");
    (0..CpuSet::count()).filter(|processor| set.is_set(*processor) == Ok(true)).collect()
}

/// Has a stranger on each processor do it for a moment, all at the same time.
pub fn burst(operation: Operation, ready: &SharedNumber) -> Burst {
    let processors = processors();
    let ready = ready.0;
    ready.store(0, Ordering::SeqCst);
    let (from, to) = pipe().expect("pipe");
    for processor in &processors {
        // SAFETY: this program has one thread.
        if let ForkResult::Child = unsafe { fork() }.expect("fork") {
            let mut only = CpuSet::new();
            only.set(*processor).and_then(|()| sched_setaffinity(Pid::from_raw(0), &only)).expect("pin");
            let mut stack = vec![0; 1 << 16];
            // What happens once only is over.
            operation.perform(&mut stack);
            ready.fetch_add(1, Ordering::SeqCst);
            while ready.load(Ordering::SeqCst) < processors.len() as u32 {
                std::thread::yield_now();
            }
            let (begin, used) = (monotonic_ns(), processor_time());
            (0..operation.count()).for_each(|_| operation.perform(&mut stack));
            let took = [monotonic_ns() - begin, processor_time() - used];
            let bytes: Vec<u8> = took.iter().flat_map(|number| number.to_ne_bytes()).collect();
            assert_eq!(write(&to, &bytes), Ok(16));
            // SAFETY: always. What the parent has is not taken down.
            unsafe { libc::_exit(0) };
        }
    }
    let mut sum = [0u64; 2];
    for _ in &processors {
        let status = waitpid(None, None).expect("wait");
        assert!(matches!(status, WaitStatus::Exited(_, 0)), "a stranger failed: {status:?}");
        for number in &mut sum {
            let mut bytes = [0; 8];
            assert_eq!(read(&from, &mut bytes), Ok(8), "a stranger says what it took");
            *number += u64::from_ne_bytes(bytes);
        }
    }
    let operations = processors.len() as u64 * u64::from(operation.count());
    let each = |sum: u64| sum as f64 / operations as f64;
    Burst { cost: Cost { elapsed: each(sum[0]), processor: each(sum[1]) }, operations }
}

/// Of this process and of its children that have ended.
fn processor_time() -> u64 {
    let used = |who| {
        let usage = getrusage(who).expect("getrusage");
        (usage.user_time() + usage.system_time()).num_nanoseconds() as u64
    };
    used(UsageWho::RUSAGE_SELF) + used(UsageWho::RUSAGE_CHILDREN)
}

/// A number that children share. One for all bursts: each mapping makes a fork dearer.
pub struct SharedNumber(&'static AtomicU32);

impl SharedNumber {
    pub fn new() -> SharedNumber {
        let length = NonZeroUsize::new(size_of::<AtomicU32>()).expect("4");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping of zeros, never unmapped, large enough and aligned to a page.
        unsafe {
            let page = mmap_anonymous(None, length, access, MapFlags::MAP_SHARED);
            SharedNumber(page.expect("mmap").cast::<AtomicU32>().as_ref())
        }
    }
}
