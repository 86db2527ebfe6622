//! The guest's first file system: a cpio archive in the "newc" format that the kernel unpacks at boot.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER: u32 = 0o020_000;

/// A cpio archive in the making.
#[derive(Debug, Default)]
pub struct Image {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

impl Image {
    /// An archive with the one device that the kernel itself opens for process 1.
    pub fn new() -> Self {
        let mut image = Image::default();
        image.parents("dev/console");
        image.entry("dev/console", CHARACTER | 0o600, (5, 1), &[]);
        image
    }

    /// Adds a file with these contents and this mode, and the directories above it.
    pub fn contents(&mut self, path: &str, mode: u32, contents: &[u8]) {
        let path = path.trim_start_matches('/');
        self.parents(path);
        self.entry(path, REGULAR | mode, (0, 0), contents);
    }

    /// Adds a copy of a file of the host, with its mode.
    pub fn copy(&mut self, path: &str, from: &Path) -> io::Result<()> {
        let contents = fs::read(from)?;
        let mode = fs::metadata(from)?.permissions().mode() & 0o7777;
        self.contents(path, mode, &contents);
        Ok(())
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        for (end, _) in path.match_indices('/') {
            let directory = &path[..end];
            if self.directories.insert(directory.to_owned()) {
                self.entry(directory, DIRECTORY | 0o755, (0, 0), &[]);
            }
        }
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), contents: &[u8]) {
        self.entries += 1;
        let (owner, group, links, time, checksum) = (0, 0, 1, 0, 0);
        let file_device = (0, 0);
        let fields = [
            self.entries,
            mode,
            owner,
            group,
            links,
            time,
            u32::try_from(contents.len()).expect("no file of a guest has 4 GiB"),
            file_device.0,
            file_device.1,
            device.0,
            device.1,
            u32::try_from(name.len() + 1).expect("no file name has 4 GiB"),
            checksum,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
