//! A child process that is there before it executes its program, so that it can be watched from the first moment.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::thread::{self, JoinHandle};

use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid, User, getgrouplist, pipe2, read, setgid, setgroups, setuid, write};

/// The name of a child that waits, as in /proc/PID/comm.
pub const NAME: &str = "kmonitor-spawn";

/// A child that waits. Dropped, it ends.
#[derive(Debug)]
pub struct Held {
    pid: i32,
    go: OwnedFd,
    /// It waits until the child has executed its program.
    spawning: JoinHandle<io::Result<Child>>,
}

impl Held {
    /// Makes the child. What `prepare` has the command do before its exec comes after the wait.
    pub fn new(
        mut command: Command,
        prepare: impl FnOnce(&mut Command) -> io::Result<()>,
    ) -> io::Result<Held> {
        let (pid_out, pid_in) = pipe2(OFlag::O_CLOEXEC)?;
        let (go_out, go_in) = pipe2(OFlag::O_CLOEXEC)?;
        let others_end = go_in.as_raw_fd();
        let hold = move || -> io::Result<()> {
            write(&pid_in, &std::process::id().to_ne_bytes())?;
            // SAFETY: this copy of the descriptor is the child's alone, where nothing else uses it.
            unsafe { libc::close(others_end) };
            match read(&go_out, &mut [0])? {
                0 => Err(io::ErrorKind::Interrupted.into()),
                _ => Ok(()),
            }
        };
        // SAFETY: between fork and exec only async-signal-safe calls are allowed, and the closure makes write, getpid,
        // close and read.
        unsafe { command.pre_exec(hold) };
        prepare(&mut command)?;
        let spawning = thread::Builder::new().name(NAME.to_owned()).spawn(move || command.spawn())?;
        let mut pid = [0; 4];
        match read(&pid_out, &mut pid) {
            Ok(4) => Ok(Held { pid: i32::from_ne_bytes(pid), go: go_in, spawning }),
            // There is no child.
            _ => Err(join(spawning).err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Its id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Lets it execute its program, and waits until it has.
    pub fn release(self) -> io::Result<Child> {
        write(&self.go, b"g")?;
        join(self.spawning)
    }
}

fn join(spawning: JoinHandle<io::Result<Child>>) -> io::Result<Child> {
    spawning.join().unwrap_or_else(|_| Err(io::Error::other("the thread that makes the child has ended")))
}

/// Who a child is to be.
#[derive(Clone, Debug)]
pub struct Identity {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Identity {
    /// The user of this number, with all groups, as after a login. NotFound: there is none.
    pub fn of(uid: u32) -> io::Result<Identity> {
        let user = User::from_uid(Uid::from_raw(uid))?.ok_or(io::ErrorKind::NotFound)?;
        let name = CString::new(user.name)?;
        Ok(Identity { uid: user.uid, gid: user.gid, groups: getgrouplist(&name, user.gid)? })
    }

    /// Has the program started as this.
    pub fn assume(self, command: &mut Command) -> &mut Command {
        let Identity { uid, gid, groups } = self;
        // SAFETY: between fork and exec only async-signal-safe calls are allowed, and the closure makes setgroups, setgid
        // and setuid.
        unsafe {
            command.pre_exec(move || {
                setgroups(&groups)?;
                setgid(gid)?;
                Ok(setuid(uid)?)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::procfs::process_stat;

    #[test]
    fn a_held_child_is_there_and_has_executed_nothing() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 7"]);
        let held = Held::new(command, |_| Ok(())).expect("a child");
        let own = std::fs::read_link("/proc/self/exe").expect("/proc");
        assert_eq!(std::fs::read_link(format!("/proc/{}/exe", held.pid())).expect("it lives"), own);
        let mut child = held.release().expect("sh is everywhere");
        assert_eq!(child.wait().expect("wait").code(), Some(7));
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_after_the_release() {
        let held = Held::new(Command::new("/no/such/program"), |_| Ok(())).expect("a child");
        assert_eq!(held.release().expect_err("no program").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_held_child_that_is_dropped_ends() {
        let held = Held::new(Command::new("true"), |_| Ok(())).expect("a child");
        let pid = held.pid();
        drop(held);
        while process_stat(pid).is_some() {
            std::thread::yield_now();
        }
    }
}
