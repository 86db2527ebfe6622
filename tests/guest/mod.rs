//! A small Linux machine for tests that need a kernel of their own: Debian's stock kernel in QEMU, a busybox, the
//! wanted modules and programs, and a list of shell commands ("steps") run by root.
//!
//! ```ignore
//! let report = Guest::new()?
//!     .program("/bin/kmonitor", path)
//!     .module("cuse")
//!     .step("node", "ls -l /dev/cuse")
//!     .run()?;
//! assert!(report.step("node").succeeded());
//! ```
//!
//! Steps share one system: what one starts in the background is there for the next, and what it writes later counts
//! as output of the step that runs then. A step has no input; its output is what it wrote to its standard output and
//! error, byte for byte. Kernel messages go elsewhere: to [`Report::console`].
//!
//! No network and no disk; /tmp, /run and /dev/shm are memory. RLIMIT_SIGPENDING is 8192, the users are root and
//! nobody (65534), signals and file modes are at their defaults.
//!
//! [`Guest::debian`] is a machine with the same steps and a Debian in the place of the busybox, booted by its systemd.

pub mod apt;
pub mod debian;
mod error;
pub mod host;
mod image;
pub mod kernel;
mod machine;

pub use error::{Fallen, GuestError};

use host::Scratch;
use image::Image;
use kernel::Kernel;
use machine::{Heard, Line, Machine};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const INIT: &str = include_str!("init.sh");
const STEPS: &str = include_str!("steps.sh");
const SERVICE: &str = include_str!("guest.service");
const BUSYBOX: &str = "/bin/busybox";
const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";
/// A guest that is not done by then hangs. Limits end what hangs and judge nothing: an emulated machine on a busy host
/// takes many times as long as on an idle one.
const DEADLINE: Duration = Duration::from_secs(3600);
/// Likewise a step without a limit of its own, by the guest's clock.
const STEP_LIMIT: Duration = Duration::from_secs(600);
/// Likewise a boot.
const BOOT_LIMIT: Duration = Duration::from_secs(600);

/// A guest to be: what it holds and what it shall do.
#[derive(Debug)]
pub struct Guest {
    kernel: Kernel,
    disk: Option<PathBuf>,
    files: BTreeMap<String, Content>,
    modules: Vec<LoadableModule>,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Content {
    Copy(PathBuf),
    Program(PathBuf),
    Text(u32, String),
}

#[derive(Debug)]
enum LoadableModule {
    Stock(String),
    Own { path: PathBuf, parameters: String },
}

#[derive(Debug)]
struct Step {
    name: String,
    command: String,
    limit: Duration,
}

/// What a guest did.
#[derive(Debug)]
pub struct Report {
    /// The steps in their order.
    pub steps: Vec<StepResult>,
    /// Kernel messages of level "error" and worse.
    pub console: String,
    /// Real time from the emulator's start until the first step could run.
    pub boot: Duration,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq)]
pub struct StepResult {
    /// The name it was given.
    pub name: String,
    /// How it ended.
    pub ending: Ending,
    /// What it wrote.
    pub output: Vec<u8>,
    /// How long it took, by the guest's clock (hundredths of a second).
    pub took: Duration,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With this status; 128 and above: the shell was ended by a signal.
    Exit(i32),
    /// It ran into its limit, and all processes of its session were killed.
    TimedOut,
}

impl Guest {
    /// A guest with Debian's stock kernel; see [`Kernel::stock`] for which one.
    pub fn new() -> Result<Self, GuestError> {
        let guest = Guest::bare(Kernel::stock()?)?;
        Ok(guest.text("/etc/passwd", 0o644, PASSWD).text("/etc/group", 0o644, GROUP))
    }

    /// A guest that boots a Debian of this suite from a disk, see [`debian`]. What it writes there is gone with it.
    pub fn debian(suite: &str, packages: &[&str]) -> Result<Self, GuestError> {
        let kernel = Kernel::stock()?;
        let disk = debian::disk(suite, packages, &kernel)?;
        let guest = debian::MODULES.iter().fold(Guest::bare(kernel)?, |guest, module| guest.module(module));
        Ok(Guest { disk: Some(disk), ..guest })
    }

    fn bare(kernel: Kernel) -> Result<Self, GuestError> {
        if !Path::new(BUSYBOX).exists() {
            return Err(GuestError::missing(BUSYBOX, "busybox-static"));
        }
        Ok(Guest { kernel, disk: None, files: BTreeMap::new(), modules: Vec::new(), steps: Vec::new() })
    }

