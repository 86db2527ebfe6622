//! How long after a process's exit its monitor knows: by kmonitor's signal, against a pidfd poll without kmonitor.
//!
//! `cargo bench --bench latency [-- [ROUNDS] [SOURCE...]]`, as root on an idle machine. In each of five turns ROUNDS exits are awaited
//! by a poll while no daemon runs, and then as many by a signal of a daemon that was started for them. A target notes
//! the time and exits; the monitor notes the time when it wakes. Before that everybody sleeps for a moment, short or
//! long: processors that have slept for long take their time to wake.
//!
//! The kernel wakes who polls a pidfd a little before it reports the exit, and the daemon has to wake
//! before the monitor can. That takes about the same time whatever exits, so the ratio depends on what
//! the exit itself takes: the targets go from the smallest that there can be, a fork of this program
//! that has touched nothing, over an executed program, to a fork with memory of its own.
//!
//! It also depends on where the target runs: a task that is woken on the processor of the task that
//! exits has to wait until that has gone. So the targets run on each processor in turn.

#[path = "daemon/mod.rs"]
mod daemon;

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use daemon::Daemon;
use kmonitor::abi::{DEREGISTER, EventMask, REGISTER};
use kmonitor::sys::clock::monotonic_ns;
use kmonitor::sys::pidfd::PidFd;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, dup2_stdin, dup2_stdout, execv, fork, pipe, read, write};

const SIGNAL: i32 = 40;

const TURNS: usize = 5;

/// Sleeps before an exit.
const PAUSES: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(20)];

/// The argument that makes this program a target.
const BE_TARGET: &CStr = c"--be-target";

fn main() {
    if std::env::args_os().nth(1).is_some_and(|argument| argument.as_bytes() == BE_TARGET.to_bytes()) {
        wait_and_exit(&std::io::stdin(), &std::io::stdout());
    }
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(100);
    block_signal();
    println!(
        "{TURNS} turns of {rounds} exits each; microseconds from the exit to the monitor's return: medians"
    );
    println!(
        "of the turns' medians and 99th percentiles, and of the ratios of their medians, with the extremes"
    );
    let sources = ["bpf", "connector"];
    let is_named = |source: &&str| std::env::args().any(|argument| argument == *source);
    let all = !sources.iter().any(is_named);
    for source in sources.iter().filter(|source| all || is_named(source)) {
        for pause in PAUSES {
            println!("\n--source {source}, after {pause:?} of sleep");
            println!(
                "{:<38} {:>8} {:>8} {:>8} {:>8} {:>6}",
                "target that exits", "poll", "p99", "signal", "p99", "ratio"
            );
            for kind in [Kind::Fork(0), Kind::Program, Kind::Fork(4)] {
                print_row(kind, (0..TURNS).map(|_| Turn::new(source, kind, pause, rounds)).collect());
            }
        }
    }
}

/// What was measured in a turn, in nanoseconds.
struct Turn {
    polled: Vec<u64>,
    signalled: Vec<u64>,
}

impl Turn {
    fn new(source: &str, kind: Kind, pause: Duration, rounds: usize) -> Turn {
        let processors = processors();
        let processor = |round: usize| processors[round % processors.len()];
        let polled = (0..rounds).map(|round| {
            let target = Target::start(kind, processor(round), None);
            target.exit(pause, || poll_exit(&target.pidfd))
        });
        let mut polled: Vec<u64> = polled.collect();

        let daemon = Daemon::start(&["--source", source]);
        let device = std::fs::OpenOptions::new().write(true).open(&daemon.path).expect("open the device");
        let device = device.as_fd();
        let signalled = (0..rounds).map(|round| {
            let target = Target::start(kind, processor(round), Some(device));
            call(device, REGISTER, target.pid);
            let latency = target.exit(pause, take_signal);
            call(device, DEREGISTER, target.pid);
            latency
        });
        let mut signalled: Vec<u64> = signalled.collect();
        polled.sort_unstable();
        signalled.sort_unstable();
        Turn { polled, signalled }
    }
}

/// Of a sorted row of samples.
fn percentile(samples: &[u64], percent: usize) -> f64 {
    samples[(samples.len() - 1) * percent / 100] as f64 / 1000.0
}

