//! The place of a CUSE device: its node in /dev, which devtmpfs makes, or we where there is none.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::stat::{Mode, SFlag, mknod};

use crate::sys::procfs;

use super::Ownership;
use super::place::{PlaceError, io_error};

/// The first of the two ranges of major numbers that the kernel gives out by itself.
pub(super) const FIRST_DYNAMIC_MAJOR: u64 = 234;

/// How long udev may take to apply its own rules to a new device.
const UDEV: Duration = Duration::from_secs(10);

/// How much earlier than the clock says a new file may be dated.
const TICK: Duration = Duration::from_millis(10);

/// The node of a device that is being served.
#[derive(Debug)]
pub struct DeviceNode {
    path: PathBuf,
    /// Its device number.
    number: u64,
    /// Made by us, not by devtmpfs, which takes its own away.
    made: bool,
}

impl DeviceNode {
    /// Makes sure that nothing is at the path, so that devtmpfs can make the node there: it makes
    /// none, and says nothing, where a file is.
    pub fn make_room(path: &Path, name: &str) -> Result<(), PlaceError> {
        // There can be one device of a name, wherever its node is.
        if device_number(name).is_some() {
            return Err(PlaceError::Served(path.to_owned()));
        }
        DeviceNode::clear_leftover(path, name)?;
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_error("examine", path)(error)),
            Ok(_) => Err(PlaceError::NotOurs { path: path.to_owned(), what: "not a device" }),
        }
    }

    /// Takes away a node whose device is gone; an error if another device is there, ours or not.
    pub fn clear_leftover(path: &Path, name: &str) -> Result<(), PlaceError> {
        let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
        if !found.file_type().is_char_device() {
            return Ok(());
        }
        if device_number(name) == Some(found.rdev()) {
            return Err(PlaceError::Served(path.to_owned()));
        }
        let (major, minor) = (nix::sys::stat::major(found.rdev()), nix::sys::stat::minor(found.rdev()));
        let dead = !Path::new(&format!("/sys/dev/char/{major}:{minor}")).exists();
        if !dead || major < FIRST_DYNAMIC_MAJOR {
            let what = "a device node: the original driver's, or one made by mknod";
            return Err(PlaceError::NotOurs { path: path.to_owned(), what });
        }
        fs::remove_file(path).map_err(io_error("remove the dead device node", path))
    }

    /// Finds the node of the device that was made since, or makes it; gives it to its owner.
    pub fn settle(
        path: &Path,
        name: &str,
        ownership: Ownership,
        since: SystemTime,
    ) -> Result<DeviceNode, PlaceError> {
        let number = device_number(name).ok_or_else(|| PlaceError::NoDevice(path.to_owned()))?;
        let made = match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_char_device() && found.rdev() == number => false,
            Ok(_) => return Err(PlaceError::NotOurs { path: path.to_owned(), what: "not our device" }),
            Err(_) => mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), number)
                .map(|()| true)
                .map_err(|errno| io_error("make the device node", path)(errno.into()))?,
        };
        let node = DeviceNode { path: path.to_owned(), number, made };
        node.own(ownership)?;
        // udev applies its rules, or its defaults, a moment after the device has come; what was asked
        // for on our command line wins.
        if wait_for_udev(number, since) {
            node.own(ownership)?;
        }
        Ok(node)
    }

    /// False if our mount namespace is not that of the system, which has another /dev.
    pub fn is_seen_outside(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| {
            let (major, minor) = (nix::sys::stat::major(found.dev()), nix::sys::stat::minor(found.dev()));
            procfs::is_mounted_outside(&format!("{major}:{minor}"))
        })
    }

    fn own(&self, ownership: Ownership) -> Result<(), PlaceError> {
        chown(&self.path, Some(ownership.uid), Some(ownership.gid))
            .and_then(|()| fs::set_permissions(&self.path, fs::Permissions::from_mode(ownership.mode)))
            .map_err(io_error("set the owner and mode of", &self.path))
    }

    /// Removes a node that devtmpfs does not remove: one that we made. The device is gone by now, and
    /// another daemon's may have its number.
    pub fn clear(&self) -> Result<(), PlaceError> {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if self.made && found.file_type().is_char_device() && found.rdev() == self.number => {
                match fs::remove_file(&self.path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                    result => result.map_err(io_error("remove", &self.path)),
                }
            }
            _ => Ok(()),
        }
    }
}

/// The number of the CUSE device of this name, as sysfs has it.
pub(super) fn device_number(name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/sys/class/cuse/{name}/dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some(nix::sys::stat::makedev(major.parse().ok()?, minor.parse().ok()?))
}

/// Waits until udev has dealt with the device that came since this moment; false if no udev runs.
fn wait_for_udev(number: u64, since: SystemTime) -> bool {
    if !Path::new("/run/udev/control").exists() {
        return false;
    }
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    let record = PathBuf::from(format!("/run/udev/data/c{major}:{minor}"));
    // A record may be left of an earlier device with the same number.
    let is_new =
        || fs::metadata(&record).and_then(|record| record.modified()).is_ok_and(|time| time + TICK >= since);
    let deadline = Instant::now() + UDEV;
    while !is_new() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}
