//! What the daemon may still do once it serves.

use super::client::{Client, build, event};
use super::program::{Program, finish, until};
use super::served::Place;
use nix::sys::signal::{Signal, kill};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::Command;

const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_KILL: u32 = 5;
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_NICE: u32 = 23;

/// The fields of a thread's status.
fn fields(status: &str) -> BTreeMap<&str, &str> {
    status.lines().filter_map(|line| line.split_once(":\t")).collect()
}

#[test]
fn each_thread_has_the_capabilities_that_it_needs_and_cannot_gain_others() {
    let place = Place::new();
    let daemon = place.serve(&["--node", "fuse"]);
    let mut seen = Vec::new();
    let keeper = daemon.keeper().as_raw();
    for task in threads(daemon.program.id()).into_iter().chain([keeper]) {
        let status = fs::read_to_string(format!("/proc/{task}/status")).expect("the thread lives");
        let fields = fields(&status);
        let name = fields["Name"];
        let expected: &[u32] = match name {
            "kmonitor" => &[CAP_KILL],
            "kmonitor-core" => &[CAP_KILL, CAP_SYS_PTRACE, CAP_NET_ADMIN, CAP_SYS_NICE],
            "kmonitor-log" | "kmonitor-output" | "kmonitor-status" => &[],
            "kmonitor-keeper" => &[CAP_SYS_ADMIN, CAP_DAC_OVERRIDE],
            other => panic!("what is thread {other}?"),
        };
        let mask = expected.iter().fold(0u64, |mask, capability| mask | 1 << capability);
        for set in ["CapEff", "CapPrm"] {
            assert_eq!(fields[set], format!("{mask:016x}"), "{name}: {set}");
        }
        assert_eq!(fields["CapInh"], format!("{:016x}", 0), "{name}");
        assert_eq!((fields["NoNewPrivs"], fields["Seccomp"]), ("1", "2"), "{name}");
        seen.push(name.to_owned());
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
    daemon.stop();
}

fn threads(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it lives").flatten();
    tasks
        .map(|task| task.file_name().to_str().and_then(|name| name.parse().ok()).expect("a thread id"))
        .collect()
}

/// What a thread gets that makes this call.
fn results(thread: i32, calls: &[String]) -> Vec<i64> {
    let mut inject = Program::start(Command::new(build("inject")).arg(thread.to_string()));
    let results = calls.iter().map(|call| {
        inject.say(call);
        inject.line().parse().expect("a result")
    });
    let results = results.collect();
    inject.hang_up();
    assert!(inject.end().success());
    results
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_thread_that_was_taken_over_can_do_no_harm() {
    const READ_AND_EXECUTE: i32 = libc::PROT_READ | libc::PROT_EXEC;
    let place = Place::new();
    let file = place.beside("strangers");
    fs::write(&file, "mine").expect("write");
    let file = file.to_str().expect("text");
    let stranger = Program::quiet(&mut Command::new("cat"));
    let pid = stranger.id();
    let daemon = place.serve(&["--node", "fuse"]);
    let at = libc::AT_FDCWD;
    let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // In the serving process; and those that the keeper may not make either.
    let (everywhere, serving) = (true, false);
    let mut calls = vec![
        (everywhere, format!("{} 0 {} text:x", libc::SYS_ioctl, libc::TIOCSTI)),
        (everywhere, format!("{} 0 4096 {READ_AND_EXECUTE} {anonymous} -1 0", libc::SYS_mmap)),
        (everywhere, format!("{} 0 4096 {}", libc::SYS_mprotect, libc::PROT_EXEC)),
        (everywhere, format!("{} {}", libc::SYS_clone, libc::SIGCHLD)),
        (everywhere, format!("{}", libc::SYS_fork)),
        (everywhere, format!("{}", libc::SYS_vfork)),
        (everywhere, format!("{} /bin/true", libc::SYS_execve)),
        (everywhere, format!("{} {at} {file} {}", libc::SYS_openat, libc::O_RDWR)),
        (everywhere, format!("{} {at} {file}.new {}", libc::SYS_openat, libc::O_CREAT)),
        (everywhere, format!("{} {file} {}", libc::SYS_open, libc::O_RDONLY)),
        (everywhere, format!("{} 2 1 0", libc::SYS_socket)),
        (everywhere, format!("{} {pid} {}", libc::SYS_kill, libc::SIGKILL)),
        (everywhere, format!("{} {pid} {pid} {}", libc::SYS_tgkill, libc::SIGKILL)),
        (everywhere, format!("{} 16 {pid} 0 0", libc::SYS_ptrace)),
        (everywhere, format!("{} {pid} 0 0 0 0 0", libc::SYS_process_vm_readv)),
        (everywhere, format!("{} /", libc::SYS_chroot)),
        (everywhere, format!("{} {}", libc::SYS_unshare, libc::CLONE_NEWNS)),
        (everywhere, format!("{} 3 0", libc::SYS_setns)),
        (everywhere, format!("{} text:none /tmp text:tmpfs 0 0", libc::SYS_mount)),
        (serving, format!("{} {} 0", libc::SYS_umount2, place.text())),
        (serving, format!("{} {file}", libc::SYS_unlink)),
        (serving, format!("{} {at} {file} 0", libc::SYS_unlinkat)),
        (serving, format!("{} {at} /etc/shadow {}", libc::SYS_openat, libc::O_RDONLY)),
        (serving, format!("{} {at} /proc/{pid}/root/etc/shadow {}", libc::SYS_openat, libc::O_RDONLY)),
        (
            serving,
            format!(
                "{} {at} /proc/{}/root/etc/shadow {}",
                libc::SYS_openat,
                daemon.program.id(),
                libc::O_RDONLY
            ),
        ),
        (serving, format!("{} {at} /proc/{pid}/exe {}", libc::SYS_openat, libc::O_RDONLY)),
        (serving, format!("{} {at} /proc/sys/kernel/hostname {}", libc::SYS_openat, libc::O_RDONLY)),
    ];
    // By a descriptor of a directory, should it have any.
    calls.extend((3..40).map(|fd| {
        (serving, format!("{} {fd} text:{pid}/root/etc/shadow {}", libc::SYS_openat, libc::O_RDONLY))
    }));
    let keeper = daemon.keeper().as_raw();
    for thread in threads(daemon.program.id()).into_iter().chain([keeper]) {
        let here = |(everywhere, _): &&(bool, String)| *everywhere || thread != keeper;
        let calls: Vec<String> = calls.iter().filter(here).map(|(_, call)| call.clone()).collect();
        for (call, result) in calls.iter().zip(results(thread, &calls)) {
            let name = fs::read_to_string(format!("/proc/{thread}/comm")).expect("it lives");
            // None is a call that fails anyway: it would not, in a process with its rights and view.
            let refused = [libc::EPERM, libc::ENOENT, libc::ELOOP].map(|errno| -i64::from(errno));
            assert!(refused.contains(&result), "{}: {call} gave {result}", name.trim());
        }
    }
    assert_eq!(fs::read_to_string(file).expect("it is still there"), "mine");
    // It serves on, and ends well.
    let mut client = Client::of(&place);
    assert_eq!(client.register(pid, event::PROCESS_EXIT), Ok(0));
    daemon.stop();
}

#[test]
fn a_daemon_whose_keeper_was_ended_says_how_to_take_the_node_away() {
    let place = Place::new();
    let mut daemon = place.serve(&["--node", "fuse"]);
    kill(daemon.keeper(), Signal::SIGKILL).expect("it lives");
    daemon.program.signal(Signal::SIGTERM);
    assert_eq!(daemon.end().code(), Some(1));
    let complaints = daemon.complaints();
    assert!(complaints.contains(&format!("umount -l {0}; rm {0}", place.text())), "{complaints}");
    finish(Command::new("umount").arg("-l").arg(place.path())).well();
    fs::remove_file(place.path()).expect("it was left");
}

#[test]
fn the_core_goes_before_ordinary_programs_and_nothing_else_does() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let ahead = || -> Vec<String> {
        // The core takes its place when it first runs, and again whenever it has slept.
        drop(File::options().write(true).open(place.path()).expect("the device opens"));
        let tasks = fs::read_dir(format!("/proc/{}/task", daemon.program.id())).expect("it lives").flatten();
        let ahead = tasks.filter(|task| {
            finish(Command::new("chrt").arg("-p").arg(task.file_name())).well().contains("SCHED_FIFO")
        });
        ahead.map(|task| fs::read_to_string(task.path().join("comm")).expect("the thread lives")).collect()
    };
    until("the core is ahead, alone", || ahead() == ["kmonitor-core\n"]);
    daemon.stop();
}

#[test]
fn a_program_under_run_keeps_all_rights() {
    let place = Place::new();
    let output = place.run(&["grep", "-E", "^(CapEff|NoNewPrivs|Seccomp):", "/proc/self/status"]).well();
    let own = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    for name in ["CapEff", "NoNewPrivs", "Seccomp"] {
        assert_eq!(fields(&output)[name], fields(&own)[name], "{name}");
    }
}
