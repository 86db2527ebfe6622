//! The host's side of the preparation: tools, the cache below cargo's target directory, locks.

use super::GuestError;
use nix::fcntl::{Flock, FlockArg};
use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// The directory that holds kernels and modules from one run of the tests to the next.
pub fn cache() -> Result<PathBuf, GuestError> {
    let cache = target_directory()?.join("guest");
    fs::create_dir_all(&cache).map_err(GuestError::host(format!("create {}", cache.display())))?;
    Ok(cache)
}

/// Cargo's target directory, which Cargo marks with a file; the running test lies somewhere below it.
pub fn target_directory() -> Result<PathBuf, GuestError> {
    let test = env::current_exe().map_err(GuestError::host("find the running test"))?;
    let marked = test.ancestors().find(|directory| directory.join("CACHEDIR.TAG").exists());
    Ok(match marked {
        Some(directory) => directory.to_owned(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
    })
}

/// Runs a tool to its end and returns what it wrote; `package` brings the tool.
pub fn run(command: &mut Command, package: &str) -> Result<Output, GuestError> {
    let output = start(command, package, Command::output)?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(GuestError::tool(format!("run {command:?}"), &output))
    }
}

/// Starts a tool in the given way; one that is not there is named with its package.
pub fn start<T>(
    command: &mut Command,
    package: &str,
    how: impl FnOnce(&mut Command) -> io::Result<T>,
) -> Result<T, GuestError> {
    how(command).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => GuestError::missing(command.get_program().to_string_lossy(), package),
        _ => GuestError::host(format!("run {command:?}"))(error),
    })
}

/// Makes the directory of this name in the cache, once for all tests and processes: a lock keeps others waiting, and
/// what `make` made gets its name only when it is complete.
pub fn once(name: &str, make: impl FnOnce(&Path) -> Result<(), GuestError>) -> Result<PathBuf, GuestError> {
    let cache = cache()?;
    let _lock = lock(&cache.join(format!("make-{name}.lock")))?;
    let wanted = cache.join(name);
    if !wanted.exists() {
        let unfinished = Scratch::new(&cache)?;
        let directory = unfinished.path(name);
        let shown = directory.display();
        fs::create_dir(&directory).map_err(GuestError::host(format!("create {shown}")))?;
        make(&directory)?;
        fs::rename(&directory, &wanted)
            .map_err(GuestError::host(format!("rename {shown} to {}", wanted.display())))?;
    }
    Ok(wanted)
}

/// Waits for the lock of this name; it is given back when the value is dropped.
fn lock(path: &Path) -> Result<Flock<File>, GuestError> {
    let action = || format!("lock {}", path.display());
    let file = File::create(path).map_err(GuestError::host(action()))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| GuestError::host(action())(errno.into()))
}

/// The right to run a guest. An emulated machine keeps a processor or two busy: as many may run at once, in all
/// processes together, as the host has pairs of processors, so that a test's time limits mean the same on every host.
pub fn turn(cache: &Path) -> Result<Flock<File>, GuestError> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let places = u32::try_from((processors / 2).max(1)).unwrap_or(u32::MAX);
    let place = |number: u32| cache.join(format!("turn-{number}.lock"));
    for number in 0..places {
        let path = place(number);
        let file = File::create(&path).map_err(GuestError::host(format!("open {}", path.display())))?;
        if let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            return Ok(lock);
        }
    }
    static QUEUE: AtomicU32 = AtomicU32::new(0);
    let spread = std::process::id().wrapping_add(QUEUE.fetch_add(1, Ordering::Relaxed));
    lock(&place(spread % places))
}

/// A directory of its own, removed with all it holds when the value is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A fresh directory in the cache.
    pub fn new(cache: &Path) -> Result<Self, GuestError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = cache.join(format!("run-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).map_err(GuestError::host(format!("create {}", path.display())))?;
        Ok(Scratch(path))
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed lies in the target directory and harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
