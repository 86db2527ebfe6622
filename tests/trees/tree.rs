//! The tree as its user sees it.

use super::{kmonitor, read, records, run_script, scratch};
use crate::device::program::{Program, finish};
use crate::device::served::KMONITOR;
use nix::sys::signal::Signal;
use std::fs;
use std::process::Command;

/// A line of the tree: the status, and what stands behind it.
fn parts(line: &str) -> (String, String) {
    let is_status = |cell: &str| cell.starts_with('✗') || ["0", "?", "runs"].contains(&cell);
    let mut rest = line.trim_start();
    while let Some((cell, behind)) = rest.split_once("  ") {
        rest = behind.trim_start();
        if is_status(cell) {
            return (cell.to_owned(), rest.trim_end().to_owned());
        }
    }
    panic!("no status: {line}");
}

#[test]
fn a_command_is_drawn_with_all_that_it_starts() {
    let scratch = scratch();
    let file = scratch.path("tree");
    let ended = run_script("tree", &["-o", &file.to_string_lossy()]);
    assert_eq!((ended.code(), ended.output.as_str(), ended.errors.as_str()), (3, "", ""), "{ended:?}");
    let tree = read(&file);
    let lines: Vec<_> = tree.lines().collect();
    let [headings, root @ .., summary] = &lines[..] else { panic!("{tree}") };
    assert_eq!(headings.split_whitespace().collect::<Vec<_>>(), ["time", "cpu", "memory", "status"]);
    assert!(summary.starts_with("5 processes in ") && summary.ends_with(", 2 failed"), "{tree}");
    let of = |index: usize| parts(root[index]);
    assert_eq!(of(0).0, "✗ 3", "{tree}");
    assert!(root[0].contains("sh -c "), "{tree}");
    assert_eq!(of(1), ("✗ SIGKILL".to_owned(), "├─ sh -c 'kill -9 $$'".to_owned()), "{tree}");
    assert_eq!(of(2), ("0".to_owned(), "├─ sh → sh → true with words 'a b' '<&>'".to_owned()), "{tree}");
    assert_eq!(of(3), ("0".to_owned(), "└─ (sh)".to_owned()), "{tree}");
    assert_eq!(of(4), ("0".to_owned(), "└─ (sh)".to_owned()), "{tree}");
    assert!(tree.contains(" ms ") && tree.contains(" MiB "), "CPU time and memory are known: {tree}");
}

#[test]
fn a_recording_gives_the_same_tree() {
    let scratch = scratch();
    let (lines, live) = (scratch.path("lines"), scratch.path("live"));
    for (command, options) in [("watch", &["--json", "-o"][..]), ("tree", &["-o"])] {
        let file = if command == "watch" { &lines } else { &live };
        assert_eq!(run_script(command, &[options, &[&file.to_string_lossy()]].concat()).code(), 3);
    }
    let recorded = finish(&mut kmonitor("tree", &["--from", &lines.to_string_lossy()])).well();
    // Without its times, its sizes and the width of their columns.
    let shape = |tree: &str| -> Vec<_> {
        let lines: Vec<_> = tree.lines().collect();
        lines[1..lines.len() - 1].iter().map(|line| parts(line)).collect()
    };
    assert_eq!(shape(&recorded), shape(&read(&live)), "{recorded}");
    let piped = format!("{KMONITOR} tree --from - <{}", lines.display());
    assert_eq!(finish(Command::new("sh").args(["-c", &piped])).well(), recorded);
}

