//! An exit is reported when the process is dead, and when it will not be dead soon, at once.

use super::harness::{ALL, Death, EXIT, Watcher, events, id, start};
use crate::device::program::until;
use aya::maps::{Array, Map, MapData, loaded_maps};
use kmonitor::event::Kind;
use kmonitor::ids::{Tid, Uid};
use kmonitor::source::bpf::Input;
use kmonitor::sys::procfs::task_stat;
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;

/// How a program that was watched ends: dead when its exit is reported, and reported once.
fn is_dead_at_its_exit(way: &str, kill: Option<Signal>, status: i32) {
    let mut watcher = Watcher::new();
    let mut program = start("exits", &[way]);
    watcher.watch(id(&program), EXIT);
    let death = Death::of(id(&program));
    match kill {
        Some(signal) => program.signal(signal),
        None => program.hang_up(),
    }
    let exit = watcher.exit_of(id(&program));
    assert!(death.has_come(), "{way}: the process is not dead");
    assert_eq!((exit.status, exit.uid), (Some(ExitStatus::from_raw(status)), Some(Uid::ROOT)), "{way}");
    program.end();
    watcher.drain_to_mark();
    assert_eq!(watcher.exits_of(id(&program)), 1, "{way}");
}

#[test]
fn a_process_is_dead_when_its_exit_is_reported() {
    is_dead_at_its_exit("plain", None, 5 << 8);
    is_dead_at_its_exit("memory", None, 5 << 8);
    is_dead_at_its_exit("group", None, 5 << 8);
    is_dead_at_its_exit("plain", Some(Signal::SIGKILL), 9);
    is_dead_at_its_exit("group", Some(Signal::SIGKILL), 9);
}

#[test]
fn the_exit_of_a_main_thread_that_others_survive_is_reported_at_once() {
    let mut watcher = Watcher::new();
    let mut program = start("exits", &["main-ends"]);
    let process = id(&program);
    watcher.watch(process, EXIT);
    let death = Death::of(process);
    program.say("");
    watcher.exit_of(process);
    until("the main thread has ended", || {
        task_stat(process.0, process.0).is_some_and(|stat| stat.state == b'Z')
    });
    assert!(!death.has_come());
    // Who comes now does not get it: it has been.
    watcher.source.unwatch(process, EXIT);
    watcher.watch(process, EXIT);
    program.hang_up();
    program.end();
    watcher.drain_to_mark();
    assert_eq!(watcher.exits_of(process), 1);
}

#[test]
fn an_exec_by_a_thread_ends_the_main_thread_and_the_process_goes_on() {
    let mut watcher = Watcher::new();
    let mut program = start("exits", &["thread-exec"]);
    let process = id(&program);
    let ids = fs::read_dir(format!("/proc/{process}/task")).expect("it lives");
    let ids = ids.map(|entry| entry.expect("a task").file_name().into_string().expect("a number"));
    let thread =
        ids.map(|id| Tid(id.parse().expect("a number"))).find(|id| *id != process).expect("a thread");
    watcher.watch(process, ALL);
    watcher.watch(thread, ALL);
    program.say("");
    watcher.until("the exec", |inputs| events(inputs).any(|event| event.kind == Kind::ProcessExec));
    let death = Death::of(process);
    program.hang_up();
    watcher.until("the exit", |inputs| {
        events(inputs).filter(|event| event.kind == Kind::ProcessExit).count() == 2
    });
    assert!(death.has_come());
    program.end();
    watcher.drain_to_mark();
    let all: Vec<_> = events(&watcher.inputs).map(|event| (event.kind, event.actor, event.former)).collect();
    let expected = [
        (Kind::ProcessExit, process, process),
        (Kind::ProcessExec, process, thread),
        (Kind::ProcessExit, process, process),
    ];
    assert_eq!(all, expected);
}

