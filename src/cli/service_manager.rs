//! What a service manager is told (sd_notify(3)): by a socket that is connected while it can be reached.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How long the service manager may take to have room for a line.
const ROOM: Duration = Duration::from_secs(1);

/// The service manager, if one has started us and wants to be told.
pub struct ServiceManager(Option<UnixDatagram>);

impl ServiceManager {
    /// The one that `NOTIFY_SOCKET` names.
    pub fn connect() -> ServiceManager {
        ServiceManager(env::var_os("NOTIFY_SOCKET").and_then(|address| connect(&address).ok()))
    }

    /// Tells it one assignment. Without it nobody is left who cares.
    pub fn tell(&self, state: &str) {
        if let Some(socket) = &self.0 {
            let _ = socket.send(state.as_bytes());
        }
    }
}

/// An address that begins with an `@` has no file.
fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(ROOM))?;
    socket.connect_addr(&address)?;
    Ok(socket)
}
