//! What REGISTER and DEREGISTER cost, against the least that any call of the device costs.
//!
//! `cargo bench --bench calls [-- ROUNDS]`, as root on an idle machine. The least is an ioctl that the device does
//! not know, with an argument of the same 12 bytes: it wakes the daemon, which refuses it. All kinds of calls take
//! turns, with events from either source, by root and by an ordinary user, for a target that lives and for one that
//! does not. The monitor has no other registration, which is the worst case.

#[path = "daemon/mod.rs"]
mod daemon;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use daemon::Daemon;
use kmonitor::abi::{COMMAND_SIZE, DEREGISTER, EventMask, MAGIC, REGISTER};
use kmonitor::sys::clock::monotonic_ns;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork, setgid, setuid};

/// A number that the device does not know.
const UNKNOWN: u32 = nix::request_code_write!(MAGIC, 0x7f, COMMAND_SIZE) as u32;

const SIGNAL: i32 = 40;
const NOBODY: u32 = 65534;

/// Calls before anything is measured.
const WARM_UP: usize = 100;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(2000);
    println!("{rounds} calls each; microseconds, and the ratio of the medians to the unknown ioctl's");
    for source in ["bpf", "connector"] {
        let daemon = Daemon::start(&["--source", source]);
        for user in [0, NOBODY] {
            // SAFETY: this program has one thread.
            match unsafe { fork() }.expect("fork") {
                ForkResult::Child => {
                    measure(&daemon, source, user, rounds);
                    // SAFETY: always. What the parent has is not taken down.
                    unsafe { libc::_exit(0) };
                }
                ForkResult::Parent { child } => {
                    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
                }
            }
        }
    }
}

fn measure(daemon: &Daemon, source: &str, user: u32, rounds: usize) {
    setgid(Gid::from_raw(user)).and_then(|()| setuid(Uid::from_raw(user))).expect("become that user");
    let device = std::fs::OpenOptions::new().write(true).open(&daemon.path).expect("open the device");
    let device = device.as_fd();
    let living = Pid::parent();
    // One that has just gone.
    // SAFETY: this program has one thread, and the child does nothing.
    let absent = match unsafe { fork() }.expect("fork") {
        // SAFETY: always.
        ForkResult::Child => unsafe { libc::_exit(0) },
        ForkResult::Parent { child } => child,
    };
    waitpid(absent, None).expect("wait");
    let calls = [
        ("an unknown ioctl", UNKNOWN, living),
        ("REGISTER, living target", REGISTER, living),
        ("DEREGISTER", DEREGISTER, living),
        ("REGISTER, absent target", REGISTER, absent),
        ("DEREGISTER", DEREGISTER, absent),
    ];
    let mut samples = vec![Vec::with_capacity(rounds); calls.len()];
    for round in 0..rounds + WARM_UP {
        for ((_, request, target), samples) in calls.iter().zip(&mut samples) {
            let begin = monotonic_ns();
            call(device, *request, *target);
            let took = monotonic_ns() - begin;
            if round >= WARM_UP {
                samples.push(took);
            }
        }
    }
    println!("\n--source {source}, user {user} {:>21} {:>8} {:>8} {:>6}", "p50", "p90", "p99", "ratio");
    let mut floor = None;
    for ((name, ..), samples) in calls.iter().zip(&mut samples) {
        samples.sort_unstable();
        let at = |percent: usize| samples[(samples.len() - 1) * percent / 100] as f64 / 1000.0;
        let floor = *floor.get_or_insert(at(50));
        println!("  {name:<36} {:8.1} {:8.1} {:8.1} {:6.2}", at(50), at(90), at(99), at(50) / floor);
    }
}

fn call(device: BorrowedFd<'_>, request: u32, pid: Pid) {
    let command = [pid.as_raw(), EventMask::PROCESS_EXIT.0, SIGNAL];
    // SAFETY: the device reads 12 bytes.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), request as libc::Ioctl, command.as_ptr()) };
    assert_eq!(result, if request == UNKNOWN { -1 } else { 0 }, "the device's answer");
}
