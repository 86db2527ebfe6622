//! A netlink socket of the connector family.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, NetlinkAddr, bind, recvfrom, sendto, setsockopt, sockopt};

/// One instruction of a classic socket filter.
pub type FilterInsn = libc::sock_filter;

/// A non-blocking netlink connector socket, closed on exec.
#[derive(Debug)]
pub struct ConnectorSocket(OwnedFd);

impl ConnectorSocket {
    /// `socket(AF_NETLINK, SOCK_DGRAM, NETLINK_CONNECTOR)`. EPROTONOSUPPORT: the kernel has no
    /// connector.
    pub fn open() -> Result<ConnectorSocket, Errno> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers; the result is checked before it is taken for a descriptor.
        let fd = Errno::result(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_CONNECTOR) })?;
        // SAFETY: the kernel has just made this descriptor, and nobody else has it.
        Ok(ConnectorSocket(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// `bind(2)` to an address of the kernel's choice and to these multicast groups.
    pub fn bind(&self, groups: u32) -> Result<(), Errno> {
        bind(self.0.as_raw_fd(), &NetlinkAddr::new(0, groups))
    }

    /// Asks for a receive queue of this many bytes: `SO_RCVBUFFORCE`, or what the system's limit
    /// allows where that is not permitted. The kernel doubles what it is told.
    pub fn set_receive_buffer(&self, bytes: usize) -> Result<(), Errno> {
        let bytes = bytes / 2;
        setsockopt(&self.0, sockopt::RcvBufForce, &bytes)
            .or_else(|_| setsockopt(&self.0, sockopt::RcvBuf, &bytes))
    }

    /// `SO_ATTACH_FILTER`: from now on the kernel queues only messages that the program accepts.
    /// EINVAL: the program is malformed or has more than 4096 instructions.
    pub fn attach_filter(&self, program: &mut [FilterInsn]) -> Result<(), Errno> {
        let len = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
        let filter = libc::sock_fprog { len, filter: program.as_mut_ptr() };
        // SAFETY: `filter` describes `program`, and both outlive the call, which copies them.
        let result = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const filter).cast(),
                size_of::<libc::sock_fprog>() as libc::socklen_t,
            )
        };
        Errno::result(result).map(drop)
    }

    /// `SO_MEMINFO`: how many datagrams the kernel has dropped because the queue was full, modulo 2^32.
    pub fn dropped(&self) -> Result<u32, Errno> {
        const DROPS: usize = 8;
        let mut info = [0u32; DROPS + 1];
        let mut length = size_of_val(&info) as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes into `info`.
        let result = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                info.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        Errno::result(result).map(|_| info[DROPS])
    }

    /// Sends one datagram to the kernel.
    pub fn send(&self, datagram: &[u8]) -> Result<(), Errno> {
        sendto(self.0.as_raw_fd(), datagram, &NetlinkAddr::new(0, 0), MsgFlags::empty()).map(drop)
    }

    /// Takes the next datagram off the queue, without waiting: its length and its sender's port id,
    /// which is 0 for the kernel alone. EAGAIN: the queue is empty. ENOBUFS: it ran over since the
    /// last call, and datagrams are lost.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<(usize, u32), Errno> {
        loop {
            match recvfrom::<NetlinkAddr>(self.0.as_raw_fd(), buffer) {
                Ok((len, sender)) => return Ok((len, sender.map_or(u32::MAX, |address| address.pid()))),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl AsFd for ConnectorSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
