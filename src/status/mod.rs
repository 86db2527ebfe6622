//! What a running daemon tells `kmonitor status` about itself: who watches whom, and what it has done.
//!
//! It comes as lines of JSON through a Unix socket, from a thread that looks at the table beside the core. The socket has
//! no file but an abstract name, made of the device's numbers: so it is found through whatever path leads to the device,
//! and leaves nothing behind. Such names belong to a network namespace, and anybody there may take one; so each side
//! makes sure that the other is root's.

mod client;
mod server;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};
use serde::{Deserialize, Serialize};

use crate::ids::Uid;
use crate::sys::statx;

pub use client::{Answer, AskError, ask};
pub use server::{About, Server};

/// The version of the lines, which changes only if a field is taken away or means something else.
pub const VERSION: u32 = 1;

/// What a client may ask for: one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The daemon's line.
    Summary,
    /// The same, and a line for each registration.
    All,
}

impl Question {
    fn byte(self) -> u8 {
        match self {
            Question::Summary => b's',
            Question::All => b'a',
        }
    }

    fn of(byte: u8) -> Option<Question> {
        [Question::Summary, Question::All].into_iter().find(|question| question.byte() == byte)
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// The first.
    Daemon(DaemonStatus),
    /// One registration.
    Registration(RegistrationStatus),
    /// The last.
    End {
        /// How many registrations were listed.
        listed: u64,
    },
}

/// The daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// [`VERSION`]
    pub v: u32,
    /// Of the program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Where the device is, as the daemon was told.
    pub path: String,
    /// What the device is.
    pub device: String,
    /// Where events come from.
    pub source: String,
    /// How long it has served.
    pub uptime_seconds: u64,
    /// How many registrations there are.
    pub registrations: u64,
    /// How many tasks have registered.
    pub monitors: u64,
    /// How many numbers they watch.
    pub targets: u64,
    /// How many open files the device has.
    pub open_files: u64,
    /// How many signals wait in the daemon.
    pub waiting_signals: u64,
    /// What it has counted since its start ([`crate::observe::Counters`]).
    pub counters: BTreeMap<String, u64>,
}

/// One registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationStatus {
    /// The task that registered.
    pub monitor: i32,
    /// Its real uid when it did.
    pub uid: u32,
    /// The number that it watches.
    pub target: i32,
    /// What it wants to be told.
    pub events: Vec<String>,
    /// The signal that tells it.
    pub signal: i32,
}

/// The name of the socket of the daemon that serves this device.
fn address(node: &Path) -> Result<SocketAddr, Errno> {
    let status = statx::cached(node, 0)?;
    let is_device = status.file_type() == libc::S_IFCHR;
    let (major, minor) = if is_device { status.node_of } else { status.device };
    SocketAddr::from_abstract_name(format!("kmonitor-status-{major}:{minor}"))
        .map_err(|error| Errno::try_from(error).unwrap_or(Errno::EINVAL))
}

/// True if the other side of the connection was root when it began.
fn is_roots(connection: impl AsFd) -> io::Result<bool> {
    let peer = getsockopt(&connection, sockopt::PeerCredentials)?;
    Ok(peer.uid() == Uid::ROOT.0)
}
