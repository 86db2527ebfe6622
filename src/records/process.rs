//! What a record says of a process.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::program::Program;

/// A process, as far as it is known at the event. `None`: the source does not tell.
///
/// Until its first exec, a new process has name, file and arguments of the one that made it, which is what
/// the kernel does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// One life of one process on one boot: `BOOT:PID:START`, from /proc/sys/kernel/random/boot_id, and field 22
    /// of /proc/PID/stat.
    pub entity_id: Option<String>,
    /// The process that made it, or whose child it was when it was seen.
    pub ppid: Option<i32>,
    /// Its real uid.
    pub uid: Option<u32>,
    /// Its name, as in /proc/PID/comm; what is not UTF-8 is replaced.
    pub comm: Option<String>,
    /// The file that it executes, as `execve(2)` was given it; if the process was seen, as /proc/PID/exe names
    /// it. What is not UTF-8 is replaced.
    pub executable: Option<String>,
    /// Its arguments, the first of which is the program's name for itself; what is not UTF-8 is replaced.
    pub args: Option<Vec<String>>,
    /// There are more arguments, or the last is longer.
    pub args_truncated: Option<bool>,
    /// Its control group, in the unified hierarchy, when it executed its program or was seen.
    pub cgroup: Option<String>,
    /// The bytes of `comm` in Base64, if they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comm_b64: Option<String>,
    /// The bytes of `executable` in Base64, if they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable_b64: Option<String>,
    /// The bytes of all arguments in Base64, if any are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args_b64: Option<Vec<String>>,
}

/// A process that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The process.
    #[serde(flatten)]
    pub process: Process,
    /// Its exit code. `None`: a signal killed it, or the source does not tell.
    pub exit_code: Option<i32>,
    /// The number of the signal that killed it.
    pub signal: Option<i32>,
    /// It left a core dump.
    pub core_dumped: Option<bool>,
    /// How long it lived, in nanoseconds: of a command that kmonitor runs, from its exec.
    pub duration_ns: Option<u64>,
    /// Its time on processors, in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// The most memory that it had at a time, in bytes.
    pub peak_memory: Option<u64>,
}

impl Process {
    /// Its name in bytes.
    pub fn comm_bytes(&self) -> Option<Vec<u8>> {
        bytes(self.comm.as_deref(), self.comm_b64.as_deref())
    }

    /// The file that it executes in bytes.
    pub fn executable_bytes(&self) -> Option<Vec<u8>> {
        bytes(self.executable.as_deref(), self.executable_b64.as_deref())
    }

    /// Its arguments in bytes.
    pub fn args_bytes(&self) -> Option<Vec<Vec<u8>>> {
        let exact = self.args_b64.iter().flatten().map(|argument| BASE64.decode(argument));
        match exact.collect::<Result<Vec<_>, _>>() {
            Ok(exact) if self.args_b64.is_some() => Some(exact),
            _ => Some(self.args.as_ref()?.iter().map(|argument| argument.clone().into_bytes()).collect()),
        }
    }

    /// Sets its name.
    pub fn set_comm(&mut self, comm: &[u8]) {
        (self.comm, self.comm_b64) = text(comm);
    }

    /// Sets the file that it executes.
    pub fn set_executable(&mut self, executable: &[u8]) {
        (self.executable, self.executable_b64) = text(executable);
    }

    /// Sets what it executes; what is not known stays as it is.
    pub fn set_program(&mut self, program: &Program) {
        if let Some(comm) = &program.comm {
            self.set_comm(comm);
        }
        if let Some(executable) = &program.executable {
            self.set_executable(executable);
        }
        if let Some(args) = &program.args {
            self.set_args(args, program.is_cut);
        }
    }

    /// Sets its arguments, of which there may be more.
    pub fn set_args(&mut self, args: &[Vec<u8>], are_truncated: bool) {
        let is_text = args.iter().all(|argument| str::from_utf8(argument).is_ok());
        self.args =
            Some(args.iter().map(|argument| String::from_utf8_lossy(argument).into_owned()).collect());
        self.args_b64 = (!is_text).then(|| args.iter().map(|argument| BASE64.encode(argument)).collect());
        self.args_truncated = Some(are_truncated);
    }
}

fn bytes(text: Option<&str>, exact: Option<&str>) -> Option<Vec<u8>> {
    exact.and_then(|exact| BASE64.decode(exact).ok()).or_else(|| Some(text?.as_bytes().to_vec()))
}

fn text(bytes: &[u8]) -> (Option<String>, Option<String>) {
    let exact = str::from_utf8(bytes).is_err().then(|| BASE64.encode(bytes));
    (Some(String::from_utf8_lossy(bytes).into_owned()), exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_kept() {
        let mut process = Process::default();
        let args = [b"a".to_vec(), b"\xff b".to_vec()];
        process.set_args(&args, false);
        process.set_comm(b"\xfe");
        process.set_executable(b"/\xfd");
        assert_eq!(process.args, Some(vec!["a".to_owned(), "\u{fffd} b".to_owned()]));
        assert_eq!(process.args_b64, Some(vec!["YQ==".to_owned(), "/yBi".to_owned()]));
        assert_eq!(process.args_bytes().as_deref(), Some(&args[..]));
        assert_eq!(
            (process.comm_bytes(), process.executable_bytes()),
            (Some(vec![0xfe]), Some(vec![b'/', 0xfd]))
        );
        process.set_args(&args[..1], true);
        assert_eq!((process.args_b64.is_none(), process.args_truncated), (true, Some(true)));
        assert_eq!(process.args_bytes().as_deref(), Some(&args[..1]));
        assert_eq!(Process::default().args_bytes(), None);
    }
}