fn print_row(kind: Kind, turns: Vec<Turn>) {
    let over_turns = |number: &dyn Fn(&Turn) -> f64| {
        let mut numbers: Vec<f64> = turns.iter().map(number).collect();
        numbers.sort_by(f64::total_cmp);
        numbers
    };
    let median = |number: &dyn Fn(&Turn) -> f64| over_turns(number)[TURNS / 2];
    let ratios = over_turns(&|turn| percentile(&turn.signalled, 50) / percentile(&turn.polled, 50));
    println!(
        "{:<38} {:8.1} {:8.1} {:8.1} {:8.1} {:6.2} ({:.2} to {:.2})",
        kind.name(),
        median(&|turn| percentile(&turn.polled, 50)),
        median(&|turn| percentile(&turn.polled, 99)),
        median(&|turn| percentile(&turn.signalled, 50)),
        median(&|turn| percentile(&turn.signalled, 99)),
        ratios[TURNS / 2],
        ratios[0],
        ratios[TURNS - 1]
    );
}

/// What exits.
#[derive(Clone, Copy)]
enum Kind {
    /// A fork of this program that has touched so many megabytes.
    Fork(usize),
    /// A program that was executed: this one.
    Program,
}

impl Kind {
    fn name(self) -> String {
        match self {
            Kind::Fork(megabytes) => format!("a forked process with {megabytes} MB of its own"),
            Kind::Program => "an executed program".to_owned(),
        }
    }
}

/// Those on which we may run.
fn processors() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("sched_getaffinity");
    (0..CpuSet::count()).filter(|processor| set.is_set(*processor) == Ok(true)).collect()
}

/// A child that waits for a byte, notes the time and exits.
struct Target {
    pid: Pid,
    pidfd: PidFd,
    go: OwnedFd,
    notes: OwnedFd,
}

impl Target {
    /// Starts it, and waits until it is ready.
    fn start(kind: Kind, processor: usize, device: Option<BorrowedFd<'_>>) -> Target {
        let ((wait, go), (notes, note)) = (pipe().expect("pipe"), pipe().expect("pipe"));
        // SAFETY: this program has one thread.
        let pid = match unsafe { fork() }.expect("fork") {
            ForkResult::Child => {
                // A target is a stranger: it does not hold the monitor's file.
                if let Some(device) = device {
                    // SAFETY: the child does not use it again.
                    unsafe { libc::close(device.as_raw_fd()) };
                }
                let mut only = CpuSet::new();
                only.set(processor).and_then(|()| sched_setaffinity(Pid::from_raw(0), &only)).expect("pin");
                match kind {
                    Kind::Fork(megabytes) => {
                        let memory = vec![1u8; megabytes << 20];
                        std::hint::black_box(&memory);
                        wait_and_exit(&wait, &note)
                    }
                    Kind::Program => {
                        dup2_stdin(&wait).and(dup2_stdout(&note)).expect("dup2");
                        panic!("{:?}", execv(c"/proc/self/exe", &[c"target", BE_TARGET]));
                    }
                }
            }
            ForkResult::Parent { child } => child,
        };
        drop(note);
        assert_eq!(read(&notes, &mut [0]), Ok(1), "the target is ready");
        Target { pid, pidfd: PidFd::open(pid.as_raw()).expect("pidfd"), go, notes }
    }

    /// Lets it exit once everybody sleeps, and waits for that; nanoseconds from its exit to the monitor's return.
    fn exit(&self, pause: Duration, notice: impl Fn()) -> u64 {
        std::thread::sleep(pause);
        write(&self.go, &[0]).expect("write");
        notice();
        let noticed = monotonic_ns();
        waitpid(self.pid, None).expect("wait");
        let mut begin = [0; 8];
        assert_eq!(read(&self.notes, &mut begin), Ok(8), "the target noted the time");
        noticed - u64::from_ne_bytes(begin)
    }
}

/// What a target does.
fn wait_and_exit(go: &impl AsFd, note: &impl AsFd) -> ! {
    let _ = write(note, &[0]);
    let _ = read(go, &mut [0]);
    let _ = write(note, &monotonic_ns().to_ne_bytes());
    // SAFETY: always.
    unsafe { libc::_exit(0) }
}

fn poll_exit(pidfd: &PidFd) {
    poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).expect("poll");
}

fn call(device: BorrowedFd<'_>, request: u32, pid: Pid) {
    let command = [pid.as_raw(), EventMask::PROCESS_EXIT.0, SIGNAL];
    // SAFETY: the device reads 12 bytes.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), request as libc::Ioctl, command.as_ptr()) };
    assert_eq!(result, 0, "the device refused");
}

fn signal_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), SIGNAL);
        set.assume_init()
    }
}

fn block_signal() {
    // SAFETY: the set is initialised.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &signal_set(), std::ptr::null_mut()) };
}

fn take_signal() {
    // SAFETY: the set is initialised, and no siginfo is asked for.
    let taken = unsafe { libc::sigwaitinfo(&signal_set(), std::ptr::null_mut()) };
    assert_eq!(taken, SIGNAL);
}
