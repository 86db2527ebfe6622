//! Crafted and random streams of records.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::records::{Ended, Process, Program, Record, SourceName, Totals, VERSION, What};

fn process(pid: i32, ppid: i32, life: u32) -> Process {
    Process {
        pid,
        ppid: Some(ppid),
        entity_id: Some(format!("BOOT:{pid}:{life}")),
        uid: Some(0),
        ..Process::default()
    }
}

fn with_program(mut process: Process, line: &str) -> Process {
    let args: Vec<_> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
    process.set_executable(format!("/usr/bin/{}", line.split(' ').next().unwrap_or_default()).as_bytes());
    process.set_args(&args, false);
    process
}

fn seen(process: Process) -> What {
    What::Seen { process, tid: None }
}

fn fork(process: Process) -> What {
    What::Fork { process, creator_tid: None }
}

fn exec(process: Process) -> What {
    What::Exec { process, creator_tid: None }
}

fn exit(process: Process, code: i32) -> What {
    let process = Ended { process, exit_code: Some(code), core_dumped: Some(false), ..Ended::default() };
    What::Exit { process, creator_tid: None }
}

/// A history of these, a nanosecond apart, from 100 on.
fn history(all: impl IntoIterator<Item = What>) -> History {
    let mut builder = Builder::new();
    for (what, seq) in all.into_iter().zip(0..) {
        builder.take(&Record { v: VERSION, seq, time: Timestamp::UNIX_EPOCH, mono_ns: 100 + seq, what });
    }
    builder.finish()
}

fn name(history: &History, index: usize) -> Option<String> {
    Some(String::from_utf8_lossy(history.life(index).program()?.name()?).into_owned())
}

#[test]
fn forks_make_a_tree_and_execs_make_programs() {
    let make = with_program(process(10, 1, 0), "make -j8");
    let child = |line| with_program(process(11, 10, 1), line);
    let history = history([
        seen(make.clone()),
        What::Ready { source: SourceName::Bpf, seen: 1 },
        fork(child("make -j8")),
        exec(child("sh -c cc")),
        exec(child("cc -c a.c")),
        exit(child("cc -c a.c"), 1),
        exit(make, 2),
        What::End { totals: Totals::default() },
    ]);
    assert_eq!((history.roots(), history.children(0), history.children(1)), (&[0][..], &[1][..], &[][..]));
    let [make, child] = history.lives() else { panic!("{history:?}") };
    assert_eq!((make.birth, child.birth), (Birth::Earlier(100), Birth::Fork(102)));
    assert_eq!((make.duration(), child.duration()), (None, Some(3)), "when make began is not known");
    let runs: Vec<_> =
        child.runs.iter().map(|run| (run.at, run.program.name().unwrap(), run.is_inherited)).collect();
    assert_eq!(runs, [(102, &b"make"[..], true), (103, b"sh", false), (104, b"cc", false)]);
    assert!(std::sync::Arc::ptr_eq(&make.runs[0].program, &child.runs[0].program), "kept once");
    assert!(make.has_failed() && child.has_failed());
    assert_eq!(history.time(), Some(100..=107));
}

#[test]
fn a_pid_that_comes_back_is_another_process() {
    let history = history([
        fork(process(11, 10, 1)),
        exit(process(11, 10, 1), 0),
        fork(process(11, 10, 2)),
        exec(with_program(process(11, 10, 2), "date")),
        // Its end, and the next one's birth, are lost.
        exec(with_program(process(11, 10, 3), "true")),
        exit(process(11, 10, 3), 0),
    ]);
    let lives: Vec<_> = history.lives().iter().skip(1).map(|life| (life.birth, life.end.clone())).collect();
    let ended = |at| End::Exit(at, Exit { code: Some(Code::Status(0)), ..Exit::default() });
    assert_eq!(
        lives,
        [(Birth::Fork(100), ended(101)), (Birth::Fork(102), End::Unknown), (Birth::Unknown(104), ended(105))]
    );
    assert_eq!(history.life(2).last, 103, "the last that is known of it");
    // The parent is known by its children alone.
    assert_eq!((history.life(0).pid, history.life(0).birth), (10, Birth::Unknown(100)));
    assert_eq!(history.children(0), [1, 2, 3]);
}

