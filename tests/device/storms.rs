//! Promise P4 under storms. KMONITOR_STORM_SECONDS makes them longer than the three seconds of an ordinary run.

use super::client::build;
use super::program::Program;
use super::promises::holds;
use super::served::{Place, Served};
use std::env;
use std::process::Command;
use std::time::Duration;

/// The storm's own account: signals that came, and those that are missing.
struct Account {
    signals: u64,
    missing: u64,
}

/// Monitors of a storm; each watches 25 targets.
const FEW: u32 = 4;
const MANY: u32 = 80;

/// Lets a storm pass over the daemon; `half` is called in the middle of it.
fn storm(place: &Place, monitors: u32, half: impl FnOnce()) -> Account {
    let seconds = env::var("KMONITOR_STORM_SECONDS").unwrap_or_else(|_| "3".to_owned());
    let mut soak =
        Program::start(Command::new(build("soak")).arg(place.path()).arg(seconds).arg(monitors.to_string()));
    assert_eq!(soak.line_at_last(), "half");
    half();
    soak.say("");
    let account = soak.line_at_last();
    println!("{account}");
    assert!(soak.end().success(), "{account}");
    let number = |at: usize| account.split(' ').nth(at).and_then(|word| word.parse().ok());
    Account { signals: number(0).expect("a number"), missing: number(2).expect("a number") }
}

fn counters(daemon: &Served) -> [u64; 4] {
    ["events_lost", "dropped", "deafnesses", "exits_recovered"].map(|name| daemon.counter(name))
}

fn a_storm_loses_nothing(options: &[&str], monitors: u32) {
    let place = Place::new();
    let daemon = place.serve(options);
    let account = storm(&place, monitors, || ());
    assert!(account.signals > 1000);
    assert_eq!(account.missing, 0, "{:?}", counters(&daemon));
    assert_eq!(counters(&daemon), [0; 4]);
}

#[test]
fn a_storm_of_forks_and_threads_on_all_processors_loses_nothing() {
    a_storm_loses_nothing(&[], FEW);
}

#[test]
fn nor_does_it_with_the_proc_connector() {
    a_storm_loses_nothing(&["--source", "connector"], FEW);
}

#[test]
fn nor_does_one_among_two_thousand_targets() {
    a_storm_loses_nothing(&[], MANY);
}

#[test]
fn a_daemon_that_was_stopped_in_a_storm_tells_every_exit_and_counts_the_rest() {
    let place = Place::new();
    let daemon = place.serve(&["--source", "connector", "--event-buffer", "212992"]);
    let account = storm(&place, FEW, || {
        daemon.pause();
        std::thread::sleep(Duration::from_secs(1));
        daemon.resume();
    });
    let [lost, dropped, deafnesses, _] = counters(&daemon);
    assert!(account.missing > 0, "the queue did not run over");
    assert!(account.missing <= lost, "{} are missing, and {lost} counted as lost", account.missing);
    assert_eq!((dropped, deafnesses), (0, 0));
    let complaints = daemon.stop_complaining();
    assert!(complaints.contains("kernel dropped events"), "{complaints}");
}

#[test]
fn sixty_four_monitors_with_ten_thousand_registrations_each_hear_everything() {
    holds("crowd", &["10000"]);
}
