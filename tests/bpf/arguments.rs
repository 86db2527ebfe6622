//! What tasks execute.

use super::harness::{Watcher, events};
use kmonitor::event::Kind;
use kmonitor::ids::Tid;
use kmonitor::source::bpf::{ExecArguments, Options};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// What a followed shell's child executes.
fn executed(arguments: &[&[u8]]) -> ExecArguments {
    let options = Options { follow: true, arguments: 1 << 20, ..Options::default() };
    let mut watcher = Watcher::with(options);
    watcher.source.follow(Tid(std::process::id() as i32)).expect("it lives");
    let mut command = Command::new("/usr/bin/true");
    let mut child = command
        .args(arguments.iter().map(|argument| std::ffi::OsStr::from_bytes(argument)))
        .spawn()
        .expect("true");
    let id = Tid(child.id() as i32);
    child.wait().expect("it is ours");
    watcher.drain_to_mark();
    let exec = |watcher: &Watcher| {
        events(&watcher.inputs).find(|event| event.kind == Kind::ProcessExec && event.subject == id).copied()
    };
    let exec = exec(&watcher).expect("it was executed");
    let found = watcher.source.take_arguments(&exec).expect("its arguments");
    assert_eq!(watcher.source.take_arguments(&exec), None, "they are taken once");
    found
}

#[test]
fn an_exec_tells_its_file_and_its_arguments() {
    let found = executed(&[b"", b"two words", b"\xff\n"]);
    assert_eq!(found.file, b"/usr/bin/true");
    assert_eq!(found.arguments, [&b"/usr/bin/true"[..], b"", b"two words", b"\xff\n"]);
    assert!(!found.is_cut);
    let own = fs::read("/proc/thread-self/comm").expect("/proc is mounted");
    assert_eq!(found.parent, own.trim_ascii_end());
    let cgroup = fs::read_to_string("/proc/self/cgroup").expect("there are cgroups");
    if let Some(path) = cgroup.lines().find_map(|line| line.strip_prefix("0::"))
        && let Ok(folder) = fs::metadata(format!("/sys/fs/cgroup{path}"))
    {
        assert_eq!(found.cgroup, folder.ino());
    }
}

#[test]
fn arguments_of_sixteen_kilobytes_are_whole_and_longer_ones_are_cut() {
    let rest = (16 << 10) - "/usr/bin/true".len() - 1;
    let fits = executed(&[&vec![b'x'; rest - 1]]);
    assert!(!fits.is_cut);
    assert_eq!((fits.arguments.len(), fits.arguments[1].len()), (2, rest - 1));
    let cut = executed(&[&vec![b'x'; rest]]);
    assert!(cut.is_cut);
    assert_eq!((cut.arguments.len(), cut.arguments[1].len()), (2, rest));
    let many = executed(&[&vec![b'x'; 100_000], b"y"]);
    assert!(many.is_cut);
    assert_eq!(many.arguments[1].len(), rest);
}
