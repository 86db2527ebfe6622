//! A warning that a process begins to exit, so that we are awake when it has.
//!
//! The proc connector and the pidfd tell of an exit when it is over, and only then we begin to wake,
//! which takes longer than all else that we do. The kernel's tracepoint `sched_process_exit` comes
//! before: on recent kernels before the process gives back its memory. A BPF program there looks whether
//! anybody watches the process, and wakes us. What is told, and when it may be told, stays with the other
//! two.
//!
//! It pays for a processor that has slept for long, and which takes tens of microseconds to come to. A
//! processor that has just been awake is so again at once, and the exiting process would be held up for
//! nothing.
//!
//! The program is a handful of instructions with nothing to relocate. To load it from an object file
//! would take a loader, and a compiler at each build or a binary in the sources.

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sched::sched_getcpu;

use crate::ids::Tid;
use crate::sys::bpf::{Bell, Insn, SharedWords, attach};
use crate::sys::clock::monotonic_ns;

/// No pid is this large (PID_MAX_LIMIT of a 64-bit kernel).
const MOST_PIDS: usize = 4 << 20;

/// Shorter sleeps than this, in ticks, are not worth a warning: the `latency` benchmark gains nothing with
/// pauses of 2 to 15 ms, and with 300 ms a quarter.
const SHORT: u32 = 16;

/// A tick is 2 to the power of this, in nanoseconds of the monotonic clock: about a millisecond. They
/// are counted modulo 2^32, and we never sleep for half of that.
const TICK: u32 = 20;

/// The words that are shared with the program: four for what is said in passing, then a bit for each
/// pid.
const SLEEPER: usize = 0;
const NOT_BEFORE: usize = 1;
const PID: usize = 2;
const PROCESSOR: usize = 3;
const WATCHED: usize = 4;

/// In [`SLEEPER`]: nobody wants to be woken. Else it is 1 more than the processor on which we sleep.
const NOBODY: u32 = 0;

const BITS: usize = u32::BITS as usize;
const WORD: usize = size_of::<u32>();

/// Wakes who polls it, when a watched process begins to exit on another processor.
#[derive(Debug)]
pub struct ExitWarning {
    words: SharedWords,
    bell: Bell,
    _program: OwnedFd,
}

