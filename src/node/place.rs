//! Which carrier serves where: a node put in its place, and taken away from it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use nix::errno::Errno;

use crate::remedy::{self, remedy};

use super::cuse::{CUSE_DEVICE, CuseNode};
use super::device_node::DeviceNode;
use super::fuse::FuseNode;
use super::mount_point::MountPoint;
use super::{Node, Ownership};

pub(super) const FUSE_DEVICE: &str = "/dev/fuse";

/// What carries the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carrier {
    /// CUSE where the kernel has it and the place is in /dev, else FUSE.
    #[default]
    Auto,
    /// A character device.
    Cuse,
    /// A mounted file.
    Fuse,
}

/// Why a node cannot be put at a path. Each is a sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Another daemon serves it.
    #[error(
        "{0} is already served by another kmonitor: use that one, or stop it first, \
         or choose another --path"
    )]
    Served(PathBuf),
    /// A mount of ours is there, and its daemon does not answer.
    #[error(
        "{0} is a kmonitor mount whose daemon does not answer: continue or kill that daemon \
         (is it stopped?), then try again"
    )]
    Unresponsive(PathBuf),
    /// The path is taken.
    #[error("{path} exists and is not kmonitor's ({what}): remove it, or choose another place with --path")]
    NotOurs {
        /// The path.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// No FUSE.
    #[error(
        "the kernel offers no FUSE ({FUSE_DEVICE} is missing): load it with `modprobe fuse`; \
         in a container, pass the device in (--device {FUSE_DEVICE})"
    )]
    NoFuse,
    /// No CUSE.
    #[error(
        "the kernel offers no CUSE ({CUSE_DEVICE}: {0}): load it with `modprobe cuse`, \
         boot a kernel with CONFIG_CUSE, or use --node fuse"
    )]
    NoCuse(io::Error),
    /// CUSE devices live in /dev.
    #[error("a character device can only be made directly in /dev, not at {0}: use --node fuse there")]
    OutsideDev(PathBuf),
    /// CUSE took our device and did not make it.
    #[error(
        "the kernel did not make the device for {0}: look at `dmesg` for the reason (its name may be taken)"
    )]
    NoDevice(PathBuf),
    /// We may not mount.
    #[error(
        "cannot mount the node over {0}: this process lacks the capability CAP_SYS_ADMIN, which mounting \
         takes: run it as root with all capabilities (sudo; in a container --privileged, or \
         --cap-add SYS_ADMIN --device {FUSE_DEVICE})"
    )]
    MountForbidden(PathBuf),
    /// The mount was refused.
    #[error("cannot mount the node over {path}: {errno}: {}", remedy(*errno))]
    Mount {
        /// Where.
        path: PathBuf,
        /// Why not.
        errno: Errno,
    },
    /// Somebody else changes what is there.
    #[error("{0} is replaced by something else again and again: use a directory of root's alone")]
    Replaced(PathBuf),
    /// Somebody has mounted something over the node.
    #[error(
        "cannot unmount the node at {0}, since something else is mounted over it: take that away first \
         (umount {0}), then what is left of the node (umount -l {0} && rm {0})"
    )]
    Hidden(PathBuf),
    /// A system call failed.
    #[error("cannot {action} {path}: {error}: {}", remedy::of(error))]
    Io {
        /// What we wanted.
        action: &'static str,
        /// Of which file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl PlaceError {
    /// The mount over this path was refused.
    pub(super) fn mount(path: &Path, errno: Errno) -> PlaceError {
        match errno {
            Errno::EPERM => PlaceError::MountForbidden(path.to_owned()),
            errno => PlaceError::Mount { path: path.to_owned(), errno },
        }
    }
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PlaceError {
    let path = path.to_owned();
    move |error| PlaceError::Io { action, path, error }
}

/// A node in its place, for the core; and the place, which outlives the core.
pub struct Served {
    /// For the core thread.
    pub node: Box<dyn Node + Send>,
    /// To be withdrawn and cleared.
    pub place: Place,
    /// What serves, and why that.
    pub carrier: String,
    /// What the user should know of the place.
    pub warning: Option<String>,
}

/// Where a node is.
#[derive(Debug)]
pub struct Place(Kind);

#[derive(Debug)]
enum Kind {
    Mount(Option<MountPoint>),
    Device(DeviceNode),
}

impl Place {
    /// Takes the node out of sight while it is still served, where the carrier can; clients may hold
    /// it open.
    pub fn withdraw(&mut self) -> Result<(), PlaceError> {
        let Kind::Mount(point) = &mut self.0 else { return Ok(()) };
        point.take().map_or(Ok(()), MountPoint::clear)
    }

    /// The descriptors by which it holds what it will take away.
    pub fn descriptors(&self) -> Vec<RawFd> {
        match &self.0 {
            Kind::Mount(Some(point)) => point.descriptors().to_vec(),
            _ => Vec::new(),
        }
    }

    /// Lets go of the place without taking anything away: another process does.
    pub fn leave(self) {
        if let Kind::Mount(Some(point)) = self.0 {
            point.leave();
        }
    }

    /// Removes what is left when the node is no longer served.
    pub fn clear(&mut self) -> Result<(), PlaceError> {
        match &self.0 {
            Kind::Mount(_) => self.withdraw(),
            Kind::Device(node) => node.clear(),
        }
    }
}

/// Puts a node at the path and has it served by the carrier.
pub fn serve(path: &Path, ownership: Ownership, carrier: Carrier) -> Result<Served, PlaceError> {
    let why = match (carrier, name_in_dev(path)) {
        (Carrier::Fuse, _) => "as asked for",
        (Carrier::Cuse, None) => return Err(PlaceError::OutsideDev(path.to_owned())),
        (Carrier::Auto, None) => "since a character device could not be made outside /dev",
        (Carrier::Cuse, Some(name)) => {
            let cuse = open_cuse().map_err(PlaceError::NoCuse)?;
            return device(cuse, path, name, ownership, "as asked for");
        }
        (Carrier::Auto, Some(name)) => match open_cuse() {
            Ok(cuse) => return device(cuse, path, name, ownership, "since the kernel has CUSE"),
            Err(_) => "since the kernel has no CUSE",
        },
    };
    mount(path, ownership, why)
}

/// What to say of a node that is in a mount namespace of our own.
fn unseen(path: &Path) -> String {
    format!(
        "programs outside this mount namespace do not see {}: start kmonitor outside it, that is, neither by \
         unshare -m nor in a unit with PrivateTmp=, ProtectHome= and the like",
        path.display()
    )
}

/// The name of the device whose node would be at this path.
pub(super) fn name_in_dev(path: &Path) -> Option<&str> {
    (path.parent() == Some(Path::new("/dev"))).then(|| path.file_name()?.to_str())?
}

fn mount(path: &Path, ownership: Ownership, why: &str) -> Result<Served, PlaceError> {
    if !Path::new(FUSE_DEVICE).exists() {
        return Err(PlaceError::NoFuse);
    }
    // A CUSE device of ours may be there, or the node that one leaves behind where there is no devtmpfs.
    if let Some(name) = name_in_dev(path) {
        DeviceNode::clear_leftover(path, name)?;
    }
    let mut point = MountPoint::prepare(path)?;
    let device = point.mount()?;
    let seen = point.is_seen_outside()?;
    let node = FuseNode::new(device, path, ownership).map_err(io_error("serve the node at", path))?;
    Ok(Served {
        node: Box::new(node),
        place: Place(Kind::Mount(Some(point))),
        carrier: format!("a FUSE mount, {why}"),
        warning: (!seen).then(|| unseen(path)),
    })
}

fn device(
    cuse: File,
    path: &Path,
    name: &str,
    ownership: Ownership,
    why: &str,
) -> Result<Served, PlaceError> {
    // A FUSE mount of ours may be there, served or dead, or the file that one leaves behind.
    MountPoint::clear_leftover(path)?;
    DeviceNode::make_room(path, name)?;
    let begun = SystemTime::now();
    let node = CuseNode::create(cuse, name).map_err(io_error("make a device of", Path::new(CUSE_DEVICE)))?;
    if !node.exists() {
        return Err(PlaceError::NoDevice(path.to_owned()));
    }
    let place = DeviceNode::settle(path, name, ownership, begun)?;
    let warning = (!place.is_seen_outside()).then(|| unseen(path));
    Ok(Served {
        node: Box::new(node),
        place: Place(Kind::Device(place)),
        carrier: format!("a CUSE character device, {why}"),
        warning,
    })
}

/// Asks the kernel for CUSE. Its node alone says little: distributions make it at boot, and opening it
/// loads the module, or fails.
fn open_cuse() -> io::Result<File> {
    let open = || OpenOptions::new().read(true).write(true).open(CUSE_DEVICE);
    open().or_else(|_| {
        // Whether it could be loaded shows in the device alone.
        let _ = Command::new("modprobe")
            .args(["-q", "cuse"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        open()
    })
}
