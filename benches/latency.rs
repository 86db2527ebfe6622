//! How long after a process's exit its monitor knows: by kmonitor's signal, against a pidfd poll.
//!
//! `cargo bench --bench latency [-- ROUNDS [PAUSE]]`, as root on an idle machine. The two take turns
//! in one run; then one monitor each watch the same exits. A target notes the time and exits; the
//! monitor notes the time when it wakes. Before that everybody sleeps for PAUSE milliseconds.
//!
//! The kernel wakes who polls a pidfd a little before it reports the exit, and the daemon has to wake
//! before the monitor can. That takes about the same time whatever exits, so the ratio depends on what
//! the exit itself takes: the targets go from the smallest that there can be, a fork of this program
//! that has touched nothing, over an executed program, to forks with memory of their own.
//!
//! It also depends on where the target runs: a task that is woken on the processor of the task that
//! exits has to wait until that has gone. So the targets run on each processor in turn, and the exits on
//! the daemon's are shown apart as well. With a PAUSE of more than 17 the daemon is woken early by exits
//! on another processor ([`kmonitor::source::ExitWarning`]).

use std::ffi::CStr;
use std::io::{BufRead, BufReader};
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kmonitor::abi::{DEREGISTER, EventMask, REGISTER};
use kmonitor::sys::clock::monotonic_ns;
use kmonitor::sys::pidfd::PidFd;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, dup2_stdin, dup2_stdout, execv, fork, pipe, read, write};

const SIGNAL: i32 = 40;

/// The argument that makes this program a target.
const BE_TARGET: &CStr = c"--be-target";

fn main() {
    if std::env::args_os().nth(1).is_some_and(|argument| argument.as_bytes() == BE_TARGET.to_bytes()) {
        wait_and_exit(&std::io::stdin(), &std::io::stdout());
    }
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let rounds = numbers.next().unwrap_or(2000) as usize;
    let pause = Duration::from_millis(numbers.next().unwrap_or(2));
    let daemon = Daemon::start();
    let device = std::fs::OpenOptions::new().write(true).open(&daemon.path).expect("open the device");
    block_signal();
    let seen = shared_cell();
    let processors = processors();
    println!("{rounds} exits each; microseconds from the exit to the monitor's return");
    for kind in [Kind::Fork(0), Kind::Program, Kind::Fork(4), Kind::Fork(16)] {
        let (mut by_poll, mut by_signal) = (Vec::new(), Vec::new());
        let mut same = Vec::new();
        for round in 0..rounds {
            let processor = processors[round % processors.len()];
            let target = || Target::start(kind, processor, device.as_fd(), pause);
            let polled = target();
            by_poll.push(polled.exit(|| poll_exit(&polled.pidfd)).latency());

            let signalled = target();
            call(device.as_fd(), REGISTER, signalled.pid);
            by_signal.push(signalled.exit(take_signal).latency());
            call(device.as_fd(), DEREGISTER, signalled.pid);

            let both = target();
            call(device.as_fd(), REGISTER, both.pid);
            let poller = fork_poller(&both.pidfd, seen);
            let beside_daemon = daemon.processor() == processor;
            let exit = both.exit(take_signal);
            while seen.load(Ordering::SeqCst) < exit.stamp {
                std::thread::sleep(Duration::from_micros(100));
            }
            kill(poller, Signal::SIGKILL).expect("end the poller");
            waitpid(poller, None).expect("wait for the poller");
            call(device.as_fd(), DEREGISTER, both.pid);
            same.push((beside_daemon, seen.load(Ordering::SeqCst) - exit.stamp, exit.latency()));
        }
        println!("{}", kind.name());
        print_pair("  in turn", by_poll, by_signal);
        let pair = |wanted: &dyn Fn(bool) -> bool| {
            same.iter()
                .filter(|(beside, ..)| wanted(*beside))
                .map(|(_, poll, signal)| (*poll, *signal))
                .unzip()
        };
        let (poll, signal) = pair(&|_| true);
        print_pair("  on the same exits", poll, signal);
        let (poll, signal) = pair(&|beside| beside);
        print_pair("    on the daemon's processor", poll, signal);
        let (poll, signal) = pair(&|beside| !beside);
        print_pair("    on another", poll, signal);
    }
}

/// Says nothing where there is nothing: a machine may have one processor.
fn print_pair(how: &str, mut poll: Vec<u64>, mut signal: Vec<u64>) {
    if poll.is_empty() {
        return;
    }
    println!("{how:<32} {:>8} {:>8} {:>8}", "p50", "p90", "p99");
    let poll = print_row("      pidfd poll", &mut poll);
    let signal = print_row("      kmonitor signal", &mut signal);
    println!("      p50 ratio                  {:8.2}", signal as f64 / poll as f64);
}

