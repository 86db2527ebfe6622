//! Everything that followed tasks do, and nothing else.

use super::harness::{Watcher, id, start};
use crate::device::program::Program;
use kmonitor::event::Kind;
use kmonitor::ids::Tid;
use kmonitor::source::bpf::{Input, LostKind, Options, StartTime, TaskEvent};
use std::collections::HashMap;
use std::env;
use std::time::Duration;

/// Rounds on each of two processors; each makes 14 tasks. KMONITOR_STORM_ROUNDS makes them more.
fn rounds(few: u32) -> String {
    env::var("KMONITOR_STORM_ROUNDS").unwrap_or_else(|_| few.to_string())
}

/// What came of a storm.
#[derive(Debug, Default)]
struct Tally {
    births: u64,
    deaths: u64,
    execs: u64,
    lost: HashMap<LostKind, u64>,
    living: HashMap<Tid, Option<StartTime>>,
    wrong: Vec<TaskEvent>,
}

impl Tally {
    /// Counts an event, and sees whether its task lives then.
    fn count(&mut self, input: &Input) {
        let event = match input {
            Input::Event(event) => event,
            Input::Lost { kind, count } => {
                *self.lost.entry(*kind).or_default() += count;
                return;
            }
        };
        let right = match event.kind {
            Kind::ProcessFork | Kind::ThreadCreate => {
                self.births += 1;
                let was_free = self.living.insert(event.subject, event.start).is_none();
                was_free && self.living.contains_key(&event.actor)
            }
            Kind::ProcessExec => {
                self.execs += 1;
                self.living.get(&event.subject) == Some(&event.start)
            }
            Kind::ProcessExit | Kind::ThreadExit => {
                self.deaths += 1;
                self.living.remove(&event.subject) == Some(event.start)
            }
        };
        if !right {
            self.wrong.push(*event);
        }
    }

    fn lost(&self, kinds: &[LostKind]) -> u64 {
        kinds.iter().filter_map(|kind| self.lost.get(kind)).sum()
    }
}

/// Follows a storm to its end; between two looks at the source it pauses. Tells what it counted itself:
/// births, of which one is its own, and execs.
fn follow(watcher: &mut Watcher, storm: &mut Program, pause: Duration) -> (Tally, u64, u64) {
    let mut tally = Tally::default();
    watcher.source.follow(id(storm));
    storm.say("");
    let (births, execs) = loop {
        watcher.sleep(Duration::from_millis(50));
        std::thread::sleep(pause);
        watcher.drain();
        watcher.inputs.drain(..).for_each(|input| tally.count(&input));
        if let Some(line) = storm.line_if_any() {
            let mut numbers = line.split(' ').map(|number| number.parse().expect("a number"));
            break (numbers.next().expect("births"), numbers.next().expect("execs"));
        }
    };
    storm.hang_up();
    storm.end();
    watcher.drain_to_mark();
    watcher.inputs.drain(..).for_each(|input| tally.count(&input));
    println!("{births} births, {execs} execs; {:?}; {:?}", watcher.source.counters(), tally.lost);
    (tally, births, execs)
}

#[test]
fn a_followed_storm_has_as_many_births_and_deaths_as_it_made() {
    let mut watcher = Watcher::new();
    let mut storm = start("storm", &[&rounds(150)]);
    let root = id(&storm);
    let (mut tally, births, execs) = {
        let mut tally = follow(&mut watcher, &mut storm, Duration::ZERO);
        // The root was there before; of its events only birth is missing.
        tally.0.wrong.retain(|event| event.actor != root);
        tally
    };
    assert_eq!(tally.wrong, []);
    assert_eq!((tally.births, tally.deaths, tally.execs), (births, births + 1, execs));
    tally.living.remove(&root);
    assert_eq!(tally.living.len(), 0);
    assert_eq!(tally.lost, HashMap::new());
}

#[test]
fn a_storm_through_a_ring_of_one_page_is_counted_to_the_last() {
    let mut watcher = Watcher::with(Options { ring: 1 });
    let mut storm = start("storm", &[&rounds(100)]);
    let (tally, births, execs) = follow(&mut watcher, &mut storm, Duration::from_millis(5));
    let lost_births = tally.lost(&[LostKind::Forks, LostKind::ThreadCreates]);
    let lost_deaths = tally.lost(&[LostKind::Exits, LostKind::ThreadExits]);
    assert!(lost_births > 0, "the ring was never full");
    assert_eq!(tally.births + lost_births, births);
    assert_eq!(tally.deaths + lost_deaths, births + 1);
    assert_eq!(tally.execs + tally.lost(&[LostKind::Execs]), execs);
}