    /// The kernel that it will boot.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Copies a file of the host into the guest, with its mode. A program must be static: see [`Guest::program`].
    pub fn file(mut self, path: &str, from: impl Into<PathBuf>) -> Self {
        self.files.insert(path.into(), Content::Copy(from.into()));
        self
    }

    /// Copies a program of the host into the guest, with the shared libraries that it needs.
    pub fn program(mut self, path: &str, from: impl Into<PathBuf>) -> Self {
        self.files.insert(path.into(), Content::Program(from.into()));
        self
    }

    /// Writes a file with this mode and text.
    pub fn text(mut self, path: &str, mode: u32, text: impl Into<String>) -> Self {
        self.files.insert(path.into(), Content::Text(mode, text.into()));
        self
    }

    /// Loads a module of the stock kernel, and those that it needs, before the first step.
    pub fn module(mut self, name: &str) -> Self {
        self.modules.push(LoadableModule::Stock(name.into()));
        self
    }

    /// Loads a module of our own before the first step. The parameters are words of the guest's shell.
    pub fn module_file(mut self, path: impl Into<PathBuf>, parameters: &str) -> Self {
        self.modules.push(LoadableModule::Own { path: path.into(), parameters: parameters.into() });
        self
    }

    /// Runs a shell command as root, after the steps before it, also when they failed.
    pub fn step(self, name: &str, command: &str) -> Self {
        self.step_within(STEP_LIMIT, name, command)
    }

    /// The same, with a time limit by the guest's clock.
    pub fn step_within(mut self, limit: Duration, name: &str, command: &str) -> Self {
        self.steps.push(Step { name: name.into(), command: command.into(), limit });
        self
    }

    /// Boots, runs the steps, and ends the machine. Guests wait for one another before they boot.
    pub fn run(self) -> Result<Report, GuestError> {
        self.run_within(DEADLINE)
    }

    /// The same, with a limit of real time for all steps, which starts when the first can run. A machine that is stuck
    /// for two minutes is given up, and another one tried: when the kernel changes an instruction that both processors
    /// execute, as it does to attach a BPF program, QEMU 7.2 may execute the breakpoint between the old and the new one
    /// for ever (seen: the memory had the new one).
    pub fn run_within(self, deadline: Duration) -> Result<Report, GuestError> {
        match self.run_once(deadline) {
            Err(GuestError::Guest(fallen)) if fallen.console.contains("soft lockup") => {
                // Past the harness, which hides what is printed by a test that passes.
                let _ = writeln!(
                    io::stderr(),
                    "the emulator's processors were stuck, and the guest is run again:\n{}",
                    fallen.console
                );
                self.run_once(deadline)
            }
            ended => ended,
        }
    }

    fn run_once(&self, deadline: Duration) -> Result<Report, GuestError> {
        let cache = host::cache()?;
        let scratch = Scratch::new(&cache)?;
        let word = random_word()?;
        let image = scratch.path("image");
        fs::write(&image, self.image(&word)?)
            .map_err(GuestError::host(format!("write {}", image.display())))?;

        let _turn = host::turn(&cache)?;
        let start = Instant::now();
        let machine = Machine::boot(&self.kernel.image(), &image, self.disk.as_deref(), &scratch)?;
        let mut watch = Watch {
            steps: &self.steps,
            report: machine::Report::new(&word),
            finished: Vec::new(),
            boot: None,
        };
        let fall = watch.follow(machine, start, deadline)?;
        let console = machine::console(&scratch);
        match (fall, watch.boot) {
            (None, Some(boot)) => Ok(Report { steps: watch.finished, console, boot }),
            (fall, boot) => Err(GuestError::Guest(Box::new(Fallen {
                what: fall.unwrap_or_else(|| "the guest skipped its start".into()),
                during: boot.and_then(|_| self.steps.get(watch.finished.len())).map(|step| step.name.clone()),
                output: watch.report.unfinished(),
                finished: watch.finished,
                console,
            }))),
        }
    }

