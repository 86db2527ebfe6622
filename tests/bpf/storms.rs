//! Everything that followed tasks do, and nothing else.

use super::harness::{LIMIT, Watcher, free_number, id, quiet_child, start};
use crate::device::program::Program;
use kmonitor::event::Kind;
use kmonitor::ids::Tid;
use kmonitor::source::bpf::{FollowError, Input, LostKind, Options, StartTime, TaskEvent};
use std::collections::{HashMap, HashSet};
use std::env;
use std::fs;
use std::io;
use std::iter;
use std::time::{Duration, Instant};

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
    /// Members that were known.
    repeated: usize,
    wrong: Vec<TaskEvent>,
}

impl Tally {
    /// Counts an event, and sees whether its task lives then.
    fn count(&mut self, input: &Input) {
        let event = match input {
            Input::Event(event) => event,
            Input::Member(member) => {
                self.repeated += usize::from(self.living.insert(member.tid, Some(member.start)).is_some());
                return;
            }
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
    watcher.source.follow(id(storm)).expect("it lives");
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
        assert!(storm.is_running(), "the storm has ended without a word");
    };
    storm.hang_up();
    storm.end();
    watcher.drain_to_mark();
    watcher.inputs.drain(..).for_each(|input| tally.count(&input));
    // The storm waits for its children only.
    let deadline = Instant::now() + LIMIT;
    while tally.deaths + tally.lost(&[LostKind::Exits, LostKind::ThreadExits]) <= births
        && Instant::now() < deadline
    {
        watcher.sleep(Duration::from_millis(50));
        watcher.drain();
        watcher.inputs.drain(..).for_each(|input| tally.count(&input));
    }
    println!("{births} births, {execs} execs; {:?}; {:?}", watcher.source.counters(), tally.lost);
    (tally, births, execs)
}

/// Follows a storm, of which nothing may be missing and nothing may come twice.
fn is_exact(options: Options) {
    let mut watcher = Watcher::with(Options { follow: true, ..options });
    let mut storm = start("storm", &[&rounds(150)]);
    let (tally, births, execs) = follow(&mut watcher, &mut storm, Duration::ZERO);
    assert_eq!(tally.wrong, []);
    assert_eq!((tally.births, tally.deaths, tally.execs), (births, births + 1, execs));
    assert_eq!((tally.living.len(), tally.repeated), (0, 0));
    assert_eq!(tally.lost, HashMap::new());
}

#[test]
fn a_followed_storm_has_as_many_births_and_deaths_as_it_made() {
    is_exact(Options::default());
}

#[test]
fn copies_of_the_programs_deliver_each_event_once() {
    is_exact(Options { copies: true, ..Options::default() });
}

#[test]
fn a_storm_through_a_ring_of_one_page_is_counted_to_the_last() {
    let mut watcher = Watcher::with(Options { ring: 1, follow: true, ..Options::default() });
    let mut storm = start("storm", &[&rounds(100)]);
    let (tally, births, execs) = follow(&mut watcher, &mut storm, Duration::from_millis(100));
    let lost_births = tally.lost(&[LostKind::Forks, LostKind::ThreadCreates]);
    let lost_deaths = tally.lost(&[LostKind::Exits, LostKind::ThreadExits]);
    assert!(lost_births > 0, "the ring was never full");
    assert_eq!(tally.births + lost_births, births);
    assert_eq!(tally.deaths + lost_deaths, births + 1);
    assert_eq!(tally.execs + tally.lost(&[LostKind::Execs]), execs);
}

/// The tasks of a process and of all its descendants, as /proc shows them.
pub fn tree(root: Tid) -> HashSet<Tid> {
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<i32>().ok();
    let parent = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<i32>().ok()
    };
    let all: Vec<i32> = fs::read_dir("/proc").expect("/proc is mounted").filter_map(number).collect();
    let parents: HashMap<i32, i32> = all.iter().filter_map(|pid| Some((*pid, parent(pid)?))).collect();
    let belongs = |pid: &&i32| {
        let mut generations = iter::successors(Some(**pid), |pid| parents.get(pid).copied());
        generations.any(|pid| pid == root.0)
    };
    let threads =
        |pid: &i32| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(number);
    all.iter().filter(belongs).flat_map(threads).map(Tid).collect()
}

#[test]
fn a_tree_in_full_storm_is_followed_without_a_gap() {
    let attaches: u32 = env::var("KMONITOR_ATTACHES").map_or(10, |text| text.parse().expect("a number"));
    let (mut members, mut took) = (0, Vec::new());
    for attach in 1..=attaches {
        let mut watcher = Watcher::following();
        let mut weather = start("weather", &[]);
        let mut tally = Tally::default();
        let begin = Instant::now();
        watcher.source.follow(id(&weather)).expect("it lives");
        took.push(begin.elapsed());
        // More come, and some of those will stay too.
        std::thread::sleep(Duration::from_millis(20));
        weather.say("");
        assert_eq!(weather.line_at_last(), "still");
        let tree = loop {
            watcher.drain_to_mark();
            members += watcher.inputs.iter().filter(|input| matches!(input, Input::Member(_))).count();
            watcher.inputs.drain(..).for_each(|input| tally.count(&input));
            let tree = tree(id(&weather));
            let differ: Vec<_> = tree.iter().filter(|tid| !tally.living.contains_key(tid)).collect();
            if differ.is_empty() && tree.len() == tally.living.len() {
                break tree;
            }
            // Those that do not stay may take their time to end.
            assert!(begin.elapsed() < LIMIT, "attach {attach}: {differ:?} are missing, {:?}", tally.living);
            std::thread::sleep(Duration::from_millis(1));
        };
        assert!(tree.len() > 30, "attach {attach}: {} tasks stayed", tree.len());
        assert_eq!((&tally.wrong[..], tally.repeated), (&[][..], 0), "attach {attach}");
        weather.hang_up();
        weather.end();
    }
    took.sort();
    println!("{members} members in {attaches} attaches of {:?} each in the median", took[took.len() / 2]);
}

#[test]
fn a_process_that_is_not_there_cannot_be_followed() {
    let mut watcher = Watcher::following();
    let error = watcher.source.follow(free_number()).expect_err("nobody is there");
    assert!(matches!(error, FollowError::NoProcess(_)), "{error}");
    let mut plain = Watcher::new();
    let own = Tid(std::process::id() as i32);
    let error = plain.source.follow(own).expect_err("it was not asked for");
    assert!(matches!(error, FollowError::NotLoaded), "{error}");
}

#[test]
fn the_next_owner_of_a_followed_number_is_not_followed() {
    let mut watcher = Watcher::following();
    let mut member = quiet_child();
    let number = Tid(member.id() as i32);
    watcher.source.follow(number).expect("it lives");
    member.kill().and_then(|()| member.wait()).expect("it is ours");
    watcher.drain_to_mark();
    watcher.inputs.clear();
    let mut stranger = start("reuse", &[&number.to_string()]);
    for _ in 0..2 {
        stranger.say("");
        assert_eq!(stranger.line(), "done");
    }
    watcher.drain_to_mark();
    assert_eq!(watcher.inputs, []);
}
