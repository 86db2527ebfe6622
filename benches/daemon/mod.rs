//! The daemon at a path of its own, taken down in the end.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub struct Daemon {
    pub child: Child,
    pub path: PathBuf,
}

impl Daemon {
    /// Starts it with these options of `kmonitor serve`, and waits until it serves.
    pub fn start(options: &[&str]) -> Daemon {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kmonitor-bench-{}-{number}", std::process::id()));
        let mut child = Command::new(env!("CARGO_BIN_EXE_kmonitor"))
            .args(["serve", "--mode", "666", "--path"])
            .arg(&path)
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("run kmonitor");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("read");
        assert!(line.contains("ready"), "the daemon did not start: run this as root");
        Daemon { child, path }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
