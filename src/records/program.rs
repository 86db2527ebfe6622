//! What a process executes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::process::Process;

/// What a process executes, as far as it is known, byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Its name, as in /proc/PID/comm.
    pub comm: Option<Vec<u8>>,
    /// The file.
    pub executable: Option<Vec<u8>>,
    /// Its arguments, the first of which is its name for itself.
    pub args: Option<Vec<Vec<u8>>>,
    /// There are more arguments, or the last is longer.
    pub is_cut: bool,
}

impl Program {
    /// What a record says that the process executes; `None` if it says nothing of that.
    pub fn of(process: &Process) -> Option<Program> {
        let program = Program {
            comm: process.comm_bytes(),
            executable: process.executable_bytes(),
            args: process.args_bytes(),
            is_cut: process.args_truncated.unwrap_or(false),
        };
        (program != Program { is_cut: program.is_cut, ..Program::default() }).then_some(program)
    }

    /// A short name: that of the file, else the process's, else the first argument's.
    pub fn name(&self) -> Option<&[u8]> {
        let own = || self.args.as_ref()?.first().map(Vec::as_slice);
        let file = self.executable.as_deref().map(base_name).filter(|name| !name.is_empty());
        file.or(self.comm.as_deref()).or_else(|| own().map(base_name)).filter(|name| !name.is_empty())
    }
}

/// The name of a file, without its directory; all of it if it has none.
pub fn base_name(path: &[u8]) -> &[u8] {
    Path::new(OsStr::from_bytes(path)).file_name().map_or(path, OsStr::as_bytes)
}
