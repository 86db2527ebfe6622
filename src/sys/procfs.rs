//! The few facts of `/proc/TID/` that no system call gives.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;

use super::statx;

/// From `/proc/TID/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskStatus {
    /// The process of the task.
    pub tgid: i32,
    /// The parent process; 0 if it is not in the reader's pid namespace.
    pub parent: i32,
    /// Its real uid, in the reader's user namespace.
    pub real_uid: u32,
    /// Its effective uid.
    pub effective_uid: u32,
    /// Its saved set-uid.
    pub saved_uid: u32,
    /// It has ended: a zombie, perhaps of a main thread whose process goes on.
    pub ended: bool,
}

/// Reads `/proc/TID/status`; also works for a zombie, and for a task that is not a main thread.
/// NotFound: there is no such task.
pub fn task_status(tid: i32) -> io::Result<TaskStatus> {
    let mut buffer = [0; 4096];
    parse_status(read(&format!("/proc/{tid}/status"), &mut buffer)?).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("/proc/{tid}/status has no Tgid, PPid or Uid line"),
        )
    })
}

/// The real uid of who has this number now, a zombie included, in the reader's user namespace.
pub fn real_uid(tid: i32) -> Option<u32> {
    task_status(tid).ok().map(|status| status.real_uid)
}

/// Reads a file that the kernel hands out in one piece; no file of a task's that is read here is longer
/// than the buffer, but for its last lines.
fn read<'a>(path: &str, buffer: &'a mut [u8; 4096]) -> io::Result<&'a [u8]> {
    let length = File::open(path)?.read(buffer)?;
    Ok(&buffer[..length])
}

fn parse_status(text: &[u8]) -> Option<TaskStatus> {
    let text = String::from_utf8_lossy(text);
    // The name in the first line is the task's own choice, but has no line break: the kernel
    // escapes it.
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let mut uids = field("Uid:")?.split_ascii_whitespace().map(|uid| uid.parse::<u32>().ok());
    Some(TaskStatus {
        tgid: field("Tgid:")?.trim().parse().ok()?,
        parent: field("PPid:")?.trim().parse().ok()?,
        real_uid: uids.next()??,
        effective_uid: uids.next()??,
        saved_uid: uids.next()??,
        ended: field("State:").is_some_and(|state| state.trim().starts_with(['Z', 'X'])),
    })
}

/// A file: device and inode number. A FUSE node's inode number is that of its mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId((u32, u32), u64);

/// The file at a path, without asking its file system, which might never answer.
pub fn file(path: &Path) -> Result<FileId, Errno> {
    statx::cached(path, 0).map(|found| FileId(found.device, found.inode))
}

/// The file that a task executes. `None` for a kernel thread, a zombie, or a task that is gone.
pub fn program(tid: i32) -> Option<FileId> {
    file(Path::new(&format!("/proc/{tid}/exe"))).ok()
}

/// The file of a task's descriptor. ENOENT: it has none of this number, or is gone.
pub fn descriptor(tid: i32, number: i32) -> Result<FileId, Errno> {
    file(Path::new(&format!("/proc/{tid}/fd/{number}")))
}

/// How a task stands with the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// It waits for something other than a processor, or has ended.
    pub asleep: bool,
    /// Nanoseconds that it has run; up to a clock tick less while it runs.
    pub run_time: u64,
    /// How often it was given a processor.
    pub turns: u64,
}

/// Reads `/proc/TID/status` and `/proc/TID/schedstat`. `None` if the task is gone, or the kernel does
/// not count (CONFIG_SCHED_INFO).
///
/// Not `/proc/TID/stat`: it waits for an exec that is under way, and an exec that closes a file of ours
/// waits for us.
pub fn scheduling(tid: i32) -> Option<Scheduling> {
    let (mut status, mut schedstat) = ([0; 4096], [0; 4096]);
    let status = String::from_utf8_lossy(read(&format!("/proc/{tid}/status"), &mut status).ok()?);
    let schedstat = String::from_utf8_lossy(read(&format!("/proc/{tid}/schedstat"), &mut schedstat).ok()?);
    let asleep = !status.lines().find_map(|line| line.strip_prefix("State:"))?.trim().starts_with('R');
    let mut counts = schedstat.split_ascii_whitespace();
    Some(Scheduling { asleep, run_time: counts.next()?.parse().ok()?, turns: counts.nth(1)?.parse().ok()? })
}

