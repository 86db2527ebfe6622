//! What others do to a monitor: how long its REGISTER takes, and how long after an exit its signal comes.
//!
//! `cargo bench --bench fairness [-- SECONDS] [SOURCE...]`, as root on an idle machine. A monitor registers a target and
//! takes that back, and then awaits the exit of a child of its own, again and again for SECONDS (5); beside it another
//! user's process does its worst. The first two rows are what to compare with: nobody else, and a process that has
//! nothing to do with the device and vforks without pause, as the targets of the others do.

#[path = "daemon/mod.rs"]
mod daemon;

use std::fs::{File, OpenOptions};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use daemon::Daemon;
use kmonitor::abi::{DEREGISTER, EventMask, REGISTER};
use kmonitor::sys::clock::monotonic_ns;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork, pipe, read, setgid, setuid, write};

const SIGNAL: i32 = 40;
const NOBODY: u32 = 65534;

/// A signal that takes longer than this does not come.
const LOST: libc::timespec = libc::timespec { tv_sec: 60, tv_nsec: 0 };

/// What somebody else does.
#[derive(Clone, Copy)]
enum Bully {
    Nobody,
    /// Vforks without pause; so many threads of another process watch that, and take their signals or do not.
    Storm {
        threads: usize,
        taken: bool,
    },
    /// Has so many registrations, and is killed.
    Crowd(i32),
    /// Processes whose second thread registers and then executes a program, so many at a time.
    Execs(usize),
}

impl Bully {
    fn name(self) -> String {
        match self {
            Bully::Nobody => "nobody".to_owned(),
            Bully::Storm { threads: 0, .. } => "a stranger that vforks".to_owned(),
            Bully::Storm { threads, taken: true } => format!("{threads} threads watch one that vforks"),
            Bully::Storm { threads, .. } => format!("the same, {threads} with full signal queues"),
            Bully::Crowd(count) => format!("a monitor of {count} targets is killed"),
            Bully::Execs(count) => format!("{count} monitors' second threads exec"),
        }
    }

    /// Does it until it is killed; says when it has begun.
    fn work(self, path: &Path, began: impl Fn()) {
        match self {
            Bully::Nobody => began(),
            Bully::Storm { threads, taken } => storm(path, threads, taken, began),
            Bully::Crowd(count) => {
                let device = open(path);
                (1..=count).for_each(|target| call(&device, REGISTER, target));
                began();
            }
            Bully::Execs(count) => {
                began();
                loop {
                    let all: Vec<Pid> = (0..count).map(|_| child(|| exec_by_thread(path))).collect();
                    all.into_iter().for_each(|child| assert!(waitpid(child, None).is_ok()));
                }
            }
        }
        loop {
            thread::sleep(Duration::from_secs(3600));
        }
    }
}

fn main() {
    let seconds: u64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let sources = ["bpf", "connector"];
    let is_named = |source: &&str| std::env::args().any(|argument| argument == *source);
    let all = !sources.iter().any(is_named);
    let mut signals = SigSet::empty();
    // SAFETY: both are real-time signals, which nix does not name; the set is initialised.
    unsafe { libc::sigaddset(ptr::from_mut(&mut signals).cast(), SIGNAL) };
    signals.thread_block().expect("block the signal");
    let bullies = [
        Bully::Nobody,
        Bully::Storm { threads: 0, taken: true },
        Bully::Storm { threads: 50, taken: true },
        Bully::Storm { threads: 50, taken: false },
        Bully::Execs(64),
        Bully::Crowd(262_144),
        Bully::Crowd(1_000_000),
    ];
    println!("{seconds} s each; milliseconds");
    for source in sources.iter().filter(|source| all || is_named(source)) {
        println!(
            "\n{:<38} REGISTER p50    p99  worst      exit p50    p99  worst",
            format!("--source {source}")
        );
        for bully in bullies {
            let limits = ["--max-registrations", "4194304", "--max-per-monitor", "1048576"];
            let daemon = Daemon::start(&[&["--source", source], &limits[..]].concat());
            row(&daemon, bully, Duration::from_secs(seconds));
        }
    }
}

