//! The side of who asks.

use std::io::{self, BufRead, BufReader, Lines, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::Question;

/// Why there is no answer. Each is a sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Not root.
    #[error("who watches whom is told to root alone: try sudo")]
    NotRoot,
    /// No device, or one whose daemon has ended.
    #[error("no daemon serves {0}: start one with `kmonitor serve`, or name its device with --path")]
    NotServed(PathBuf),
    /// There is a device, and nobody answers.
    #[error(
        "nobody answers for {0}: its daemon has ended, is older than this command, or serves in another network \
         namespace: start it again, or run this command there"
    )]
    Silent(PathBuf),
    /// The name of the daemon's socket belongs to another's program.
    #[error(
        "a program that is not root's answers for {0}: find it with `ss -xlp`, end it, and restart the daemon"
    )]
    Foreign(PathBuf),
    /// Another error.
    #[error("cannot ask the daemon of {path}: {error}: {}", crate::remedy::of(error))]
    Io {
        /// The device.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
}

/// The lines of the answer, as they came.
#[derive(Debug)]
pub struct Answer(Lines<BufReader<UnixStream>>);

impl Iterator for Answer {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<io::Result<String>> {
        self.0.next()
    }
}

/// Asks the daemon that serves this device.
pub fn ask(node: &Path, question: Question) -> Result<Answer, AskError> {
    if !geteuid().is_root() {
        return Err(AskError::NotRoot);
    }
    let failed = |error: io::Error| AskError::Io { path: node.to_owned(), error };
    let address = super::address(node).map_err(|errno| match errno {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ENOTCONN => AskError::NotServed(node.to_owned()),
        errno => failed(errno.into()),
    })?;
    let mut connection = UnixStream::connect_addr(&address).map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => AskError::Silent(node.to_owned()),
        _ => failed(error),
    })?;
    if !super::is_roots(&connection).map_err(failed)? {
        return Err(AskError::Foreign(node.to_owned()));
    }
    connection.write_all(&[question.byte()]).map_err(failed)?;
    Ok(Answer(BufReader::new(connection).lines()))
}