#[test]
fn a_recording_that_was_cut_off_is_drawn_as_far_as_it_goes() {
    let scratch = scratch();
    let file = scratch.path("lines");
    let path = file.to_string_lossy();
    let all = records(30);
    let start = &all[..all.len() / 2];
    fs::write(&file, start).expect("it is written");
    let ended = finish(&mut kmonitor("tree", &["--from", &path]));
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert!(ended.errors.contains("is no record") && ended.output.contains("still run"), "{ended:?}");
    fs::write(&file, &start[..=start.rfind('\n').expect("a line")]).expect("it is written");
    let ended = finish(&mut kmonitor("tree", &["--from", &path]));
    assert!(ended.errors.contains("ends before the recording did"), "{ended:?}");
    assert!(ended.well().contains("still run"));
    fs::write(&file, "no record\n").expect("it is written");
    finish(&mut kmonitor("tree", &["--from", &path])).gave_up(1, &["line 1 is no record"]);
    finish(&mut kmonitor("tree", &["--from", "/no/such/file"])).gave_up(1, &["/no/such/file"]);
}

#[test]
fn a_loss_is_drawn_and_an_error_if_asked_for() {
    let scratch = scratch();
    let (file, drawing) = (scratch.path("lines"), scratch.path("drawing.svg"));
    let (path, drawing) = (file.to_string_lossy(), drawing.to_string_lossy());
    let tree = ["tree", "--from", &path];
    let timeline = ["timeline", "--from", &path, "-o", &drawing];
    let lost = r#""event":"lost","count":7,"kinds":["exec"],"recovered":0,"complete":false}"#;
    let lost = format!(r#"{{"v":1,"seq":99,"time":"2026-01-31T12:00:01Z","mono_ns":2000000000,{lost}"#);
    for (text, status) in [(records(5), 0), (records(5) + &lost + "\n", 4)] {
        fs::write(&file, text).expect("it is written");
        for command in [&tree[..], &timeline] {
            let ended = finish(&mut kmonitor(command[0], &command[1..]));
            assert_eq!(ended.code(), 0, "{ended:?}");
            let told = ended.output + &ended.errors;
            assert_eq!(told.contains("7 events (execs) "), status == 4, "{told}");
            let ended = finish(kmonitor(command[0], &command[1..]).arg("--strict"));
            assert_eq!(ended.code(), status, "{ended:?}");
        }
    }
}

#[test]
fn a_hundred_thousand_processes_are_folded() {
    let scratch = scratch();
    let file = scratch.path("lines");
    fs::write(&file, records(100_000)).expect("it is written");
    let tree = finish(&mut kmonitor("tree", &["--from", &file.to_string_lossy()])).well();
    let lines = tree.lines().count();
    assert!((200..=500).contains(&lines), "{lines} lines");
    assert!(tree.contains("… ") && tree.contains("100000 processes in "), "{tree}");
    assert!(tree.contains(" others (with descendants "), "{tree}");
    let all = finish(&mut kmonitor("tree", &["--lines", "0", "--from", &file.to_string_lossy()])).well();
    assert_eq!(all.lines().count(), 100_002);
    let picture = scratch.path("picture.svg");
    let arguments = ["-o", &picture.to_string_lossy(), "--from", &file.to_string_lossy()];
    finish(&mut kmonitor("timeline", &arguments)).well();
    assert!(read(&picture).len() < 2_000_000, "a browser shows it at once");
}

#[test]
fn sigint_draws_the_tree_so_far() {
    let script = "read line; sleep 0.01; echo over; read line";
    let mut target = Program::start(Command::new("sh").args(["-c", script]));
    let pid = target.id().to_string();
    let mut command = Command::new("sh");
    // The tests may have been started with SIGINT ignored, as in the background.
    let run = ["-c", "exec env --default-signal=INT \"$@\" 2>&1", "sh", KMONITOR];
    command.args(run).args(["tree", "--pids", &pid]);
    let mut tree = Program::start(&mut command);
    assert_eq!(tree.line(), "kmonitor: following 1 process");
    target.say("go on");
    assert_eq!(target.line(), "over");
    tree.signal(Signal::SIGINT);
    let lines = tree.lines();
    assert_eq!(tree.end().code(), Some(130), "{lines:?}");
    let [_, root, child, summary] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(parts(root), ("runs".to_owned(), format!("{pid} sh -c '{script}'")));
    assert!(root.trim_start().starts_with('>'), "when it began is not in the recording: {root}");
    assert!(child.ends_with(" sleep 0.01") && parts(child).0 == "0", "{child}");
    assert!(summary.ends_with(", 1 still runs"), "{summary}");
}

/// What `kmonitor ARGUMENT...` writes to a terminal of 50 columns, which script(1) emulates.
fn on_a_terminal(arguments: &str) -> (String, i32) {
    let mut script = Command::new("script");
    let line = format!("stty cols 50; {KMONITOR} {arguments}");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let ended = finish(script.env_remove("NO_COLOR").env("TERM", "xterm"));
    (ended.output.clone(), ended.code())
}

#[test]
fn on_a_terminal_a_line_counts_and_the_tree_fits() {
    let (text, status) =
        on_a_terminal("tree -- sh -c 'sleep 0.3; : a long command line that must be cut; exit 3'");
    assert_eq!(status, 3, "{text}");
    let (counts, tree) = text.rsplit_once("\r\x1b[K").expect("the line is taken away");
    assert!(
        counts.contains("\r\x1b[K1 process, 1 now") && counts.contains("2 processes, 2 now"),
        "{counts:?}"
    );
    let lines: Vec<_> =
        tree.lines().map(|line| line.replace("\x1b[31m", "").replace("\x1b[0m", "")).collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 50), "{lines:#?}");
    assert!(lines[1].contains("✗ 3") && lines[1].ends_with('…'), "{lines:#?}");
    assert!(tree.contains("\x1b[31m✗ 3") && !tree.contains("memory"), "{tree:?}");
    let (text, _) =
        on_a_terminal("tree --color never --width 0 -- sh -c 'sleep 0.3; : a long command line; exit 3'");
    let (_, tree) = text.rsplit_once("\r\x1b[K").expect("the line is taken away");
    assert!(
        !tree.contains('\x1b') && tree.contains("command line; exit 3'") && tree.contains("memory"),
        "{tree:?}"
    );
}

