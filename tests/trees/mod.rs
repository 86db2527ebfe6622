//! What `kmonitor tree` and `kmonitor timeline` draw of processes that really ran.

mod timeline;
mod tree;

use crate::device::program::{Ended, finish};
use crate::device::served::KMONITOR;
use crate::guest::host::{self, Scratch};
use std::fs;
use std::path::Path;
use std::process::Command;

/// `kmonitor COMMAND ARGUMENT...`, without colours.
fn kmonitor(command: &str, arguments: &[&str]) -> Command {
    let mut kmonitor = Command::new(KMONITOR);
    kmonitor.arg(command).args(arguments).env_remove("NO_COLOR");
    kmonitor
}

fn scratch() -> Scratch {
    Scratch::new(&host::cache().expect("a cache")).expect("a folder")
}

/// Fails with 3. It has a child that is killed, one that executes twice, and one that forks and executes nothing.
const SCRIPT: &str = r#"
    exec 2>/dev/null # The shell says that it was killed.
    sh -c 'kill -9 $$'
    sh -c 'exec sh -c "exec true with words \"a b\" \"<&>\""'
    (: & wait)
    exit 3
"#;

/// What such a script comes to, as a command that is run with this option.
fn run_script(command: &str, options: &[&str]) -> Ended {
    finish(&mut kmonitor(command, &[options, &["--", "sh", "-c", SCRIPT]].concat()))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Records of this many processes: a root, its children, and the children of each tenth of those. Each hundredth fails.
fn records(processes: u32) -> String {
    let mut lines = String::new();
    let mut seq = 0;
    let mut line = |event: &str, pid: u32, ppid: u32, arguments: &str, end: &str| {
        seq += 1;
        lines += &format!(
            "{{\"v\":1,\"seq\":{seq},\"time\":\"2026-01-31T12:00:00.{seq:09}Z\",\"mono_ns\":{}000,\"event\":\"{event}\",\
             \"process\":{{\"pid\":{pid},\"entity_id\":\"B:{pid}:0\",\"ppid\":{ppid},\"uid\":0,\"comm\":null,\
             \"executable\":null,\"args\":{arguments},\"args_truncated\":false,\"cgroup\":null{end}}},\
             \"creator_tid\":null}}\n",
            seq + 1_000_000
        );
    };
    line("fork", 1, 0, "[\"root\"]", "");
    let parent = |pid: u32| if pid % 10 == 1 { 1 } else { (pid - 2) / 10 * 10 + 1 };
    for pid in 2..=processes {
        line("fork", pid, parent(pid), "[\"root\"]", "");
        line("exec", pid, parent(pid), &format!("[\"program{}\",\"{pid}\"]", pid % 7), "");
    }
    for pid in (1..=processes).rev() {
        let code = u32::from(pid % 100 == 0);
        let end = format!(
            ",\"exit_code\":{code},\"signal\":null,\"core_dumped\":false,\"duration_ns\":null,\"cpu_ns\":null,\
             \"peak_memory\":null"
        );
        line("exit", pid, parent(pid), "null", &end);
    }
    lines
}
