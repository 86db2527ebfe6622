//! The emulated machine, and what it tells over its second serial port.

use super::host::{self, Scratch};
use super::{Ending, GuestError};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// The kernel's check of its timer fails where a busy host lets the machine wait. Each complaint of RCU would put the
/// watchdog off, which gives a stuck machine up.
const KERNEL_PARAMETERS: &str = "console=ttyS0 quiet panic=-1 oops=panic softlockup_panic=1 watchdog_thresh=60 \
    rcupdate.rcu_cpu_stall_suppress=1 nokaslr no_timer_check";

/// A running machine. It ends with the value, whatever happens to the test.
#[derive(Debug)]
pub struct Machine {
    emulator: Child,
    output: Receiver<Vec<u8>>,
}

/// What the machine had to say until the moment we waited for.
#[derive(Debug)]
pub enum Heard {
    /// More bytes.
    Bytes(Vec<u8>),
    /// Nothing until the deadline.
    Silence,
    /// The machine has ended.
    Ended(ExitStatus),
}

impl Machine {
    /// Boots a kernel with a first file system of its own; the console goes to a file. What the machine writes to the
    /// disk is forgotten.
    pub fn boot(
        kernel: &Path,
        image: &Path,
        disk: Option<&Path>,
        scratch: &Scratch,
    ) -> Result<Self, GuestError> {
        let emulator = "qemu-system-x86_64";
        host::run(Command::new(emulator).arg("--version"), "qemu-system-x86")?;
        let log = scratch.path("emulator");
        let log = File::create(&log).map_err(GuestError::host("write the emulator's log"))?;
        // setpriv has the kernel end the emulator also when the test is killed and can drop nothing.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", emulator])
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"])
            .args(["-m", "1024", "-nodefaults", "-nographic", "-no-reboot"])
            .arg("-serial")
            .arg(format!("file:{}", scratch.path("console").display()))
            .args(["-chardev", "stdio,id=report,signal=off"])
            .args(["-serial", "chardev:report"])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(image)
            .args(["-append", KERNEL_PARAMETERS])
            .env("TMPDIR", scratch.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        if let Some(disk) = disk {
            let disk = format!("file={},if=virtio,format=raw,snapshot=on", disk.display());
            command.args(["-drive", &disk]);
        }
        let mut emulator = host::start(&mut command, "util-linux", Command::spawn)?;
        let mut pipe = emulator.stdout.take().expect("its output is piped");
        let (sender, output) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Machine { emulator, output })
    }

    /// Waits for what the machine says next.
    pub fn hear(&mut self, deadline: Instant) -> Result<Heard, GuestError> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.output.recv_timeout(left) {
            Ok(bytes) => Ok(Heard::Bytes(bytes)),
            Err(RecvTimeoutError::Timeout) => Ok(Heard::Silence),
            Err(RecvTimeoutError::Disconnected) => {
                self.emulator.wait().map(Heard::Ended).map_err(GuestError::host("wait for the emulator"))
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only if the emulator has been waited for already.
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
    }
}

/// What the kernel wrote to the console, and the emulator to its standard error.
pub fn console(scratch: &Scratch) -> String {
    let read = |name| fs::read(scratch.path(name)).unwrap_or_default();
    let console = read("console");
    let console = String::from_utf8_lossy(&console);
    // The firmware clears the screen a last time before the kernel starts.
    let kernel = console.rsplit("\x1b[2J").next().unwrap_or_default();
    String::from_utf8_lossy(&read("emulator")).into_owned() + &kernel.replace('\r', "")
}

/// Takes the guest's stream apart into output and the lines of its process 1.
#[derive(Debug)]
pub struct Report {
    word: Vec<u8>,
    bytes: Vec<u8>,
    searched: usize,
}

/// A line of the guest's process 1.
#[derive(Debug, PartialEq)]
pub enum Line {
    /// The system is prepared.
    Ready,
    /// A step has ended.
    End {
        /// What was written since the line before.
        output: Vec<u8>,
        /// How it ended.
        ending: Ending,
        /// How long it took, by the guest's clock.
        took: Duration,
    },
    /// The system could not be prepared.
    Failed(String),
}

impl Report {
    /// For a guest that marks its lines with this word.
    pub fn new(word: &str) -> Self {
        Report { word: format!("{word} ").into_bytes(), bytes: Vec::new(), searched: 0 }
    }

    /// Takes in what was heard.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next line, once it is complete.
    pub fn line(&mut self) -> Option<Line> {
        let length = self.word.len();
        let Some(at) = self.bytes[self.searched..].windows(length).position(|window| window == self.word)
        else {
            self.searched = self.bytes.len().saturating_sub(length);
            return None;
        };
        let at = self.searched + at;
        self.searched = at;
        let text = &self.bytes[at + length..];
        let end = text.iter().position(|byte| *byte == b'\n')?;
        let text = String::from_utf8_lossy(&text[..end]).into_owned();
        let rest = self.bytes.split_off(at + length + end + 1);
        let mut output = std::mem::replace(&mut self.bytes, rest);
        output.truncate(at);
        self.searched = 0;
        Some(Line::parse(&text, output))
    }

    /// What was heard since the last line.
    pub fn unfinished(self) -> Vec<u8> {
        self.bytes
    }
}

impl Line {
    fn parse(text: &str, output: Vec<u8>) -> Line {
        let words: Vec<&str> = text.split(' ').collect();
        let took = |begin: &str, end: &str| {
            let seconds: f64 = end.parse::<f64>().ok()? - begin.parse::<f64>().ok()?;
            Duration::try_from_secs_f64(seconds).ok()
        };
        let end = |ending, begin, end| Some((ending, took(begin, end)?));
        let ended = match words[..] {
            ["ready"] => return Line::Ready,
            ["end", status, begin, stop] => {
                status.parse().ok().and_then(|status| end(Ending::Exit(status), begin, stop))
            }
            ["late", begin, stop] => end(Ending::TimedOut, begin, stop),
            _ => None,
        };
        match ended {
            Some((ending, took)) => Line::End { output, ending, took },
            None => {
                let sentence = text.strip_prefix("failed ").unwrap_or(text);
                Line::Failed(sentence.to_owned())
            }
        }
    }
}