fn row(daemon: &Daemon, bully: Bully, time: Duration) {
    let (begun, begins) = pipe().expect("a pipe");
    let other = child(|| {
        setgid(Gid::from_raw(NOBODY)).and_then(|()| setuid(Uid::from_raw(NOBODY))).expect("become nobody");
        // SAFETY: of this process, which ends with its parent.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        bully.work(&daemon.path, || assert_eq!(write(&begins, b"."), Ok(1)));
    });
    drop(begins);
    read(&begun, &mut [0]).expect("it begins");
    let device = open(&daemon.path);
    if let Bully::Crowd(_) = bully {
        kill(other, Signal::SIGKILL).expect("it lives");
    }
    let (mut registers, mut exits) = (Vec::new(), Vec::new());
    let end = monotonic_ns() + time.as_nanos() as u64;
    while monotonic_ns() < end {
        let begin = monotonic_ns();
        call(&device, REGISTER, 1);
        registers.push(monotonic_ns() - begin);
        call(&device, DEREGISTER, 1);
        exits.push(exit(&device));
        thread::sleep(Duration::from_millis(1));
    }
    let _ = kill(other, Signal::SIGKILL);
    let _ = waitpid(other, None);
    let columns = [registers, exits].map(|mut samples| {
        samples.sort_unstable();
        let at = |part: f64| samples[((samples.len() - 1) as f64 * part) as usize] as f64 / 1e6;
        format!("{:12.2} {:6.2} {:6.1}", at(0.5), at(0.99), at(1.0))
    });
    println!("{:<38} {}  {}", bully.name(), columns[0], columns[1]);
}

/// From the end of a child to its signal.
fn exit(device: &File) -> u64 {
    let (ends, end) = pipe().expect("a pipe");
    let target = child(|| {
        // SAFETY: it is a copy of the parent's, which alone shall hold it.
        unsafe { libc::close(end.as_raw_fd()) };
        let _ = read(&ends, &mut [0]);
    });
    call(device, REGISTER, target.as_raw());
    let begin = monotonic_ns();
    drop(end);
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set, and nobody wants the siginfo.
    let signal = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), SIGNAL);
        libc::sigtimedwait(set.as_ptr(), ptr::null_mut(), &LOST)
    };
    let took = monotonic_ns() - begin;
    assert_eq!(signal, SIGNAL, "the signal did not come");
    waitpid(target, None).expect("it is ours");
    call(device, DEREGISTER, target.as_raw());
    took
}

/// Threads that watch a process which vforks.
fn storm(path: &Path, threads: usize, taken: bool, began: impl Fn()) {
    let target = child(|| {
        // SAFETY: of this process, which ends with its parent; and the vforked child touches nothing.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            loop {
                match libc::syscall(libc::SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0) {
                    0 => libc::_exit(0),
                    child => libc::waitpid(child as i32, ptr::null_mut(), 0),
                };
            }
        }
    });
    if taken {
        // SAFETY: an ignored signal is taken by the kernel.
        unsafe { libc::signal(SIGNAL, libc::SIG_IGN) };
    }
    let device = (threads > 0).then(|| open(path));
    let all_registered = Barrier::new(threads + 1);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                call(device.as_ref().expect("it is open"), REGISTER, target.as_raw());
                all_registered.wait();
                loop {
                    thread::park();
                }
            });
        }
        all_registered.wait();
        began();
    });
}

/// Another thread than the main one registers, and executes a program.
fn exec_by_thread(path: &Path) {
    // SAFETY: of this process, which ends with its parent, that is before the daemon.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let device = open(path);
    let thread = thread::spawn(move || {
        call(&device, REGISTER, 1);
        // SAFETY: the arguments end with a null pointer.
        unsafe { libc::execl(c"/bin/true".as_ptr(), c"true".as_ptr(), ptr::null::<libc::c_char>()) }
    });
    let _ = thread.join();
}

/// A child that does this and ends.
fn child(work: impl FnOnce()) -> Pid {
    // SAFETY: this process has one thread.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => {
            work();
            // SAFETY: always. What the parent has is not taken down.
            unsafe { libc::_exit(0) };
        }
        ForkResult::Parent { child } => child,
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).expect("open the device")
}

fn call(device: &File, request: u32, pid: i32) {
    let events =
        if request == DEREGISTER { !0 } else { (EventMask::PROCESS_EXIT | EventMask::PROCESS_FORK).0 };
    let command = [pid, events, SIGNAL];
    // SAFETY: the device reads 12 bytes.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), request as libc::Ioctl, command.as_ptr()) };
    assert_eq!(result, 0, "the device's answer: {}", std::io::Error::last_os_error());
}
