//! What many registrations of one monitor through one file take: memory, time of a REGISTER beside them, and their end.
//!
//! `cargo bench --bench crowd [-- COUNT] [SOURCE...]`, as root on an idle machine. REGISTER is measured in turn at a
//! daemon that has COUNT (1,000,000) registrations and at one that has a thousand. The targets are the numbers from 1
//! on, of which few exist. The memory is the daemon's resident memory before and after; that of the words, which the
//! BPF programs share with it, is in it: 4 bytes each.

#[path = "daemon/mod.rs"]
mod daemon;

use std::fs::{File, OpenOptions, read_to_string};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use daemon::Daemon;
use kmonitor::abi::{DEREGISTER, EventMask, REGISTER};
use kmonitor::sys::clock::monotonic_ns;

const FEW: i32 = 1000;
const ROUNDS: i32 = 2000;

fn main() {
    let count: i32 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let sources = ["bpf", "connector"];
    let is_named = |source: &&str| std::env::args().any(|argument| argument == *source);
    let all = !sources.iter().any(is_named);
    println!(
        "{count} registrations     bytes each   REGISTER beside {FEW}, beside all (us, p50)   ratio   end (ms)   kB left"
    );
    for source in sources.iter().filter(|source| all || is_named(source)) {
        row(source, count);
    }
}

fn row(source: &str, count: i32) {
    let limits = ["--max-registrations", "4194304", "--max-per-monitor", "4194304", "--source", source];
    let (small, large) = (Daemon::start(&limits), Daemon::start(&limits));
    let (few, many) = (open(&small), open(&large));
    (1..=FEW).for_each(|target| call(&few, REGISTER, target));
    let before = memory(&large);
    (1..=count).for_each(|target| call(&many, REGISTER, target));
    let each = (memory(&large) - before) as f64 * 1024.0 / f64::from(count);
    let (mut beside_few, mut beside_many) = (Vec::new(), Vec::new());
    for target in count + 1..=count + ROUNDS {
        for (device, times) in [(&few, &mut beside_few), (&many, &mut beside_many)] {
            let begin = monotonic_ns();
            call(device, REGISTER, target);
            times.push(Duration::from_nanos(monotonic_ns() - begin));
            call(device, DEREGISTER, target);
        }
    }
    let (beside_few, beside_many) = (median(beside_few), median(beside_many));
    let begin = monotonic_ns();
    drop(many);
    while registrations(&large) > 0 {}
    let end = (monotonic_ns() - begin) as f64 / 1e6;
    println!(
        "--source {source:<14} {each:>12.0} {beside_few:>25.1} {beside_many:>12.1} {:>16.2} {end:>10.0} {:>9}",
        beside_many / beside_few,
        memory(&large) - before,
    );
}

fn open(daemon: &Daemon) -> File {
    OpenOptions::new().write(true).open(&daemon.path).expect("open the device")
}

fn call(device: &File, request: u32, target: i32) {
    // A signal that is ignored by default: some of the targets exist, and end.
    let command = [target, EventMask::PROCESS_EXIT.0, libc::SIGURG];
    // SAFETY: the device reads 12 bytes.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), u64::from(request), &command) };
    assert_eq!(result, 0, "{target}: {}", std::io::Error::last_os_error());
}

/// The daemon's resident memory, in kB.
fn memory(daemon: &Daemon) -> i64 {
    let status = read_to_string(format!("/proc/{}/status", daemon.child.id())).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// How many registrations it has: `kmonitor status` tells.
fn registrations(daemon: &Daemon) -> u64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kmonitor"));
    let output = command.args(["status", "--metrics", "--path"]).arg(&daemon.path).output().expect("run it");
    let text = String::from_utf8(output.stdout).expect("text");
    let line = text.lines().find(|line| line.starts_with("kmonitor_registrations{")).expect("a line");
    line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

/// In microseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}
