//! Who listens to what strangers do.

use std::fs;
use std::ops::{AddAssign, Range};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kmonitor::abi::{EventMask, REGISTER};
use kmonitor::sys::procfs::scheduling;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pause, pipe, read, write};

use crate::daemon::Daemon;
use crate::programs::{self, Counting};

#[derive(Clone, Copy)]
pub enum Listener {
    Nobody,
    Kmonitor { source: &'static str, registrations: i32 },
    Forkstat,
    Bpftrace { script: &'static str },
}

const COUNT: &str = "tracepoint:sched:sched_process_fork { @forks = count(); }
    tracepoint:sched:sched_process_exec { @execs = count(); }
    tracepoint:sched:sched_process_exit { @exits = count(); }";

const PRINT: &str = r#"tracepoint:sched:sched_process_fork { printf("fork %d %d\n", pid, args->child_pid); }
    tracepoint:sched:sched_process_exec { printf("exec %d %s\n", pid, str(args->filename)); }
    tracepoint:sched:sched_process_exit { printf("exit %d %s\n", pid, comm); }"#;

/// Programs of a script.
const PROBES: usize = 3;

/// All of them, by name, in the order of the table.
pub const ALL: [(&str, Listener); 12] = [
    ("nobody", Listener::Nobody),
    ("bpf-idle", Listener::Kmonitor { source: "bpf", registrations: 0 }),
    ("bpf-10", Listener::Kmonitor { source: "bpf", registrations: 10 }),
    ("bpf-5000", Listener::Kmonitor { source: "bpf", registrations: 5000 }),
    ("bpf-1000000", Listener::Kmonitor { source: "bpf", registrations: 1_000_000 }),
    ("connector-idle", Listener::Kmonitor { source: "connector", registrations: 0 }),
    ("connector-10", Listener::Kmonitor { source: "connector", registrations: 10 }),
    ("connector-5000", Listener::Kmonitor { source: "connector", registrations: 5000 }),
    ("connector-1000000", Listener::Kmonitor { source: "connector", registrations: 1_000_000 }),
    ("forkstat", Listener::Forkstat),
    ("bpftrace-count", Listener::Bpftrace { script: COUNT }),
    ("bpftrace-print", Listener::Bpftrace { script: PRINT }),
];

/// The highest number of a task, and one more.
const NUMBERS: i32 = 1 << 22;

/// A listener at work, taken down in the end.
pub enum Running {
    Nobody,
    Kmonitor {
        daemon: Daemon,
        #[expect(dead_code, reason = "it is taken down in the end")]
        monitor: Option<Monitor>,
    },
    Tool(Child),
}

/// How long after the last registration the daemon's filter at the proc connector is what it stays, and more.
const SETTLE: Duration = Duration::from_millis(300);

impl Listener {
    /// How many rounds one start is for: a million registrations take half a minute.
    pub fn rounds_at_once(self) -> usize {
        match self {
            Listener::Kmonitor { registrations, .. } if registrations > 100_000 => 5,
            _ => 1,
        }
    }

    /// Starts it, and waits until it listens.
    pub fn start(self) -> Running {
        match self {
            Listener::Nobody => Running::Nobody,
            Listener::Kmonitor { source, registrations } => {
                let limits = ["--max-registrations", "1048576", "--max-per-monitor", "1048576"];
                let daemon = Daemon::start(&[&["--source", source][..], &limits].concat());
                // Those are given out last, and nobody has them.
                let numbers = NUMBERS - registrations..NUMBERS;
                let monitor = (registrations > 0).then(|| Monitor::start(&daemon.path, numbers));
                std::thread::sleep(SETTLE);
                Running::Kmonitor { daemon, monitor }
            }
            Listener::Forkstat => {
                let before = connector_sockets();
                let tool = spawn(Command::new("forkstat").args(["-e", "all"]));
                until("forkstat listens", || connector_sockets() > before);
                tool
            }
            Listener::Bpftrace { script } => {
                let others = programs::ids();
                let tool = spawn(Command::new("bpftrace").args(["-e", script]));
                let _counting = Counting::start();
                until("bpftrace counts", || {
                    assert!(Command::new("/bin/true").status().expect("run true").success());
                    programs::that_ran(&others) >= PROBES
                });
                tool
            }
        }
    }
}

fn spawn(command: &mut Command) -> Running {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Running::Tool(command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program())))
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what}: not so after a minute");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sockets that listen to the proc connector: of protocol 11, with a group.
fn connector_sockets() -> usize {
    let table = fs::read_to_string("/proc/net/netlink").expect("/proc is mounted");
    let columns = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    columns.filter(|row| row.get(1) == Some(&"11") && row.get(3) != Some(&"00000000")).count()
}

