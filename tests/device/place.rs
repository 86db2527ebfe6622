//! What may be at the node's path already.

use super::program::{Program, finish};
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

fn refused_at(path: &Path, parts: &[&str]) {
    let mut command = Command::new(super::served::KMONITOR);
    command.arg("serve").arg("--path").arg(path);
    let text = path.to_str().expect("the path is text");
    finish(&mut command).gave_up(1, &[parts, &[text]].concat());
    assert!(fs::symlink_metadata(path).is_err(), "{text} was left");
}

#[test]
fn a_path_without_a_directory_is_refused_with_its_remedy() {
    let place = Place::new();
    let nowhere = place.beside("nowhere").join("kmonitor");
    refused_at(&nowhere, &["cannot find the directory of", "mkdir -p"]);
    let file = place.beside("file");
    fs::write(&file, "").expect("write");
    refused_at(&file.join("kmonitor"), &["all of whose parts are directories"]);
    refused_at(&place.beside(&"long".repeat(64)), &["choose a shorter place"]);
}

#[test]
fn a_file_system_without_room_or_read_only_is_refused_and_nothing_is_left_in_it() {
    let place = Place::new();
    let directory = place.beside("tmpfs");
    fs::create_dir(&directory).expect("mkdir");
    let tmpfs = Mounted::new(Path::new("none"), &directory, Some("tmpfs"), MsFlags::empty());
    mount(None::<&str>, &directory, None::<&str>, MsFlags::MS_REMOUNT, Some("size=4096")).expect("remount");
    fs::write(directory.join("all"), [0; 4096]).expect("it has room for that");
    refused_at(&directory.join("kmonitor"), &["free space in that file system", "--path"]);
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, &directory, None::<&str>, read_only, None::<&str>).expect("remount");
    refused_at(&directory.join("kmonitor"), &["that file system is read-only", "--path"]);
    drop(tmpfs);
}

#[test]
fn a_limit_of_file_sizes_is_an_error_with_its_remedy_and_nothing_is_left() {
    let place = Place::new();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 0; exec \"$0\" serve --path \"$1\"", super::served::KMONITOR]);
    finish(command.arg(place.path())).gave_up(1, &[place.text(), "cannot write", "ulimit -f"]);
    place.assert_clean();
}

#[test]
fn of_two_starts_at_once_one_serves_and_both_leave_nothing() {
    let place = Place::new();
    for round in 0..60 {
        let mut starts = [(); 2].map(|()| {
            let mut command = place.run_command(&[], &["true"]);
            Program::start(command.stderr(std::process::Stdio::null()))
        });
        let ends = starts.each_mut().map(|start| start.end().code());
        assert!(ends.contains(&Some(0)), "round {round}: {ends:?}");
        place.assert_clean();
    }
}
