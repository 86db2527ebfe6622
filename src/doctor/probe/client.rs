//! The client: opens the device and has it watch a process that forks, executes and ends.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Step;
use crate::abi::{self, EventMask};
use crate::sys::ioctl;
use crate::sys::pidfd::PidFd;
use crate::sys::real_time_signal::RealTimeSignal;

/// How many processes are watched, one after the other, as long as [`TIME`] lasts.
const RUNS: u32 = 15;

/// How long it may go on starting processes.
const TIME: Duration = Duration::from_millis(1500);

/// How long a process may take to do what it is told.
const WORK: Duration = Duration::from_secs(2);

/// How long after it has happened an event may be reported.
const SIGNAL: Duration = Duration::from_secs(1);

/// Says that its own exec is over, forks when it is told to go, becomes cat, and echoes what else it is told.
const TARGET: &str = "echo ready; read go; (:); exec cat";

/// Does it, and hands over each step as soon as it is done.
pub fn run(path: &Path, mut tell: impl FnMut(Step) -> io::Result<()>) -> io::Result<()> {
    tell(Step::Started)?;
    let begun = Instant::now();
    let device = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(device) => device,
        Err(error) => return tell(Step::NotOpened { errno: errno(&error) as i32 }),
    };
    tell(Step::Opened { nanoseconds: nanoseconds(begun) })?;
    let signal = RealTimeSignal::block(0)?;
    let mut runs = 0;
    while runs < RUNS && (runs == 0 || begun.elapsed() < TIME) {
        match watch_one(&device, &signal) {
            Ok(step @ Step::Watched { .. }) => tell(step)?,
            Ok(step) => return tell(step),
            Err(error) => return tell(Step::NotTried { error: error.to_string() }),
        }
        runs += 1;
    }
    Ok(())
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn nanoseconds(since: Instant) -> u64 {
    since.elapsed().as_nanos().try_into().unwrap_or(u64::MAX)
}

/// A process that is ended and waited for in any case.
struct Target(Child);

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn watch_one(device: &impl AsFd, signal: &RealTimeSignal) -> io::Result<Step> {
    let mut command = Command::new("/bin/sh");
    let command = command.args(["-c", TARGET]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut target = Target(command.stderr(Stdio::null()).spawn()?);
    let (input, output) = (target.0.stdin.take(), target.0.stdout.take());
    let (Some(mut input), Some(output)) = (input, output) else { return Err(Errno::EPIPE.into()) };
    let mut output = BufReader::new(output);
    says(&mut output, "ready\n")?;
    let pid = target.0.id() as i32;
    let pidfd = PidFd::open(pid)?;
    let events = EventMask::PROCESS_FORK | EventMask::PROCESS_EXEC | EventMask::PROCESS_EXIT;
    let command = abi::Command { pid, events, signal: signal.number() };
    if let Err(errno) = ioctl::write(device, abi::REGISTER, command.to_bytes()) {
        return Ok(Step::NotRegistered { errno: errno as i32 });
    }

    input.write_all(b"go\ndone\n")?;
    says(&mut output, "done\n")?;
    let missed = |event: &str, instead| Ok(Step::NotReported { event: event.to_owned(), instead });
    for (event, name) in [(EventMask::PROCESS_FORK, "fork"), (EventMask::PROCESS_EXEC, "exec")] {
        if let Err(instead) = arrives(signal, event, pid, None)? {
            return missed(name, instead);
        }
    }
    let killed = Instant::now();
    target.0.kill()?;
    let polled = match arrives(signal, EventMask::PROCESS_EXIT, pid, Some((&pidfd, killed)))? {
        Ok(polled) => polled,
        Err(instead) => return missed("exit", instead),
    };
    let signalled = nanoseconds(killed);
    // Before it is waited for, after which its number can be another's.
    let _ = ioctl::write(device, abi::DEREGISTER, command.to_bytes());
    Ok(Step::Watched { signal: signalled, pidfd: polled.unwrap_or(signalled) })
}

/// Waits until the target has said this line.
fn says(output: &mut BufReader<ChildStdout>, line: &str) -> io::Result<()> {
    if !is_readable(output.get_ref(), Instant::now() + WORK)? {
        return Err(Errno::ETIMEDOUT.into());
    }
    let mut said = String::new();
    output.read_line(&mut said)?;
    if said == line { Ok(()) } else { Err(Errno::EPIPE.into()) }
}

/// Waits for the signal of this event: when a pidfd became readable meanwhile, in nanoseconds after that
/// instant; or what came instead, if anything came.
fn arrives(
    signal: &RealTimeSignal,
    event: EventMask,
    target: i32,
    mut pidfd: Option<(&PidFd, Instant)>,
) -> io::Result<Result<Option<u64>, Option<String>>> {
    let deadline = Instant::now() + SIGNAL;
    let mut polled = None;
    loop {
        if let Some((process, since)) = pidfd
            && process.has_exited()
        {
            polled = Some(nanoseconds(since));
            pidfd = None;
        }
        if let Some(info) = signal.take()? {
            let (code, subject, value) = (info.ssi_code, info.ssi_pid as i32, info.ssi_int);
            let subject_is_right = event == EventMask::PROCESS_FORK || subject == target;
            if code == libc::SI_QUEUE && value == event.0 && subject_is_right {
                return Ok(Ok(polled));
            }
            return Ok(Err(Some(format!("si_code {code}, si_pid {subject}, si_int {value:#x}"))));
        }
        let mut fds = vec![PollFd::new(signal.as_fd(), PollFlags::POLLIN)];
        fds.extend(pidfd.map(|(process, _)| PollFd::new(process.as_fd(), PollFlags::POLLIN)));
        if !poll_until(&mut fds, deadline)? {
            return Ok(Err(None));
        }
    }
}

fn is_readable(file: &impl AsFd, deadline: Instant) -> io::Result<bool> {
    poll_until(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], deadline)
}

/// `poll(2)`; false when the time is over.
fn poll_until(fds: &mut [PollFd<'_>], deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}