#[test]
fn what_the_source_does_not_tell_stays_unknown() {
    let nobody = |pid| Process { pid, ..Process::default() };
    let history = history([
        exec(nobody(5)),
        fork(nobody(6)),
        What::Exit { process: Ended { process: nobody(7), ..Ended::default() }, creator_tid: None },
        What::Lost { count: None, kinds: vec![Kind::Unknown], recovered: 0, complete: false },
    ]);
    let [execed, forked, ended] = history.lives() else { panic!("{history:?}") };
    assert_eq!((execed.birth, forked.birth), (Birth::Unknown(100), Birth::Fork(101)));
    assert_eq!((execed.runs.len(), forked.runs.len()), (1, 0));
    assert_eq!(execed.program().and_then(Program::name), None);
    assert_eq!((ended.birth, ended.duration(), ended.has_failed()), (Birth::Unknown(102), None, false));
    assert_eq!(ended.exit(), Some(&Exit::default()));
    assert_eq!((execed.end.clone(), execed.last), (End::Runs, 103), "to the end of the stream");
    assert_eq!(history.losses(), [Loss { at: 103, count: None, kinds: vec![Kind::Unknown] }]);
    assert_eq!(history.roots(), [0, 1, 2]);
}

#[test]
fn those_that_were_there_may_come_before_their_parents() {
    let history = history([
        seen(process(30, 20, 0)),
        seen(process(20, 10, 0)),
        seen(process(10, 0, 0)),
        seen(process(40, 20, 0)),
        seen(process(50, 50, 0)),
        // In a circle: one of them goes without.
        seen(process(61, 62, 0)),
        seen(process(62, 61, 0)),
    ]);
    let parents: Vec<_> = history.lives().iter().map(|life| life.parent).collect();
    assert_eq!(parents, [Some(1), Some(2), None, Some(1), None, None, Some(5)]);
}

#[test]
fn a_child_that_was_made_to_be_watched_begins_with_its_program() {
    let mut own = with_program(process(11, 10, 1), "kmonitor tree");
    own.set_comm(b"kmonitor-spawn");
    let ended = |process, duration| {
        let process = Ended { process, duration_ns: Some(duration), ..Ended::default() };
        What::Exit { process, creator_tid: None }
    };
    let date = with_program(process(11, 10, 1), "date");
    let executed = history([seen(own.clone()), exec(date.clone()), exec(date.clone()), ended(date, 2)]);
    let life = executed.life(0);
    assert_eq!((life.birth, life.duration(), life.runs.len()), (Birth::Fork(101), Some(2), 2));
    assert_eq!((executed.time(), name(&executed, 0).as_deref()), (Some(101..=103), Some("date")));
    let never = history([seen(own.clone()), ended(own, 1)]);
    assert_eq!((never.life(0).birth, never.life(0).duration()), (Birth::Fork(100), Some(1)));
    assert!(never.life(0).runs[0].is_inherited);
}

/// A make that compiles so many files, of which these fail.
fn build(files: i32, failing: &[i32]) -> History {
    let make = with_program(process(1, 0, 0), "make");
    let mut all = vec![seen(make.clone())];
    for file in 0..files {
        let pid = 10 + file;
        all.push(fork(with_program(process(pid, 1, 0), "make")));
        all.push(exec(with_program(process(pid, 1, 0), &format!("cc {file}.c"))));
    }
    for file in 0..files {
        all.push(exit(process(10 + file, 1, 0), failing.contains(&file).into()));
    }
    all.push(exit(make, 0));
    history(all)
}

