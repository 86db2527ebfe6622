//! Control groups by number.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::sys::procfs;

/// All groups are looked at no more often than this.
const PAUSE: Duration = Duration::from_millis(100);

/// The groups of the unified hierarchy, as /proc/PID/cgroup names them.
#[derive(Debug)]
pub struct Cgroups {
    mount: Option<PathBuf>,
    paths: HashMap<u64, String>,
    looked: Option<Instant>,
}

impl Cgroups {
    /// Knows where they are.
    pub fn new() -> Cgroups {
        let mounts = procfs::mounts().unwrap_or_default();
        let mount = mounts.into_iter().find(|mount| mount.fs_type == "cgroup2");
        let mount = mount.map(|mount| PathBuf::from(OsStr::from_bytes(&mount.mount_point)));
        Cgroups { mount, paths: HashMap::new(), looked: None }
    }

    /// The group of this number, which is that of its directory's inode. `None`: it is not there any more.
    pub fn path(&mut self, number: u64) -> Option<String> {
        if !self.paths.contains_key(&number) && self.looked.is_none_or(|looked| looked.elapsed() > PAUSE) {
            let mount = self.mount.clone()?;
            self.paths.insert(fs::metadata(&mount).ok()?.ino(), "/".to_owned());
            self.look(&mount, "");
            self.looked = Some(Instant::now());
        }
        self.paths.get(&number).cloned()
    }

    fn look(&mut self, directory: &Path, path: &str) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = format!("{path}/{}", entry.file_name().to_string_lossy());
                self.look(&entry.path(), &path);
                self.paths.insert(entry.ino(), path);
            }
        }
    }
}
