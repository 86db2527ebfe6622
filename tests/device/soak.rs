//! All bullies together, as several users, and a healthy monitor among them that must miss nothing. A short run is
//! among the ordinary tests; `tests/run --soak` makes it a quarter of an hour, by KMONITOR_SOAK_SECONDS.
//!
//! Left out is what loses events by design: a silenced proc connector, queues that run over, a stopped daemon.

use super::client::build;
use super::program::{Program, Reachable, until};
use super::served::{Place, Served};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A client that is started again whenever it ends, and the user who runs it. Each user has a queue of signals.
struct Bully {
    client: &'static str,
    arguments: &'static [&'static str],
    user: u32,
}

const fn bully(user: u32, client: &'static str, arguments: &'static [&'static str]) -> Bully {
    Bully { client, arguments, user }
}

const BULLIES: &[Bully] = &[
    bully(60001, "flood", &[]),
    bully(60002, "flood", &[]),
    bully(60003, "interrupted", &["200", "300"]),
    bully(60004, "traced", &["monitor", "20"]),
    bully(60004, "traced", &["target", "20"]),
    bully(60005, "asynchronous", &["50"]),
    bully(60005, "confined", &[]),
    bully(60006, "helpers", &["keep", "20"]),
    bully(60007, "helpers", &["dup", "20"]),
    bully(60008, "race", &["close", "during", "exit", "1000"]),
    bully(0, "strangers", &["64", "5"]),
    bully(0, "thread_reuse", &["1000"]),
    bully(0, "watched_node", &["50"]),
    bully(0, "unserved", &[]),
    bully(0, "storm", &["2000"]),
];

const HEALTHY: u32 = 60000;

fn seconds() -> u64 {
    env::var("KMONITOR_SOAK_SECONDS")
        .map_or(20, |text| text.parse().expect("KMONITOR_SOAK_SECONDS is a number"))
}

/// Starts the bully again and again; what went wrong with it.
fn harass(bully: &Bully, place: &Place, over: &AtomicBool) -> Vec<String> {
    let client = Reachable::new(build(bully.client));
    let mut failures = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let mut command = client.by(bully.user);
        command.arg(place.path()).args(bully.arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // It ends with all that it has made.
        command.process_group(0);
        let mut child = command.spawn().expect("it can run");
        if !ends_by_itself(&mut child, over) {
            killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL).expect("it is our child");
            child.wait().expect("it is our child");
            break;
        }
        let output = child.wait_with_output().expect("it is our child");
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            failures.push(format!(
                "{} {:?}: {}: {}",
                bully.client,
                bully.arguments,
                output.status,
                String::from_utf8_lossy(&said)
            ));
        }
    }
    failures
}

fn ends_by_itself(child: &mut Child, over: &AtomicBool) -> bool {
    while child.try_wait().expect("it is our child").is_none() {
        if over.load(Ordering::Relaxed) {
            return false;
        }
        thread::sleep(Duration::from_millis(50));
    }
    true
}

/// Descriptors of the daemon that are open.
fn descriptors(daemon: &Served) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.program.id())).expect("it runs").count()
}

/// Memory of the daemon, in KiB.
fn memory(daemon: &Served) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.program.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_healthy_monitor_among_all_bullies_misses_nothing() {
    let place = Place::new();
    let daemon = place.serve(&["--mode", "666"]);
    let before = descriptors(&daemon);
    let (over, failures) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let begun = Instant::now();
    let duration = Duration::from_secs(seconds());
    let (mut early, mut late, mut most) = (0, 0, 0);
    let vigil = thread::scope(|scope| {
        for bully in BULLIES {
            scope.spawn(|| {
                let failed = harass(bully, &place, &over);
                failures.lock().expect("nobody panicked").extend(failed);
            });
        }
        let vigil = Reachable::new(build("vigil"));
        let mut vigil = Program::start(vigil.by(HEALTHY).arg(place.path()));
        while begun.elapsed() < duration && vigil.is_running() {
            thread::sleep(Duration::from_millis(200));
            let now = memory(&daemon);
            let used = if begun.elapsed() < duration / 2 { &mut early } else { &mut late };
            *used = now.max(*used);
            most = descriptors(&daemon).max(most);
        }
        // The bullies go on while the monitor looks back.
        vigil.hang_up();
        let said = [vigil.line_at_last(), vigil.line_at_last()];
        let ended = vigil.end();
        over.store(true, Ordering::Relaxed);
        (said, ended)
    });
    let (said, ended) = vigil;
    println!("{}\n{}", said[0], said[1]);
    println!(
        "daemon: memory {early} KiB in the first half, {late} KiB in the second; {before} descriptors, {most} at most"
    );
    assert!(ended.success(), "{ended}: {said:?}");
    let failures = failures.into_inner().expect("nobody panicked");
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join(""));
    assert!(late <= early + early / 4 + 4096, "the daemon's memory grows: {early} KiB, then {late} KiB");
    until("all descriptors are closed", || descriptors(&daemon) == before);
    for counter in ["dropped", "forbidden", "overflows", "events_lost"] {
        println!("{counter}={}", daemon.counter(counter));
    }
    daemon.stop_complaining();
    place.assert_clean();
}
