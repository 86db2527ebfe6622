//! What may be at the node's path already.

use super::program::finish;
use super::served::Place;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, major, makedev, minor, mknod};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the file under the mount says.
pub const MARKER: &str = "kmonitor is not running: start it with `kmonitor serve`\n";

/// True if this user can open the file by this redirection of the shell.
pub fn open_as(user: u32, path: &Path, how: &str) -> bool {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!(": {how} \"$0\"")).arg(path).uid(user).gid(user);
    finish(&mut shell).status.success()
}

/// A mount of the test's own.
struct Mounted(PathBuf);

impl Mounted {
    fn new(source: &Path, target: &Path, fs_type: Option<&str>, flags: MsFlags) -> Mounted {
        mount(Some(source), target, fs_type, flags, None::<&str>).expect("mount");
        Mounted(target.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn assert_refused(place: &Place, what: &str) {
    let parts = [place.text(), "exists and is not kmonitor's", what, "remove it", "--path"];
    place.refused().gave_up(1, &parts);
}

#[test]
fn a_device_node_is_refused_and_stays() {
    let place = Place::new();
    mknod(place.path(), SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(10, 221)).expect("mknod");
    assert_refused(&place, "a device node");
    let node = fs::symlink_metadata(place.path()).expect("it is still there");
    assert!(node.file_type().is_char_device());
    assert_eq!((major(node.rdev()), minor(node.rdev())), (10, 221));
}

#[test]
fn a_directory_is_refused_and_stays() {
    let place = Place::new();
    fs::create_dir(place.path()).expect("mkdir");
    fs::write(place.path().join("inside"), "mine").expect("write");
    assert_refused(&place, "a directory");
    assert_eq!(fs::read_to_string(place.path().join("inside")).expect("it is still there"), "mine");
}

#[test]
fn a_symbolic_link_is_refused_and_so_is_its_target() {
    let place = Place::new();
    let target = place.beside("target");
    symlink(&target, place.path()).expect("link");
    assert_refused(&place, "a symbolic link");
    assert!(!target.exists(), "the daemon wrote through the link");
    fs::write(&target, "").expect("write");
    assert_refused(&place, "a symbolic link");
    assert_eq!(fs::read_link(place.path()).expect("it is still a link"), target);
}

#[test]
fn a_file_with_content_is_refused_and_stays() {
    let place = Place::new();
    for content in ["precious\n", &format!("{MARKER}and more")] {
        fs::write(place.path(), content).expect("write");
        assert_refused(&place, "a file with other content");
        assert_eq!(fs::read_to_string(place.path()).expect("it is still there"), content);
    }
}

#[test]
fn another_file_systems_mount_is_refused_and_stays() {
    let place = Place::new();
    let directory = place.beside("tmpfs");
    fs::create_dir(&directory).expect("mkdir");
    let _tmpfs = Mounted::new(Path::new("none"), &directory, Some("tmpfs"), MsFlags::empty());
    fs::write(directory.join("file"), "mine").expect("write");
    fs::write(place.path(), "").expect("write");
    let _bind = Mounted::new(&directory.join("file"), place.path(), None, MsFlags::MS_BIND);
    assert_refused(&place, "another file system is mounted there");
    assert_eq!(fs::read_to_string(place.path()).expect("it is still mounted"), "mine");
}

#[test]
fn an_empty_file_that_somebody_prepared_is_covered_and_stays() {
    let place = Place::new();
    fs::write(place.path(), "").expect("write");
    let before = fs::metadata(place.path()).expect("it is there").ino();
    let ended = finish(&mut place.run_command(&[], &["stat", "-c", "%a", place.text()]));
    assert_eq!(ended.well(), "600\n");
    let after = fs::metadata(place.path()).expect("it is still there");
    assert_eq!((after.ino(), after.len()), (before, 0));
}

#[test]
fn a_path_without_a_directory_is_refused() {
    let place = Place::new();
    let mut command = Command::new(super::served::KMONITOR);
    command.arg("serve").arg("--path").arg(place.beside("nowhere").join("kmonitor"));
    finish(&mut command).gave_up(1, &["cannot find the directory of", "nowhere/kmonitor"]);
}