/// A process of 256 MB that began to exit before it was watched.
#[test]
fn who_comes_while_a_process_is_exiting_gets_its_exit() {
    let mut watcher = Watcher::new();
    for _ in 0..50 {
        let mut program = start("exits", &["memory"]);
        let process = id(&program);
        let death = Death::of(process);
        program.hang_up();
        while task_stat(process.0, process.0).is_some_and(|stat| stat.flags & 0x4 == 0) {}
        watcher.source.watch(process, EXIT);
        if watcher.source.counters().exits_late == 0 {
            // It was dead already, and its exit is history; or it was only about to exit, which then came as usual:
            // PF_EXITING is set before the program at the exit has its turn.
            program.end();
            watcher.drain_to_mark();
            assert!(watcher.exits_of(process) <= 1);
            watcher.source.unwatch(process, EXIT);
            continue;
        }
        let exit = watcher.exit_of(process);
        assert!(death.has_come());
        assert_eq!((exit.status, exit.uid), (Some(ExitStatus::from_raw(5 << 8)), Some(Uid::ROOT)));
        program.end();
        watcher.drain_to_mark();
        assert_eq!(watcher.exits_of(process), 1);
        return;
    }
    panic!("the machine is too busy to meet a process that is exiting");
}

#[test]
fn a_process_with_a_thread_that_its_tracer_ignores_is_reported_all_the_same() {
    let mut watcher = Watcher::new();
    let mut program = start("exits", &["group"]);
    let process = id(&program);
    watcher.watch(process, EXIT);
    let ids = fs::read_dir(format!("/proc/{process}/task")).expect("it lives");
    let ids = ids.map(|entry| entry.expect("a task").file_name().into_string().expect("a number"));
    let thread: i32 = ids.map(|id| id.parse().expect("a number")).find(|id| *id != process.0).expect("one");
    // SAFETY: it touches no memory of ours.
    let seized =
        unsafe { libc::ptrace(libc::PTRACE_SEIZE, thread, ptr::null_mut::<()>(), ptr::null_mut::<()>()) };
    assert_eq!(seized, 0, "ptrace: {}", std::io::Error::last_os_error());
    let death = Death::of(process);
    program.hang_up();
    watcher.exit_of(process);
    assert!(!death.has_come(), "the pidfd should not be readable before the tracer has looked");
    assert_eq!(watcher.source.counters().exits_by_look, 1);
    // SAFETY: a null pointer asks for no status.
    let reaped = unsafe { libc::waitpid(thread, ptr::null_mut(), libc::__WALL) };
    assert_eq!(reaped, thread);
    program.end();
    watcher.drain_to_mark();
    assert_eq!(watcher.exits_of(process), 1);
}

#[test]
fn the_ends_of_threads_come_before_that_of_their_process() {
    let mut watcher = Watcher::following();
    let mut program = start("exits", &["group"]);
    let process = id(&program);
    watcher.source.follow(process).expect("it lives");
    program.hang_up();
    watcher.exit_of(process);
    assert_eq!(watcher.inputs.iter().filter(|input| matches!(input, Input::Member(_))).count(), 51);
    let kinds: Vec<_> = events(&watcher.inputs).map(|event| event.kind).collect();
    assert_eq!(kinds.len(), 51);
    assert_eq!(kinds.last(), Some(&Kind::ProcessExit));
}

/// Clears the words of this number from outside, as far as they ask for an exit.
fn ask_for_nothing(process: Tid) {
    let (at, shift) = (process.0 as u32 / 2, process.0 % 2 * 32);
    for map in loaded_maps().flatten().filter(|map| map.name_as_str() == Some("words")) {
        // Those of other sources may have gone by now.
        let Ok(map) = MapData::from_id(map.id()) else { continue };
        let mut words: Array<_, u64> = Map::Array(map).try_into().expect("it is an array");
        let two = words.get(&at, 0).expect("it is long enough");
        if two >> shift & EXIT.0 as u64 != 0 {
            words.set(at, two & !(u64::from(u32::MAX) << shift), 0).expect("root may");
        }
    }
}

/// As where the kernel does not run the program.
#[test]
fn an_exit_without_a_record_is_found_out_by_the_pidfd() {
    let mut watcher = Watcher::new();
    let mut program = start("exits", &["plain"]);
    watcher.watch(id(&program), EXIT);
    ask_for_nothing(id(&program));
    program.hang_up();
    let exit = watcher.exit_of(id(&program));
    assert_eq!((exit.status, exit.start), (Some(ExitStatus::from_raw(5 << 8)), None));
    program.end();
    watcher.drain_to_mark();
    assert_eq!(watcher.exits_of(id(&program)), 1);
    let counters = watcher.source.counters();
    assert_eq!((counters.records, counters.exits_recovered), (0, 1));
}