/// What `/proc/PID/stat` tells of a process, or `/proc/PID/task/TID/stat` of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskStat {
    /// Its state, a letter: `Z` and `X` have ended.
    pub state: u8,
    /// `PF_` flags of linux/sched.h.
    pub flags: u32,
    /// When it began, in clock ticks since the boot.
    pub start: u64,
    /// The exit code, as `waitpid(2)` tells it; 0 if it has not ended, or we may not know.
    pub exit_code: i32,
}

/// Reads `/proc/PID/stat`. `None`: there is no such process. The exit code is the whole process's, also where
/// its main thread ended first (Linux 5.17).
pub fn process_stat(pid: i32) -> Option<TaskStat> {
    let mut buffer = [0; 4096];
    parse_stat(read(&format!("/proc/{pid}/stat"), &mut buffer).ok()?)
}

/// Reads `/proc/PID/task/TID/stat`. `None`: there is no such task.
pub fn task_stat(pid: i32, tid: i32) -> Option<TaskStat> {
    let mut buffer = [0; 4096];
    parse_stat(read(&format!("/proc/{pid}/task/{tid}/stat"), &mut buffer).ok()?)
}

fn parse_stat(text: &[u8]) -> Option<TaskStat> {
    // The second field is a name, in parentheses, and can hold any byte.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let fields: Vec<&str> = str::from_utf8(&text[end + 1..]).ok()?.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    Some(TaskStat {
        state: *field(3)?.as_bytes().first()?,
        flags: field(9)?.parse().ok()?,
        start: field(22)?.parse().ok()?,
        exit_code: field(52)?.parse().ok()?,
    })
}

/// A number in `/proc/PID/fdinfo` of a descriptor of ours, by the name with its colon. By our pid, since
/// `/proc/self` is a symbolic link, which a procfs that is mounted with nosymfollow does not follow.
pub fn fdinfo(descriptor: &impl AsRawFd, name: &str) -> Option<u64> {
    let mut buffer = [0; 4096];
    let text =
        read(&format!("/proc/{}/fdinfo/{}", std::process::id(), descriptor.as_raw_fd()), &mut buffer).ok()?;
    let text = str::from_utf8(text).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

/// A mount as `/proc/self/mountinfo` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its number, which a later mount may get.
    pub id: u64,
    /// Where it is mounted, as bytes of a path.
    pub mount_point: Vec<u8>,
    /// The device number of the mounted file system, `major:minor`; no two mounted ones share it.
    pub device: String,
    /// The file system's type.
    pub fs_type: String,
    /// What the mounter called its source.
    pub source: String,
}

/// Reads `/proc/self/mountinfo`; the last mount of a place is the one in sight.
pub fn mounts() -> io::Result<Vec<Mount>> {
    read_mounts("/proc/self/mountinfo")
}

/// True if the first process of the system sees a mount of the file system with this device number,
/// `major:minor`, or cannot be asked. It does not where our mount namespace is one of our own.
pub fn is_mounted_outside(device: &str) -> bool {
    read_mounts("/proc/1/mountinfo").map_or(true, |mounts| mounts.iter().any(|mount| mount.device == device))
}

fn read_mounts(path: &str) -> io::Result<Vec<Mount>> {
    Ok(parse_mounts(&fs::read(path)?))
}

/// The lines of a mountinfo.
pub fn parse_mounts(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n').filter_map(parse_mount).collect()
}

/// True in the user namespace that the system has begun with, which maps all uids to themselves.
pub fn is_first_user_namespace() -> io::Result<bool> {
    let map = fs::read_to_string("/proc/self/uid_map")?;
    Ok(map.split_ascii_whitespace().eq(["0", "0", "4294967295"]))
}

fn parse_mount(line: &[u8]) -> Option<Mount> {
    // Optional fields end with a lone hyphen.
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = String::from_utf8_lossy(fields.nth(1)?).into_owned();
    let mount_point = unescape(fields.nth(1)?);
    let mut tail = fields.skip_while(|field| *field != b"-").skip(1);
    Some(Mount {
        id,
        device,
        mount_point,
        fs_type: String::from_utf8_lossy(tail.next()?).into_owned(),
        source: String::from_utf8_lossy(tail.next()?).into_owned(),
    })
}

