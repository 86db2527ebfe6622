//! A warning that a process begins to exit, so that we are awake when it has.
//!
//! The proc connector and the pidfd tell of an exit when it is over, and only then we begin to wake,
//! which takes longer than all else that we do. The kernel's tracepoint `sched_process_exit` comes
//! before: on recent kernels before the process gives back its memory. A BPF program there
//! (`../programs/warning.bpf.c`) looks whether anybody watches the process, and wakes us. What is told, and when it
//! may be told, stays with the other two.
//!
//! It pays for a processor that has slept for long, and which takes tens of microseconds to come to. A
//! processor that has just been awake is so again at once, and the exiting process would be held up for
//! nothing.

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use aya::EbpfLoader;
use aya::programs::raw_trace_point::RawTracePointLink;
use aya::programs::{ProgramError, RawTracePoint};
use nix::sched::sched_getcpu;

use crate::ids::Tid;
use crate::source::bpf::{MOST_PIDS, Refusal, map};
use crate::sys::bpf_memory::{MappedWords, RingReader, page_size};
use crate::sys::clock::monotonic_ns;

/// What `../programs/build` makes of `../programs/warning.bpf.c`.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/source/programs/warning.bpf.o"));

/// Shorter sleeps than this, in ticks, are not worth a warning: the `latency` benchmark gains nothing with
/// pauses of 2 to 15 ms, and with 300 ms a quarter.
const SHORT: u32 = 16;

/// A tick is 2 to the power of this, in nanoseconds of the monotonic clock: about a millisecond. They
/// are counted modulo 2^32, and we never sleep for half of that.
const TICK: u32 = 20;

/// The words of `struct warning`: four for what is said in passing, then a bit for each pid.
const SLEEPER: usize = 0;
const NOT_BEFORE: usize = 1;
const PID: usize = 2;
const PROCESSOR: usize = 3;
const WATCHED: usize = 4;

/// In [`SLEEPER`]: nobody wants to be woken. Else it is 1 more than the processor on which we sleep.
const NOBODY: u32 = 0;

const BITS: usize = u32::BITS as usize;
const WORDS: NonZeroUsize = NonZeroUsize::new(WATCHED + MOST_PIDS.get() / BITS).expect("more than 0");

/// Wakes who polls it, when a watched process begins to exit on another processor.
#[derive(Debug)]
pub struct ExitWarning {
    words: MappedWords,
    bell: RingReader,
    /// Holds the program, and that the maps.
    _link: RawTracePointLink,
}

impl ExitWarning {
    /// Nobody is watched. It takes CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, and Linux 5.11: from 5.8 on it works
    /// where RLIMIT_MEMLOCK allows the half of a megabyte that the words take.
    pub fn new() -> Result<ExitWarning, Refusal> {
        const PROGRAM: &str = "begins_to_exit";
        let refused = |error: ProgramError| Refusal::of_program(PROGRAM, &error);
        let page = page_size().map_err(Refusal::io("ask for the size of a page"))?;
        // Nothing in the program is looked up in the kernel's description of its structures.
        let loader = &mut EbpfLoader::new();
        let loader = loader.btf(None).map_max_entries("bell", page.get() as u32);
        let mut object = loader.load(OBJECT).map_err(|error| Refusal::of_object(&error))?;
        let words = MappedWords::new(map(&object, "words")?, WORDS).map_err(Refusal::io("map the words"))?;
        let bell = RingReader::new(map(&object, "bell")?, page).map_err(Refusal::io("map the bell"))?;
        let program =
            object.program_mut(PROGRAM).ok_or_else(|| Refusal::Object(format!("no program {PROGRAM}")))?;
        let program: &mut RawTracePoint = program.try_into().map_err(refused)?;
        program.load().map_err(refused)?;
        let link = program.attach("sched_process_exit").map_err(refused)?;
        Ok(ExitWarning { words, bell, _link: program.take_link(link).map_err(refused)? })
    }

    /// Warn of the exit of this process, if it is one.
    pub fn watch(&self, tid: Tid) {
        if let Some((word, bit)) = self.bit(tid) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// No more warnings of this process.
    pub fn unwatch(&self, tid: Tid) {
        if let Some((word, bit)) = self.bit(tid) {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    fn bit(&self, tid: Tid) -> Option<(&AtomicU32, u32)> {
        let pid = usize::try_from(tid.0).ok().filter(|pid| *pid < MOST_PIDS.get())?;
        Some((self.words.get(WATCHED + pid / BITS)?, 1 << (pid % BITS)))
    }

    /// The calling thread is about to sleep. A process that exits on the processor on which it sleeps is
    /// through with that before the thread can run there, so that a warning would be of no use.
    pub fn arm(&self) {
        self.set(NOT_BEFORE, ((monotonic_ns() >> TICK) as u32).wrapping_add(SHORT));
        self.set(SLEEPER, sched_getcpu().map_or(NOBODY, |processor| processor as u32 + 1));
    }

    /// No warnings until it is armed again. Tells which process it was that last began to exit, if
    /// that does so on another processor than the calling thread's.
    pub fn disarm(&self) -> Option<Tid> {
        self.set(SLEEPER, NOBODY);
        if !self.bell.skip() {
            return None;
        }
        let word = |at| self.words.get(at).map(|word| word.load(Ordering::Relaxed));
        let elsewhere = word(PROCESSOR).map(|processor| processor as usize) != sched_getcpu().ok();
        word(PID).filter(|_| elsewhere).map(|pid| Tid(pid as i32))
    }

    fn set(&self, at: usize, value: u32) {
        if let Some(word) = self.words.get(at) {
            word.store(value, Ordering::Release);
        }
    }
}

impl AsFd for ExitWarning {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
