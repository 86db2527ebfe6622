//! Who watches what, and from when on.

use super::harness::{ALL, Death, EXIT, Watcher, events, free_number, id, quiet_child, start};
use crate::device::program::Program;
use kmonitor::abi::EventMask;
use kmonitor::event::Kind;
use kmonitor::ids::{Tgid, Tid, Uid};
use kmonitor::source::bpf::Options;
use kmonitor::sys::procfs::task_stat;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn each_birth_is_its_creators() {
    let mut watcher = Watcher::new();
    let mut program = start("creators", &[]);
    let process = id(&program);
    watcher.watch(process, ALL);
    let next = |watcher: &mut Watcher, program: &mut Program| {
        program.say("");
        let id = Tid(program.line().parse().expect("an id"));
        watcher.drain_to_mark();
        id
    };
    let thread = next(&mut watcher, &mut program);
    watcher.watch(thread, ALL);
    // What the thread makes is not its process's doing.
    watcher.source.unwatch(process, EventMask::PROCESS_FORK);
    let child = next(&mut watcher, &mut program);
    watcher.source.watch(process, EventMask::PROCESS_FORK);
    let sibling = next(&mut watcher, &mut program);
    let brother = next(&mut watcher, &mut program);
    program.hang_up();
    watcher.exit_of(process);
    let all: Vec<_> = events(&watcher.inputs).map(|event| (event.kind, event.actor, event.subject)).collect();
    let expected = [
        (Kind::ThreadCreate, process, thread),
        (Kind::ProcessFork, thread, child),
        (Kind::ThreadCreate, thread, sibling),
        (Kind::ThreadExit, thread, thread),
        (Kind::ProcessFork, process, brother),
        (Kind::ProcessExit, process, process),
    ];
    // The thread ends in its own time.
    for task in [process, thread] {
        let of_task = |events: &[(Kind, Tid, Tid)]| -> Vec<_> {
            events.iter().copied().filter(|(_, actor, _)| *actor == task).collect()
        };
        assert_eq!(of_task(&all), of_task(&expected));
    }
    assert_eq!(all.len(), expected.len());
    assert!(events(&watcher.inputs).all(|event| event.tgid == Some(Tgid(process.0))));
    // It is our child now.
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(brother.0), Some(nix::sys::wait::WaitPidFlag::__WALL))
        .expect("it has ended");
}

#[test]
fn what_happened_before_a_mark_is_delivered_before_it_is_passed() {
    let mut watcher = Watcher::new();
    for round in 1..=200 {
        let mut program = quiet_child();
        let process = Tid(program.id() as i32);
        watcher.source.watch(process, EXIT);
        program.kill().expect("it is ours");
        program.wait().expect("it is ours");
        watcher.drain_to_mark();
        assert_eq!(watcher.exits_of(process), 1, "round {round}");
        watcher.source.unwatch(process, EXIT);
        watcher.inputs.clear();
    }
}

#[test]
fn of_an_exit_and_a_watch_one_sees_the_other() {
    let mut watcher = Watcher::new();
    let (mut came, mut was_history) = (0, 0);
    for round in 0..1000u64 {
        let mut child = Command::new("true").spawn().expect("true");
        let process = Tid(child.id() as i32);
        let death = Death::of(process);
        // The child takes about half a millisecond, and so does the longest of these.
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_nanos(round * 1297 % 1000 * 1000) {}
        let was_dead = death.has_come();
        watcher.source.watch(process, EXIT);
        let lives = task_stat(process.0, process.0).is_some_and(|stat| stat.flags & 0x4 == 0);
        child.wait().expect("it is ours");
        watcher.drain_to_mark();
        match watcher.exits_of(process) {
            1 => {
                assert!(!was_dead, "round {round}: an exit was reported that had been before");
                came += 1;
            }
            0 => {
                assert!(!lives, "round {round}: an exit was not reported");
                was_history += 1;
            }
            more => panic!("round {round}: {more} exits"),
        }
        watcher.source.unwatch(process, EXIT);
        watcher.inputs.clear();
    }
    println!("{came} exits came, {was_history} had been; {:?}", watcher.source.counters());
    assert!(came > 0, "no exit was met");
}

