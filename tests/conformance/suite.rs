//! The suite's programs, built from their C sources.

use crate::guest::{GuestError, host};
use nix::fcntl::{Flock, FlockArg};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether programs have 64- or 32-bit pointers and registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// As on amd64.
    B64,
    /// As on i386.
    B32,
}

impl Bits {
    /// Both.
    pub const ALL: [Bits; 2] = [Bits::B64, Bits::B32];

    /// The name of the suite's program.
    pub fn program(self) -> &'static str {
        match self {
            Bits::B64 => "conformance",
            Bits::B32 => "conformance32",
        }
    }

    fn compiler_option(self) -> &'static str {
        match self {
            Bits::B64 => "-m64",
            Bits::B32 => "-m32",
        }
    }

    /// Debian's package with the C library to link against.
    fn library_package(self) -> &'static str {
        match self {
            Bits::B64 => "libc6-dev",
            Bits::B32 => "gcc-multilib",
        }
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bits::B64 => "64-bit",
            Bits::B32 => "32-bit",
        })
    }
}

/// The suite, ready to run.
#[derive(Debug)]
pub struct Suite {
    directory: PathBuf,
}

/// A case as `conformance -l` lists it.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The numbers of the facts that it checks.
    pub fact: String,
    /// Whether an asynchronous implementation may go either way.
    pub timing: bool,
}

impl Suite {
    /// Builds what is not built yet, or has changed.
    pub fn build() -> Result<Suite, GuestError> {
        require_compilers()?;
        let directory = directory();
        let _lock = lock(&directory.join("Makefile"))?;
        host::run(Command::new("make").arg("--silent").arg("-C").arg(&directory), "make")?;
        Ok(Suite { directory })
    }

    /// The program on this host.
    pub fn program(&self, bits: Bits) -> PathBuf {
        self.directory.join(bits.program())
    }

    /// All cases, in the order in which they run.
    pub fn list(&self, bits: Bits) -> Result<Vec<Listed>, GuestError> {
        let output = host::run(Command::new(self.program(bits)).arg("-l"), "libc6")?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().map(Listed::parse).collect())
    }
}

impl Listed {
    fn parse(line: &str) -> Listed {
        let [name, fact, property, _claim] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("conformance -l prints name, fact, property and claim, not {line:?}");
        };
        Listed { name: name.to_owned(), fact: fact.to_owned(), timing: property == "timing" }
    }
}

/// Where the suite and its lists are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

/// The compiler's messages would not name the packages.
fn require_compilers() -> Result<(), GuestError> {
    for bits in Bits::ALL {
        let mut compiler = Command::new("gcc");
        compiler.args([bits.compiler_option(), "-print-file-name=libc.a"]);
        let found = host::run(&mut compiler, "gcc")?.stdout;
        // A library that is not there is answered by its bare name.
        if !found.contains(&b'/') {
            return Err(GuestError::missing(format!("the {bits} C library"), bits.library_package()));
        }
    }
    Ok(())
}

/// Two test programs must not build in one directory at the same time.
fn lock(path: &Path) -> Result<Flock<File>, GuestError> {
    let action = || format!("lock {}", path.display());
    let file = File::open(path).map_err(GuestError::host(action()))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| GuestError::host(action())(errno.into()))
}