fn print_row(name: &str, samples: &mut [u64]) -> u64 {
    samples.sort_unstable();
    let at = |percent: usize| samples[(samples.len() - 1) * percent / 100];
    let us = |ns: u64| ns as f64 / 1000.0;
    println!("{name:<32} {:8.1} {:8.1} {:8.1}", us(at(50)), us(at(90)), us(at(99)));
    at(50)
}

/// The daemon at a path of its own, taken down in the end.
struct Daemon {
    child: Child,
    path: PathBuf,
    /// The task that signals, in /proc.
    core: PathBuf,
}

impl Daemon {
    fn start() -> Daemon {
        let path = std::env::temp_dir().join(format!("kmonitor-latency-{}", std::process::id()));
        let mut child = Command::new(env!("CARGO_BIN_EXE_kmonitor"))
            .args(["serve", "--path"])
            .arg(&path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("run kmonitor");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("read");
        assert!(line.contains("ready"), "the daemon did not start; its reason is above");
        let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).expect("the daemon's threads");
        let is_core = |task: &PathBuf| {
            std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "kmonitor-core\n")
        };
        let core = tasks.flatten().map(|task| task.path()).find(is_core).expect("the daemon has a core");
        Daemon { child, path, core }
    }

    /// Where its core has run last: the 39th field of /proc/PID/stat.
    fn processor(&self) -> usize {
        let stat = std::fs::read_to_string(self.core.join("stat")).expect("the daemon lives");
        let after_name = stat.rsplit(')').next().expect("there is a last part");
        after_name
            .split_whitespace()
            .nth(39 - 3)
            .and_then(|field| field.parse().ok())
            .expect("proc_pid_stat(5)")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
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

/// A child that waits to be told, notes the time and exits.
struct Target {
    pid: Pid,
    pidfd: PidFd,
    go: OwnedFd,
    stamp: OwnedFd,
    pause: Duration,
}

/// Nanoseconds of the monotonic clock.
struct Exit {
    stamp: u64,
    noticed: u64,
}

impl Exit {
    fn latency(&self) -> u64 {
        self.noticed - self.stamp
    }
}

impl Target {
    fn start(kind: Kind, processor: usize, device: BorrowedFd<'_>, pause: Duration) -> Target {
        let ((wait, go), (stamp, note)) = (pipe().expect("pipe"), pipe().expect("pipe"));
        // SAFETY: this program has one thread.
        match unsafe { fork() }.expect("fork") {
            ForkResult::Child => {
                // A target is a stranger: it does not hold the monitor's file.
                // SAFETY: the child does not use it again.
                unsafe { libc::close(device.as_raw_fd()) };
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
            ForkResult::Parent { child: pid } => {
                Target { pid, pidfd: PidFd::open(pid.as_raw()).expect("pidfd"), go, stamp, pause }
            }
        }
    }

    /// Lets it exit once everybody sleeps.
    fn exit(&self, notice: impl Fn()) -> Exit {
        std::thread::sleep(self.pause);
        write(&self.go, &[0]).expect("write");
        notice();
        let noticed = monotonic_ns();
        waitpid(self.pid, None).expect("wait");
        let mut stamp = [0; 8];
        assert_eq!(read(&self.stamp, &mut stamp), Ok(8), "the target noted the time");
        Exit { stamp: u64::from_ne_bytes(stamp), noticed }
    }
}

/// What a target does.
fn wait_and_exit(go: &impl AsFd, note: &impl AsFd) -> ! {
    let _ = read(go, &mut [0]);
    let _ = write(note, &monotonic_ns().to_ne_bytes());
    // SAFETY: always.
    unsafe { libc::_exit(0) }
}

fn poll_exit(pidfd: &PidFd) {
    poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).expect("poll");
}

fn fork_poller(pidfd: &PidFd, seen: &AtomicU64) -> Pid {
    // SAFETY: this program has one thread.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => {
            poll_exit(pidfd);
            seen.store(monotonic_ns(), Ordering::SeqCst);
            // A monitor lives on; its own end would hold the other one up.
            loop {
                nix::unistd::pause();
            }
        }
        ForkResult::Parent { child } => child,
    }
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

fn shared_cell() -> &'static AtomicU64 {
    let length = NonZeroUsize::new(size_of::<AtomicU64>()).expect("8");
    // SAFETY: a new mapping of zeros, never unmapped, large enough and aligned to a page.
    unsafe {
        let page =
            mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED);
        page.expect("mmap").cast::<AtomicU64>().as_ref()
    }
}
