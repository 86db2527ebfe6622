//! A client of the device in a process of its own: a device whose daemon is stopped holds its client in
//! the kernel, where no signal ends it, and must not hold us.

mod client;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

pub use client::run;

/// How long each step may take, also the client's start, which says nothing of the device.
const STEP: Duration = Duration::from_secs(5);

/// How long all may take, once the client has started.
const ALL: Duration = Duration::from_secs(8);

/// How long the client's end may take.
const END: Duration = Duration::from_millis(200);

/// What the client tells, a line of JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The client runs, and opens the device next.
    Started,
    /// The device is open.
    Opened {
        /// How long open(2) took.
        nanoseconds: u64,
    },
    /// open(2) failed.
    NotOpened {
        /// Why.
        errno: i32,
    },
    /// REGISTER failed.
    NotRegistered {
        /// Why.
        errno: i32,
    },
    /// A process was seen to fork, to execute and to end.
    Watched {
        /// Nanoseconds from kill(2) to the signal that reports the exit.
        signal: u64,
        /// Nanoseconds from kill(2) to the end of a poll(2) on a pidfd.
        pidfd: u64,
    },
    /// The target did something, and the signal did not come, or reported something else.
    NotReported {
        /// What it did.
        event: String,
        /// What came instead.
        instead: Option<String>,
    },
    /// It could not be tried: no target, or one that did not get to it in time.
    NotTried {
        /// Why.
        error: String,
    },
}

/// How far the client came.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Its steps.
    pub steps: Vec<Step>,
    /// It was given up: a step took too long.
    pub hung: bool,
}

impl Outcome {
    /// What became of open(2): how long it took, or why it failed; `None` if it did not return.
    pub fn opened(&self) -> Option<Result<Duration, Errno>> {
        match self.steps.get(1)? {
            Step::Opened { nanoseconds } => Some(Ok(Duration::from_nanos(*nanoseconds))),
            Step::NotOpened { errno } => Some(Err(Errno::from_raw(*errno))),
            _ => None,
        }
    }

    /// The latencies of exits: the signals', and a pidfd poll's.
    pub fn latencies(&self) -> (Vec<u64>, Vec<u64>) {
        let both = |step: &Step| match step {
            Step::Watched { signal, pidfd } => Some((*signal, *pidfd)),
            _ => None,
        };
        self.steps.iter().filter_map(both).unzip()
    }
}

/// Has the client run by this command, and gives it up when it hangs.
pub fn attempt(mut client: Command) -> Result<Outcome, std::io::Error> {
    let mut client = client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let (sender, steps) = unbounded();
    if let Some(output) = client.stdout.take() {
        // It ends with the client.
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.filter_map(|line| serde_json::from_str(&line).ok()).try_for_each(|step| sender.send(step))
        });
    }
    let outcome = follow(&steps);
    give_up(&mut client);
    Ok(outcome)
}

fn follow(steps: &Receiver<Step>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut deadline = Instant::now() + ALL;
    loop {
        let limit = STEP.min(deadline.saturating_duration_since(Instant::now()));
        match steps.recv_timeout(limit) {
            Ok(step) => {
                if step == Step::Started {
                    deadline = Instant::now() + ALL;
                }
                outcome.steps.push(step);
            }
            Err(RecvTimeoutError::Disconnected) => return outcome,
            Err(RecvTimeoutError::Timeout) => return Outcome { hung: true, ..outcome },
        }
    }
}

/// Ends it, unless a call on the device keeps it in the kernel: then it ends with that call.
fn give_up(client: &mut Child) {
    let _ = client.kill();
    let deadline = Instant::now() + END;
    while let Ok(None) = client.try_wait()
        && Instant::now() < deadline
    {
        thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_shell(script: &str) -> Outcome {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        attempt(shell).expect("there is a shell")
    }

    #[test]
    fn steps_are_read_and_other_lines_are_not() {
        let watched = Step::Watched { signal: 5, pidfd: 3 };
        let line = serde_json::to_string(&watched).expect("it is plain data");
        let opened = "{\"Opened\":{\"nanoseconds\":7}}";
        let outcome = by_shell(&format!("echo '\"Started\"'; echo '{opened}'; echo junk; echo '{line}'"));
        assert_eq!(outcome.steps, [Step::Started, Step::Opened { nanoseconds: 7 }, watched]);
        assert!(!outcome.hung);
        assert_eq!(outcome.opened(), Some(Ok(Duration::from_nanos(7))));
        assert_eq!(outcome.latencies(), (vec![5], vec![3]));
        assert_eq!(
            by_shell("echo '\"Started\"'; echo '{\"NotOpened\":{\"errno\":13}}'").opened(),
            Some(Err(Errno::EACCES))
        );
    }

    #[test]
    fn a_client_that_hangs_is_given_up() {
        let outcome = by_shell("exec sleep 1000");
        assert!(outcome.hung);
        assert_eq!(outcome.opened(), None);
    }
}