#[test]
fn wide_branches_are_folded_and_failures_stay() {
    let history = build(100, &[37, 90]);
    let rows = rows(&history, Some(10));
    assert_eq!(rows.len(), 11);
    assert_eq!(rows[0], Row::Process { depth: 0, index: 0 });
    let shown: Vec<_> = rows[1..10]
        .iter()
        .map(|row| match row {
            Row::Process { depth: 1, index } => *index,
            row => panic!("{row:?}"),
        })
        .collect();
    assert!(shown.is_sorted() && shown.contains(&38) && shown.contains(&91), "{shown:?}");
    let Row::Rest { depth: 1, rest } = &rows[10] else { panic!("{rows:?}") };
    assert_eq!((rest.siblings.len(), rest.all, rest.failed), (91, 91, 0));
    assert_eq!(rest.names, [(Some(b"cc".to_vec()), 91)]);
    // The seven before were there for longer.
    assert_eq!(rest.time, (115, 400), "from the first to the last of them");
}

#[test]
fn one_process_is_never_folded_alone() {
    let history = build(10, &[]);
    let is_process = |row: &Row| matches!(row, Row::Process { .. });
    assert!(rows(&history, Some(10)).iter().all(is_process));
    assert!(!is_process(&rows(&history, Some(9))[9]));
    assert_eq!(rows(&history, None).len(), 11);
    assert_eq!(name(&history, 10).as_deref(), Some("cc"));
}

#[test]
fn a_long_chain_and_a_wide_branch_take_no_long_time() {
    let chain = (0..100_000).map(|pid| fork(process(pid + 2, pid + 1, 0)));
    let history = history(chain);
    assert_eq!(rows(&history, None).last().map(Row::depth), Some(100_000));
    assert_eq!(rows(&history, Some(100)).len(), 101);
    let wide = build(100_000, &[]);
    assert_eq!(rows(&wide, Some(100)).len(), 101);
}

/// Anything about few pids, so that they meet.
fn any_event() -> impl Strategy<Value = What> {
    let process =
        (1..6, 0..6, prop::option::of(0..3u32), any::<bool>()).prop_map(|(pid, ppid, life, full)| {
            let known = process(pid, ppid, life.unwrap_or(0));
            let known = if full { with_program(known, "sh -c x") } else { known };
            if life.is_some() { known } else { Process { entity_id: None, ppid: None, ..known } }
        });
    (0..6, process).prop_map(|(kind, process)| match kind {
        0 => seen(process),
        1 | 2 => fork(process),
        3 => exec(process),
        4 => exit(process, 0),
        _ => What::ThreadExit { process, tid: 9, creator_tid: None },
    })
}

proptest! {
    #[test]
    fn any_stream_is_a_forest_that_is_shown_once(
        all in prop::collection::vec(any_event(), 0..60), most in prop::option::of(0..20usize)
    ) {
        let history = history(all);
        let mut order = history.in_order();
        let position = |index| order.iter().position(|other| *other == index);
        for (index, life) in history.lives().iter().enumerate() {
            prop_assert!(life.first() <= life.last);
            if let Some(parent) = life.parent {
                prop_assert!(position(parent) < position(index));
                prop_assert!(history.children(parent).contains(&index));
            } else {
                prop_assert!(history.roots().contains(&index));
            }
            prop_assert!(life.runs.is_sorted_by_key(|run| run.at));
        }
        let mut shown = 0;
        let mut told = HashSet::new();
        let rows = rows(&history, most);
        for (number, row) in rows.iter().enumerate() {
            prop_assert!(row.depth() <= number && (number == 0 || row.depth() <= rows[number - 1].depth() + 1));
            match row {
                Row::Process { index, .. } => {
                    shown += 1;
                    prop_assert!(told.insert(*index));
                    let parent = history.life(*index).parent;
                    prop_assert!(parent.is_none_or(|parent| told.contains(&parent)));
                }
                Row::Rest { rest, .. } => {
                    shown += rest.all;
                    prop_assert_eq!(rest.names.iter().map(|(_, count)| count).sum::<usize>(), rest.siblings.len());
                }
            }
        }
        prop_assert_eq!(shown, history.lives().len());
        order.sort_unstable();
        prop_assert_eq!(order, (0..history.lives().len()).collect::<Vec<_>>());
    }
}
