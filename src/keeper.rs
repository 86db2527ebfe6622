//! Who takes the node away: a small process, so that the one that serves needs no right to unmount, to
//! remove files, or to see any.
//!
//! It reads nothing that comes from outside: one byte tells it what to do. It does it as well when the
//! serving process is gone, however that came.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::SigSet;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout};

use crate::confine;
use crate::node::{Place, PlaceError};
use crate::sys::fork;

/// Take the node out of sight; take away all that is left of it.
const WITHDRAW: u8 = b'w';
const CLEAR: u8 = b'c';

/// Why the node is not taken away.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// It said why.
    #[error("{0}")]
    Place(String),
    /// Somebody ended it.
    #[error(
        "cannot take the node away, since the process kmonitor-keeper, which does that, was ended: do it by hand \
         (umount -l {0}; rm {0})"
    )]
    Gone(PathBuf),
    /// It could not begin.
    #[error("cannot start the process that takes the node at {path} away: {errno}: {}", crate::remedy::remedy(*errno))]
    Start {
        /// Of which node.
        path: PathBuf,
        /// Why not.
        errno: Errno,
    },
}

/// The process, as the serving one knows it.
#[derive(Debug)]
pub struct Keeper {
    channel: UnixStream,
    child: Pid,
    path: PathBuf,
}

impl Keeper {
    /// Starts the process. To be called before this one starts a thread.
    pub fn start(mut place: Place, path: &Path) -> Result<Keeper, KeeperError> {
        let failed = |errno| KeeperError::Start { path: path.to_owned(), errno };
        let (channel, theirs) = UnixStream::pair().map_err(|error| failed(errno(&error)))?;
        let child = fork::child(|| {
            if prepare(&place, &theirs).is_ok() {
                keep(&mut place, &theirs);
            }
        })
        .map_err(failed)?;
        // What is left here of the place must not take the node away.
        place.leave();
        drop(theirs);
        let mut keeper = Keeper { channel, child, path: path.to_owned() };
        keeper.answer()?;
        Ok(keeper)
    }

    /// Takes the node out of sight while it is still served, where that can be done.
    pub fn withdraw(&mut self) -> Result<(), KeeperError> {
        self.ask(WITHDRAW)
    }

    /// Removes what is left when the node is no longer served.
    pub fn clear(&mut self) -> Result<(), KeeperError> {
        self.ask(CLEAR)
    }

    fn ask(&mut self, what: u8) -> Result<(), KeeperError> {
        self.channel.write_all(&[what]).map_err(|_| self.gone())?;
        self.answer()
    }

    /// A length, and an error of so many bytes.
    fn answer(&mut self) -> Result<(), KeeperError> {
        let mut length = [0; 4];
        self.channel.read_exact(&mut length).map_err(|_| self.gone())?;
        let mut error = vec![0; u32::from_ne_bytes(length) as usize];
        self.channel.read_exact(&mut error).map_err(|_| self.gone())?;
        if error.is_empty() {
            return Ok(());
        }
        Err(KeeperError::Place(String::from_utf8_lossy(&error).into_owned()))
    }

    fn gone(&self) -> KeeperError {
        KeeperError::Gone(self.path.clone())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.channel.shutdown(std::net::Shutdown::Both);
        let _ = waitpid(self.child, None);
    }
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

/// The child keeps the place and the channel, and of its rights those to take the node away.
fn prepare(place: &Place, channel: &UnixStream) -> io::Result<()> {
    // The terminal and the service manager signal all processes of a daemon, and this one comes last.
    SigSet::all().thread_set_mask()?;
    prctl::set_name(c"kmonitor-keeper")?;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    let mut kept = place.descriptors();
    kept.push(channel.as_raw_fd());
    fork::close_all_but(&kept)?;
    std::mem::forget(null);
    confine::keep(&confine::KEEPER).map_err(io::Error::other)?;
    confine::limit_keeper().map_err(io::Error::other)
}

fn keep(place: &mut Place, mut channel: &UnixStream) {
    let answer = |mut channel: &UnixStream, result: Result<(), PlaceError>| {
        let error = result.err().map(|error| error.to_string()).unwrap_or_default();
        let length = (error.len() as u32).to_ne_bytes();
        let _ = channel.write_all(&length).and_then(|()| channel.write_all(error.as_bytes()));
    };
    answer(channel, Ok(()));
    let mut what = [0];
    while channel.read_exact(&mut what).is_ok() {
        match what {
            [WITHDRAW] => answer(channel, place.withdraw()),
            _ => answer(channel, place.clear()),
        }
    }
    // Nobody is left to be told.
    let _ = place.withdraw();
    let _ = place.clear();
}