/// Undoes the kernel's `\ooo` for blanks, line breaks and backslashes.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = |d: &u8| (b'0'..=b'7').contains(d);
        match tail {
            [a, b, c, after @ ..] if byte == b'\\' && [a, b, c].into_iter().all(octal) => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                plain.push(byte);
                rest = tail;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_of_this_process_is_read() {
        let pid = std::process::id() as i32;
        let status = task_status(pid).expect("own status");
        assert_eq!(status.tgid, pid);
        assert_eq!(status.real_uid, nix::unistd::getuid().as_raw());
        assert_eq!(task_status(i32::MAX).expect_err("no such task").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_task_and_its_end_are_read() {
        let pid = std::process::id() as i32;
        let own = task_stat(pid, pid).expect("own stat");
        assert!(own.state == b'R' || own.state == b'S');
        assert_eq!((own.exit_code, task_stat(pid, i32::MAX)), (0, None));
        let mut child = std::process::Command::new("sh").args(["-c", "exit 3"]).spawn().expect("sh");
        let id = child.id() as i32;
        while task_stat(id, id).expect("it is not waited for").state != b'Z' {
            std::thread::yield_now();
        }
        assert_eq!(task_stat(id, id).expect("a zombie").exit_code, 3 << 8);
        child.wait().expect("wait");
    }

    #[test]
    fn a_stat_with_any_name_is_read_and_a_short_one_is_not() {
        let rest = (4..52).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        let stat = parse_stat(format!("7 (a) Z (b) X {rest} 256\n").as_bytes()).expect("all fields");
        assert_eq!((stat.state, stat.flags, stat.exit_code), (b'X', 9, 256));
        for text in ["", "7 (a", "7 (a)", "7 (a) Z 1 2 3"] {
            assert_eq!(parse_stat(text.as_bytes()), None);
        }
    }

    #[test]
    fn what_the_kernel_says_of_a_descriptor_is_read() {
        let file = File::open("/proc/self/status").expect("/proc is mounted");
        assert_eq!(fdinfo(&file, "pos:"), Some(0));
        assert_eq!(fdinfo(&file, "recursion_misses:"), None);
    }

    #[test]
    fn a_program_is_told_from_another() {
        let own = program(std::process::id() as i32);
        let mut other =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat");
        assert!(own.is_some());
        assert_ne!(program(other.id() as i32), own);
        drop(other.stdin.take());
        other.wait().expect("wait");
        assert_eq!(program(other.id() as i32), None);
    }

    #[test]
    fn a_status_without_its_lines_is_an_error_not_a_panic() {
        for text in
            ["", "Tgid:\t1\n", "Tgid:\tx\nPPid:\t0\nUid:\t1\t1\t1\t1\n", "Tgid:\t1\nPPid:\t0\nUid:\t1\t1\n"]
        {
            assert_eq!(parse_status(text.as_bytes()), None);
        }
        let good = parse_status(b"Name:\tUid:\nTgid:\t12\nPPid:\t11\nUid:\t1\t2\t3\t4\n").expect("good");
        assert_eq!((good.tgid, good.parent), (12, 11));
        assert_eq!((good.real_uid, good.effective_uid, good.saved_uid), (1, 2, 3));
    }

    #[test]
    fn mountinfo_lines_are_read_with_their_escapes() {
        let line = br"36 35 0:41 / /dev/k\040m\134 rw,nosuid shared:1 - fuse kmonitor rw,user_id=0";
        let mount = parse_mount(line).expect("a mount");
        assert_eq!(mount.mount_point, br"/dev/k m\");
        assert_eq!(mount.id, 36);
        let Mount { device, fs_type, source, .. } = mount;
        assert_eq!([device.as_str(), fs_type.as_str(), source.as_str()], ["0:41", "fuse", "kmonitor"]);
        assert_eq!(parse_mount(b"junk"), None);
        let foreign = parse_mount(b"36 35 0:42 / /tmp/\xff rw - tmpfs none rw").expect("not UTF-8");
        assert_eq!(foreign.mount_point, b"/tmp/\xff");
        assert!(mounts().is_ok());
    }
}