impl ExitWarning {
    /// Nobody is watched. It takes the capabilities of [`attach`], and Linux 5.11: from 5.8 on it works where
    /// RLIMIT_MEMLOCK allows the half of a megabyte that the words take.
    pub fn new() -> Result<ExitWarning, Errno> {
        let words = SharedWords::new(NonZeroUsize::new(WATCHED + MOST_PIDS / BITS).expect("more than 0"))?;
        let bell = Bell::new()?;
        let program = attach(c"sched_process_exit", &program(words.as_fd(), bell.as_fd()))?;
        Ok(ExitWarning { words, bell, _program: program })
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
        let pid = usize::try_from(tid.0).ok().filter(|pid| *pid < MOST_PIDS)?;
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
        if !self.bell.take() {
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

// Instructions, as linux/bpf.h composes them.
const MOVE: u8 = 0xbf;
const MOVE_CONSTANT: u8 = 0xb7;
const MOVE_32: u8 = 0xbc;
const ADD: u8 = 0x0f;
const ADD_CONSTANT: u8 = 0x07;
const AND_CONSTANT: u8 = 0x57;
const SHIFT_LEFT_CONSTANT: u8 = 0x67;
const SHIFT_RIGHT: u8 = 0x7f;
const SHIFT_RIGHT_CONSTANT: u8 = 0x77;
const SUBTRACT_32: u8 = 0x1c;
const LOAD_WORD: u8 = 0x61;
const STORE_WORD: u8 = 0x63;
const LOAD_ADDRESS: u8 = 0x18;
const CALL: u8 = 0x85;
const JUMP_EQUAL: u8 = 0x1d;
const JUMP_EQUAL_CONSTANT: u8 = 0x15;
const JUMP_NOT_EQUAL: u8 = 0x5d;
const JUMP_NOT_EQUAL_CONSTANT: u8 = 0x55;
const EXIT: u8 = 0x95;

// What the source register of LOAD_ADDRESS says of its constant.
const MAP: u8 = 1;
const MAP_VALUE: u8 = 2;

// Helpers of the kernel.
const KTIME_GET_NS: i32 = 5;
const GET_SMP_PROCESSOR_ID: i32 = 8;
const GET_CURRENT_PID_TGID: i32 = 14;
const RINGBUF_OUTPUT: i32 = 130;
const FORCE_WAKEUP: i32 = 2;

fn insn(code: u8, destination: u8, source: u8, offset: usize, immediate: usize) -> Insn {
    Insn { code, registers: destination | source << 4, offset: offset as i16, immediate: immediate as i32 }
}

/// Rings the bell if the current task is the main thread of a watched process, and somebody has slept for
/// long on another processor. Register 6 holds its pid, 7 the processor, 8 the address of the shared words, 9 the
/// sleeper.
fn program(words: BorrowedFd<'_>, bell: BorrowedFd<'_>) -> Vec<Insn> {
    let call = |helper| insn(CALL, 0, 0, 0, helper as usize);
    let address = |register, kind, fd: BorrowedFd<'_>| {
        [insn(LOAD_ADDRESS, register, kind, 0, fd.as_raw_fd() as usize), insn(0, 0, 0, 0, 0)]
    };
    let mut code = address(8, MAP_VALUE, words).to_vec();
    code.extend([
        // While nobody is watched this is all.
        insn(LOAD_WORD, 9, 8, SLEEPER * WORD, 0),
        insn(JUMP_EQUAL_CONSTANT, 9, 0, 0, NOBODY as usize),
        call(GET_SMP_PROCESSOR_ID),
        insn(MOVE, 7, 0, 0, 0),
        insn(ADD_CONSTANT, 0, 0, 0, 1),
        insn(JUMP_EQUAL, 9, 0, 0, 0),
        // The upper half is the process, the lower one the task.
        call(GET_CURRENT_PID_TGID),
        insn(MOVE_32, 6, 0, 0, 0),
        insn(SHIFT_RIGHT_CONSTANT, 0, 0, 0, 32),
        insn(JUMP_NOT_EQUAL, 0, 6, 0, 0),
        // The bit; the bound is for the verifier.
        insn(MOVE, 1, 6, 0, 0),
        insn(SHIFT_RIGHT_CONSTANT, 1, 0, 0, BITS.ilog2() as usize),
        insn(AND_CONSTANT, 1, 0, 0, MOST_PIDS / BITS - 1),
        insn(SHIFT_LEFT_CONSTANT, 1, 0, 0, WORD.ilog2() as usize),
        insn(ADD, 1, 8, 0, 0),
        insn(LOAD_WORD, 1, 1, WATCHED * WORD, 0),
        insn(MOVE, 2, 6, 0, 0),
        insn(AND_CONSTANT, 2, 0, 0, BITS - 1),
        insn(SHIFT_RIGHT, 1, 2, 0, 0),
        insn(AND_CONSTANT, 1, 0, 0, 1),
        insn(JUMP_EQUAL_CONSTANT, 1, 0, 0, 0),
        // Before that tick the difference is negative.
        call(KTIME_GET_NS),
        insn(SHIFT_RIGHT_CONSTANT, 0, 0, 0, TICK as usize),
        insn(LOAD_WORD, 1, 8, NOT_BEFORE * WORD, 0),
        insn(SUBTRACT_32, 0, 1, 0, 0),
        insn(SHIFT_RIGHT_CONSTANT, 0, 0, 0, BITS - 1),
        insn(JUMP_NOT_EQUAL_CONSTANT, 0, 0, 0, 0),
        insn(STORE_WORD, 8, 6, PID * WORD, 0),
        insn(STORE_WORD, 8, 7, PROCESSOR * WORD, 0),
    ]);
    code.extend(address(1, MAP, bell));
    code.extend([
        // Any word will do.
        insn(MOVE, 2, 8, 0, 0),
        insn(MOVE_CONSTANT, 3, 0, 0, WORD),
        insn(MOVE_CONSTANT, 4, 0, 0, FORCE_WAKEUP as usize),
        call(RINGBUF_OUTPUT),
    ]);
    // All conditions lead to the end.
    let end = code.len();
    for (at, insn) in code.iter_mut().enumerate() {
        if [JUMP_EQUAL, JUMP_EQUAL_CONSTANT, JUMP_NOT_EQUAL, JUMP_NOT_EQUAL_CONSTANT].contains(&insn.code) {
            insn.offset = (end - at - 1) as i16;
        }
    }
    code.extend([insn(MOVE_CONSTANT, 0, 0, 0, 0), insn(EXIT, 0, 0, 0, 0)]);
    code
}