#[test]
fn a_number_keeps_its_watch_and_each_owner_has_its_birth_and_its_exit() {
    let mut watcher = Watcher::new();
    let number = free_number();
    watcher.watch(number, ALL);
    let mut program = start("reuse", &[&number.to_string()]);
    for round in 1..=500 {
        program.say("");
        assert_eq!(program.line(), "done");
        if round % 50 == 0 {
            watcher.drain();
        }
        watcher.source.idle();
    }
    watcher.drain_to_mark();
    let all: Vec<_> = events(&watcher.inputs).collect();
    assert_eq!(all.len(), 1000);
    for life in all.chunks(2) {
        assert_eq!((life[0].kind, life[0].actor), (Kind::ProcessFork, id(&program)));
        assert_eq!((life[1].kind, life[1].actor), (Kind::ProcessExit, number));
        assert!(life.iter().all(|event| event.subject == number));
        assert_eq!(life[0].start, life[1].start);
    }
    assert!(all.windows(3).all(|next| next[0].start != next[2].start));
}

#[test]
fn numbers_that_no_task_can_have_are_watched_in_vain() {
    let mut watcher = Watcher::new();
    for number in [i32::MIN, -1, 0, 4 << 20, i32::MAX] {
        watcher.watch(Tid(number), ALL);
        watcher.source.unwatch(Tid(number), ALL);
    }
    watcher.drain_to_mark();
    assert_eq!(watcher.inputs, []);
}

#[test]
fn strangers_wake_nobody() {
    let mut watcher = Watcher::new();
    let mut target = Program::quiet(&mut Command::new("cat"));
    watcher.watch(id(&target), ALL);
    for number in 1 << 21..(1 << 21) + 1_000_000 {
        watcher.source.watch(Tid(number), ALL);
    }
    watcher.settle();
    watcher.drain();
    let mut storm = start("storm", &["50"]);
    storm.say("");
    while watcher.sleep(Duration::from_millis(100)) {
        watcher.drain();
    }
    storm.line_at_last();
    assert!(!watcher.sleep(Duration::from_millis(100)));
    assert_eq!((watcher.wakes, watcher.source.counters().records), (0, 0));
    target.hang_up();
    watcher.exit_of(id(&target));
}

#[test]
fn one_wake_up_is_enough_for_an_exit() {
    let mut watcher = Watcher::new();
    let mut program = start("exits", &["memory"]);
    watcher.watch(id(&program), EXIT);
    watcher.drain();
    program.hang_up();
    watcher.exit_of(id(&program));
    assert_eq!(watcher.wakes, 1);
    assert_eq!(watcher.source.counters().exits_held, 1);
}

#[test]
fn a_ring_of_one_page_delivers_every_exit_once() {
    let mut watcher = Watcher::with(Options { ring: 1, ..Options::default() });
    // A page has room for 56 records.
    let mut children: Vec<_> = (0..150).map(|_| quiet_child()).collect();
    for child in &children {
        watcher.source.watch(Tid(child.id() as i32), EXIT);
    }
    for child in &mut children {
        child.kill().and_then(|()| child.wait()).expect("it is ours");
    }
    watcher.drain_to_mark();
    for child in &children {
        assert_eq!(watcher.exits_of(Tid(child.id() as i32)), 1);
    }
    assert_eq!(watcher.inputs.len(), children.len());
    let counters = watcher.source.counters();
    assert!(counters.lost > 50, "{counters:?}");
    assert_eq!(counters.lost, counters.exits_recovered);
}

#[test]
fn what_was_lost_of_a_numbers_owner_comes_before_the_next_ones_birth() {
    let mut watcher = Watcher::with(Options { ring: 1, ..Options::default() });
    let [crowd, number, dead] = [free_number(), free_number(), free_number()];
    watcher.watch(crowd, ALL);
    watcher.watch(number, ALL);
    let [mut of_crowd, mut of_number] = [crowd, number].map(|number| start("reuse", &[&number.to_string()]));
    let live = |program: &mut Program| {
        program.say("");
        assert_eq!(program.line(), "done");
    };
    // A page has room for 56 records; a life has two.
    (0..40).for_each(|_| live(&mut of_crowd));
    live(&mut of_number);
    // To find out whether this process is dead, the ring is read, but not what was lost.
    watcher.source.watch(dead, EXIT);
    live(&mut of_number);
    watcher.drain_to_mark();
    let lives: Vec<_> = events(&watcher.inputs)
        .filter(|event| event.subject == number)
        .map(|event| (event.kind, event.uid, event.start.is_some()))
        .collect();
    let root = Some(Uid::ROOT);
    let expected =
        [(Kind::ProcessExit, None, false), (Kind::ProcessFork, root, true), (Kind::ProcessExit, root, true)];
    assert_eq!(lives, expected, "{:?}", watcher.source.counters());
    assert_eq!(watcher.source.counters().exits_recovered, 2, "one of each number");
}
