//! Descriptors: each target and each monitor takes one, and serving takes some that they must leave.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What is left for everything but pidfds: `/proc`, the source's socket.
pub const RESERVED: u64 = 16;

/// With fewer in all there is no point in serving.
pub const LEAST: u64 = 64;

/// Allows us as many as the system lets us; tells how many that are.
pub fn raise_limit() -> Result<u64, Errno> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// True if this new descriptor leaves `spare` more. The kernel gives out the lowest number that is free.
pub fn leaves(spare: u64, descriptor: impl AsFd) -> bool {
    let used = descriptor.as_fd().as_raw_fd() as u64;
    getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(limit, _)| used + spare < limit)
}