/// What a listener has used up until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// How often its threads have gone to sleep.
    pub sleeps: u64,
    /// Nanoseconds of a processor.
    pub processor: u64,
}

impl AddAssign for Use {
    fn add_assign(&mut self, more: Use) {
        self.sleeps += more.sleeps;
        self.processor += more.processor;
    }
}

impl Use {
    pub fn since(self, earlier: Use) -> Use {
        Use { sleeps: self.sleeps - earlier.sleeps, processor: self.processor - earlier.processor }
    }
}

impl Running {
    fn pid(&self) -> Option<i32> {
        match self {
            Running::Nobody => None,
            Running::Kmonitor { daemon, .. } => Some(daemon.child.id() as i32),
            Running::Tool(child) => Some(child.id() as i32),
        }
    }

    fn used_now(&self) -> Use {
        let Some(pid) = self.pid() else { return Use::default() };
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the listener lives").flatten();
        tasks.fold(Use::default(), |sum, task| {
            let status = fs::read_to_string(task.path().join("status")).expect("its threads stay");
            let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            let sleeps: u64 =
                sleeps.and_then(|number| number.trim().parse().ok()).expect("proc_pid_status(5)");
            let name = task.file_name();
            let scheduling = name.to_str().and_then(|tid| scheduling(tid.parse().ok()?)).expect("schedstat");
            Use { sleeps: sum.sleeps + sleeps, processor: sum.processor + scheduling.run_time }
        })
    }

    /// The same, once it has done what there was to do.
    pub fn used(&self) -> Use {
        let mut last = self.used_now();
        let mut used = last;
        until("the listener has caught up", || {
            std::thread::sleep(Duration::from_millis(20));
            (last, used) = (used, self.used_now());
            // One that wakes at intervals uses some tenths of a millisecond.
            used.processor - last.processor < 1_000_000
        });
        used
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Running::Tool(child) = self {
            let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGINT);
            let _ = child.wait();
        }
    }
}

/// A process that watches numbers which nobody has. It is apart: a child of this program that closed the device
/// would wake the daemon.
pub struct Monitor(Pid);

impl Monitor {
    fn start(device: &Path, numbers: Range<i32>) -> Monitor {
        let (from, to) = pipe().expect("pipe");
        // SAFETY: this program has one thread.
        match unsafe { fork() }.expect("fork") {
            ForkResult::Child => {
                let device = fs::OpenOptions::new().write(true).open(device).expect("open the device");
                for number in numbers {
                    let command = [number, EventMask(0x7f).0, 40];
                    // SAFETY: the device reads 12 bytes.
                    let result =
                        unsafe { libc::ioctl(device.as_raw_fd(), REGISTER as libc::Ioctl, command.as_ptr()) };
                    assert_eq!(result, 0, "REGISTER {number}: {}", std::io::Error::last_os_error());
                }
                write(&to, &[1]).expect("write");
                loop {
                    pause();
                }
            }
            ForkResult::Parent { child } => {
                drop(to);
                assert_eq!(read(&from, &mut [0]), Ok(1), "the device refused a registration");
                Monitor(child)
            }
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}
