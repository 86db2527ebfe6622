//! What /proc says of processes that are there.

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::records::Program;
use crate::source::bpf::StartTime;
use crate::sys::procfs::process_stat;
use crate::wait::process::Process;

/// Nanoseconds of a clock tick (USER_HZ is 100 on every architecture).
pub const TICK: u64 = 10_000_000;

/// When the process of this number began, to the tick. `None`: there is none.
pub fn start(pid: i32) -> Option<StartTime> {
    process_stat(pid).map(|stat| StartTime(stat.start * TICK))
}

/// True if both are the same to the tick.
pub fn is_same(one: StartTime, other: StartTime) -> bool {
    one.0 / TICK == other.0 / TICK
}

/// True if the main thread of the process has ended.
pub fn is_main_over(pid: i32) -> bool {
    process_stat(pid).is_some_and(|stat| stat.state == b'Z')
}

/// True if the process that began then is not there any more, or only as a zombie.
pub fn is_gone(pid: i32, began: Option<StartTime>) -> bool {
    process_stat(pid).is_none_or(|stat| {
        let is_another = began.is_some_and(|began| !is_same(began, StartTime(stat.start * TICK)));
        // A main thread that others survive is a zombie too.
        is_another || stat.state == b'Z' && threads(pid).is_empty()
    })
}

/// What the process executes, which began then, and its control group: nothing is told of another owner of its number.
pub fn program(pid: i32, began: Option<StartTime>) -> (Program, Option<String>) {
    let process = Process(pid);
    let program = Program {
        comm: process.name(),
        executable: process.executable().map(|path| path.as_os_str().as_bytes().to_vec()),
        args: process.arguments().map(|args| args.into_iter().map(OsStringExt::into_vec).collect()),
        is_cut: false,
    };
    let cgroup = cgroup(pid);
    // Last: until then the number was this process's.
    let is_own = start(pid).is_some_and(|now| began.is_none_or(|began| is_same(began, now)));
    if is_own { (program, cgroup) } else { Default::default() }
}

/// The threads of the process but the main one.
pub fn threads(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let ids = threads.filter_map(|thread| thread.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|tid| *tid != pid).collect()
}

/// The control group in the unified hierarchy.
fn cgroup(pid: i32) -> Option<String> {
    let text = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    Some(String::from_utf8_lossy(path).into_owned())
}