#[test]
fn into_a_pipe_there_are_no_escape_codes() {
    let ended = run_script("tree", &[]);
    assert!(!ended.errors.contains('\x1b') && ended.errors.contains("processes in "), "{ended:?}");
    assert!(run_script("tree", &["--color=always"]).errors.contains("\x1b[31m✗ 3"));
}

#[test]
fn errors_do_not_look_like_the_commands_statuses() {
    for (arguments, status, part) in [
        (&["--", "/no/such/program"][..], 127, "/no/such/program"),
        (&["--", "/etc/passwd"], 126, "Permission"),
        (&["-o", "/no/such/file", "--", "true"], 125, "/no/such/file"),
        (&["--no-such-option", "--", "true"], 125, "--no-such-option"),
        (&["1", "--", "true"], 125, "COMMAND"),
        (&["--from", "x", "--", "true"], 125, "--from"),
        (&[], 1, "--help"),
        (&["-n", "no-such-name"], 1, "no process matches"),
        (&["-o", "/no/such/file", "--from", "x"], 1, "/no/such/file"),
    ] {
        finish(&mut kmonitor("tree", arguments)).gave_up(status, &[part]);
    }
    finish(&mut kmonitor("timeline", &["--", "true"])).gave_up(125, &["--output"]);
    finish(&mut kmonitor("timeline", &["-o", "/dev/full", "--", "true"]))
        .gave_up(125, &["/dev/full", "space"]);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let mut target = Program::quiet(&mut Command::new("cat"));
    let script = format!("{{ {KMONITOR} tree {} 2>/dev/null; echo $? >&2; }} | true", target.id());
    let ended = finish(Command::new("sh").args(["-c", &script]));
    assert_eq!(ended.errors, "141\n");
    assert!(target.is_running());
}