    fn image(&self, word: &str) -> Result<Vec<u8>, GuestError> {
        let mut image = Image::new();
        let mut load = String::new();
        for module in &self.modules {
            match module {
                LoadableModule::Stock(name) => {
                    for (name, contents) in self.kernel.module(name)? {
                        let path = format!("/guest/module/{name}.ko");
                        if !load.contains(&path) {
                            image.contents(&path, 0o644, &contents);
                            load += &format!("{path}\n");
                        }
                    }
                }
                LoadableModule::Own { path, parameters } => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    let target = format!("/guest/module/{name}");
                    copy(&mut image, &target, path)?;
                    load += &format!("{target} {parameters}\n");
                }
            }
        }
        let mut steps = String::new();
        for (number, step) in self.steps.iter().enumerate() {
            image.contents(&format!("/guest/step/{number}"), 0o644, format!("{}\n", step.command).as_bytes());
            steps += &format!("{number} {}\n", step.limit.as_secs_f64());
        }
        image.contents("/guest/modules", 0o644, load.as_bytes());
        image.contents("/guest/steps", 0o644, steps.as_bytes());
        image.contents("/guest/word", 0o600, word.as_bytes());
        image.contents("/guest/steps.sh", 0o644, STEPS.as_bytes());
        image.contents("/init", 0o755, INIT.as_bytes());
        copy(&mut image, "/bin/busybox", Path::new(BUSYBOX))?;
        let root = if self.disk.is_some() { "/guest/files" } else { "" };
        if self.disk.is_some() {
            image.contents("/guest/guest.service", 0o644, SERVICE.as_bytes());
        }
        for (path, content) in &self.files {
            let inside = format!("{root}{path}");
            match content {
                Content::Copy(from) => copy(&mut image, &inside, from)?,
                Content::Text(mode, text) => image.contents(&inside, *mode, text.as_bytes()),
                Content::Program(from) => {
                    copy(&mut image, &inside, from)?;
                    for library in libraries(from)? {
                        if !self.files.contains_key(&library) {
                            copy(&mut image, &format!("{root}{library}"), Path::new(&library))?;
                        }
                    }
                }
            }
        }
        Ok(image.finish())
    }
}

/// Hears a machine out.
struct Watch<'a> {
    steps: &'a [Step],
    report: machine::Report,
    finished: Vec<StepResult>,
    boot: Option<Duration>,
}

impl Watch<'_> {
    /// Returns when all steps have ended, or with what went wrong. The machine has ended then.
    fn follow(
        &mut self,
        mut machine: Machine,
        start: Instant,
        deadline: Duration,
    ) -> Result<Option<String>, GuestError> {
        loop {
            while let Some(line) = self.report.line() {
                match line {
                    Line::Ready => self.boot = Some(start.elapsed()),
                    Line::Failed(sentence) => {
                        return Ok(Some(format!("the guest reported \"{sentence}\"")));
                    }
                    Line::End { output, ending, took } => {
                        let Some(step) = self.steps.get(self.finished.len()) else {
                            return Ok(Some("the guest reported too many steps".into()));
                        };
                        self.finished.push(StepResult { name: step.name.clone(), ending, output, took });
                    }
                }
            }
            if self.boot.is_some() && self.finished.len() == self.steps.len() {
                return Ok(None);
            }
            let limit = self.boot.map_or(BOOT_LIMIT, |boot| boot + deadline);
            match machine.hear(start + limit)? {
                Heard::Bytes(bytes) => self.report.push(&bytes),
                Heard::Silence => {
                    return Ok(Some(format!("the guest was not done after {limit:?}")));
                }
                Heard::Ended(status) => {
                    return Ok(Some(format!("the guest went down (emulator: {status})")));
                }
            }
        }
    }
}

impl Report {
    /// The step of this name.
    ///
    /// # Panics
    /// If no step has this name: the test is wrong.
    pub fn step(&self, name: &str) -> &StepResult {
        self.steps
            .iter()
            .find(|step| step.name == name)
            .unwrap_or_else(|| panic!("no step of this guest is named \"{name}\""))
    }
}

impl StepResult {
    /// Whether it exited with status 0.
    pub fn succeeded(&self) -> bool {
        self.ending == Ending::Exit(0)
    }

    /// Its output as text.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.output)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exit(status) => write!(f, "status {status}"),
            Ending::TimedOut => f.write_str("timed out"),
        }
    }
}

fn copy(image: &mut Image, path: &str, from: &Path) -> Result<(), GuestError> {
    image.copy(path, from).map_err(GuestError::host(format!("copy {} into the guest", from.display())))
}

/// The files that a dynamic program needs, as ldd lists them; it fails for a static program, which needs none.
fn libraries(program: &Path) -> Result<Vec<String>, GuestError> {
    let output = host::start(Command::new("ldd").arg(program), "libc-bin", |command| command.output())?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .split_whitespace()
        .filter(|word| output.status.success() && word.starts_with('/'))
        .map(str::to_owned)
        .collect())
}

/// A word that nothing in the guest writes by chance.
fn random_word() -> Result<String, GuestError> {
    let file = "/proc/sys/kernel/random/uuid";
    fs::read_to_string(file)
        .map(|text| text.trim().to_owned())
        .map_err(GuestError::host(format!("read {file}")))
}
