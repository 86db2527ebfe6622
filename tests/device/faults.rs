//! What may befall a daemon, and how it ends: see docs/faults.md.

use super::client::{Client, SIGNAL, Signalled, build, event};
use super::environment::refusing;
use super::program::{Program, Reachable, finish, until};
use super::served::{KMONITOR, Place, Served};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn cat() -> Program {
    Program::quiet(&mut Command::new("cat"))
}

fn end(target: &mut Program) {
    target.hang_up();
    assert!(target.end().success());
}

/// Limits a resource of a running process, as prlimit(1) names it.
fn limit(pid: i32, resource: &str) {
    let status = Command::new("prlimit").args(["--pid", &pid.to_string(), resource]).status();
    assert!(status.expect("prlimit is in util-linux").success(), "prlimit {resource}");
}

const WAITING: usize = 1000;

/// A client that takes no signals, and whose own queue is nearly none, and its target's children.
fn backlog(place: &Place) -> (Client, Vec<i32>) {
    let script = format!(
        "echo begun; read l; i=0; while [ $i -lt {WAITING} ]; do : & echo $!; i=$((i+1)); done; read l"
    );
    let mut target = Program::start(Command::new("sh").arg("-c").arg(script));
    assert_eq!(target.line(), "begun");
    let mut client = Client::of(place);
    limit(client.program.id(), "--sigpending=16");
    assert_eq!(client.register(target.id(), event::PROCESS_FORK), Ok(0));
    target.say("");
    let children = (0..WAITING).map(|_| target.line().parse().expect("a pid")).collect();
    (client, children)
}

#[test]
fn signals_wait_in_order_for_a_monitor_whose_queue_is_full() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let (mut client, children) = backlog(&place);
    let told: Vec<i32> = client.take(WAITING).iter().map(|signal| signal.pid).collect();
    assert_eq!(told, children);
    assert_eq!(client.pending(), []);
    assert!(daemon.counter("delayed") > 900);
}

#[test]
fn when_too_many_wait_later_ones_are_counted_and_told_of() {
    let place = Place::new();
    let daemon = place.serve(&["--max-waiting", "100"]);
    let (mut client, children) = backlog(&place);
    until("all events are heard", || daemon.counter("events") as usize >= WAITING);
    let dropped = daemon.counter("dropped") as usize;
    assert!(dropped > WAITING / 2, "{dropped} were dropped");
    let told: Vec<i32> = client.take(WAITING - dropped).iter().map(|signal| signal.pid).collect();
    assert_eq!(client.pending(), []);
    let mut rest = children.iter();
    assert!(told.iter().all(|pid| rest.any(|child| child == pid)), "out of order: {told:?}");
    let complaints = daemon.stop_complaining();
    assert!(complaints.contains("--max-waiting"), "{complaints}");
}

#[test]
fn signals_that_the_kernel_refuses_are_counted_and_told_of() {
    let place = Place::new();
    let mut command = place.serve_command(&[]);
    // As a security module may: the start, which tries with signal 0, sees nothing of it.
    refusing(&mut command, libc::SYS_pidfd_send_signal, &[(1, SIGNAL as u64)], libc::EPERM);
    let daemon = place.serve_by(command);
    let mut target = cat();
    let mut client = Client::of(&place);
    assert_eq!(client.register(target.id(), event::PROCESS_EXIT), Ok(0));
    end(&mut target);
    until("it is refused", || daemon.counter("refused") > 0);
    assert_eq!((daemon.counter("refused"), daemon.counter("signals")), (1, 0));
    assert_eq!(client.pending(), []);
    let complaints = daemon.stop_complaining();
    assert!(complaints.contains("EPERM: CAP_KILL is missing"), "{complaints}");
}

#[test]
fn signals_that_wait_go_with_their_registration() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let (mut client, _) = backlog(&place);
    assert_eq!(client.close(), Ok(0));
    // What the kernel has queued already stays (docs/behaviour.md, fact 34).
    assert!(client.pending().len() <= 16);
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(client.pending(), []);
    daemon.stop();
}

fn serve_with_few_descriptors(place: &Place, source: &str) -> Served {
    let mut command = Command::new("prlimit");
    command.arg("--nofile=100:100").arg(KMONITOR).args(["serve", "--path", place.text(), "--source", source]);
    place.serve_by(command)
}

fn exits_are_told_out_of_descriptors(source: &str) {
    const TARGETS: usize = 100;
    let place = Place::new();
    let daemon = serve_with_few_descriptors(&place, source);
    let mut client = Client::of(&place);
    let mut targets: Vec<Program> = (0..TARGETS).map(|_| cat()).collect();
    for target in &targets {
        assert_eq!(client.register(target.id(), event::PROCESS_EXIT), Ok(0));
    }
    until("the shortage is counted", || daemon.counter("unarmed") as usize > TARGETS / 2);
    let mut another = Client::of(&place);
    assert_eq!(another.register(targets[0].id(), event::PROCESS_EXIT), Ok(0));
    targets.iter_mut().for_each(end);
    let mut told: Vec<i32> = client.take(TARGETS).iter().map(|signal| signal.pid).collect();
    let mut all: Vec<i32> = targets.iter().map(Program::id).collect();
    told.sort_unstable();
    all.sort_unstable();
    assert_eq!(told, all);
    assert_eq!(another.take(1).len(), 1);
    let complaints = daemon.stop_complaining();
    assert!(complaints.contains("too few descriptors"), "{complaints}");
}

#[test]
fn out_of_descriptors_exits_are_told_and_the_shortage_is_too() {
    exits_are_told_out_of_descriptors("bpf");
}

#[test]
fn also_those_that_the_proc_connector_reports() {
    exits_are_told_out_of_descriptors("connector");
}

#[test]
fn with_more_monitors_than_descriptors_registering_fails_and_the_daemon_serves_on() {
    let place = Place::new();
    let daemon = serve_with_few_descriptors(&place, "auto");
    let mut target = cat();
    let mut clients: Vec<Client> = (0..110).map(|_| Client::of(&place)).collect();
    let results: Vec<_> =
        clients.iter_mut().map(|client| client.register(target.id(), event::PROCESS_EXIT)).collect();
    let refused = results.iter().filter(|result| **result == Err(Errno::ENOMEM)).count();
    assert!(refused > 0, "none was refused");
    assert!(results.iter().filter(|result| result.is_ok()).count() > 50, "{refused} were refused");
    end(&mut target);
    for (client, _) in clients.iter_mut().zip(&results).filter(|(_, result)| result.is_ok()) {
        assert_eq!(client.take(1).len(), 1);
    }
    drop(clients);
    until("there are descriptors again", || {
        let mut client = Client::of(&place);
        client.register(1, event::PROCESS_EXIT) == Ok(0)
    });
    let complaints = daemon.stop_complaining();
    assert!(complaints.contains("cannot watch over monitor"), "{complaints}");
}

#[test]
fn beyond_the_limits_calls_fail_with_enomem() {
    let place = Place::new();
    let daemon = place.serve(&["--max-registrations", "3", "--max-per-monitor", "2", "--max-open", "3"]);
    let (mut first, mut second, mut third) = (Client::of(&place), Client::of(&place), Client::of(&place));
    assert_eq!(Client::start().open(place.path()), Err(Errno::ENOMEM));
    assert_eq!(first.register(1, event::PROCESS_EXIT), Ok(0));
    assert_eq!(first.register(2, event::PROCESS_EXIT), Ok(0));
    assert_eq!(first.register(3, event::PROCESS_EXIT), Err(Errno::ENOMEM));
    assert_eq!(first.register(1, event::PROCESS_FORK), Ok(0), "more events of the same");
    assert_eq!(second.register(1, event::PROCESS_EXIT), Ok(0));
    assert_eq!(third.register(1, event::PROCESS_EXIT), Err(Errno::ENOMEM));
    // What is given back can be had again.
    assert_eq!(first.close(), Ok(0));
    assert_eq!(third.register(1, event::PROCESS_EXIT), Ok(0));
    until("a file is released", || Client::start().open(place.path()) == Ok(0));
    daemon.stop();
}

#[test]
fn there_is_room_again_once_a_close_has_returned() {
    let place = Place::new();
    let daemon = place.serve(&["--max-per-user", "10", "--mode", "666"]);
    let program = Reachable::new(build("client"));
    let mut user = Client { program: Program::start(&mut program.by(65534)) };
    let mut root = Client::of(&place);
    assert_eq!(user.open(place.path()), Ok(0));
    for target in 1..=10 {
        assert_eq!(user.register(target, event::PROCESS_EXIT), Ok(0));
    }
    assert_eq!(user.register(11, event::PROCESS_EXIT), Err(Errno::ENOMEM));
    // These go first, in turns, and that takes longer than the calls that follow.
    for target in 1..=20_000 {
        assert_eq!(root.register(target, event::PROCESS_EXIT), Ok(0));
    }
    assert_eq!(root.close(), Ok(0));
    assert_eq!(user.close(), Ok(0));
    assert_eq!(user.open(place.path()), Ok(0));
    for target in 11..=20 {
        assert_eq!(user.register(target, event::PROCESS_EXIT), Ok(0));
    }
    daemon.stop();
}

#[test]
fn a_user_has_half_of_all_registrations_and_some_are_kept_for_root() {
    let place = Place::new();
    let daemon = place.serve(&["--max-registrations", "32", "--mode", "666"]);
    let program = Reachable::new(build("client"));
    let user = |uid| {
        let mut client = Client { program: Program::start(&mut program.by(uid)) };
        assert_eq!(client.open(place.path()), Ok(0));
        client
    };
    let (mut one, mut same, mut other, mut root) =
        (user(65534), user(65534), user(65533), Client::of(&place));
    for target in 1..=10 {
        assert_eq!(one.register(target, event::PROCESS_EXIT), Ok(0));
    }
    for target in 1..=6 {
        assert_eq!(same.register(target, event::PROCESS_EXIT), Ok(0));
    }
    assert_eq!(same.register(7, event::PROCESS_EXIT), Err(Errno::ENOMEM), "this user has 16");
    assert_eq!(same.register(1, event::PROCESS_FORK), Ok(0), "more events of the same");
    for target in 1..=14 {
        assert_eq!(other.register(target, event::PROCESS_EXIT), Ok(0));
    }
    assert_eq!(other.register(15, event::PROCESS_EXIT), Err(Errno::ENOMEM), "two are root's");
    assert_eq!(root.register(1, event::PROCESS_EXIT), Ok(0));
    assert_eq!(root.register(2, event::PROCESS_EXIT), Ok(0));
    assert_eq!(root.register(3, event::PROCESS_EXIT), Err(Errno::ENOMEM));
    // What is given back can be had again.
    assert_eq!(one.close(), Ok(0));
    assert_eq!(same.register(7, event::PROCESS_EXIT), Ok(0));
    daemon.stop();
}

fn ends_with_its_reason(mut daemon: Served, place: &Place) {
    assert_eq!(daemon.end().code(), Some(1));
    let complaint = daemon.complaints();
    assert!(complaint.starts_with("kmonitor: ") && complaint.contains("taken away"), "{complaint}");
    place.assert_clean();
}

#[test]
fn a_forced_unmount_ends_the_daemon_with_an_error() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    umount2(place.path(), MntFlags::MNT_FORCE).expect("unmount");
    ends_with_its_reason(daemon, &place);
}

#[test]
fn a_node_that_another_mount_namespace_removes_ends_the_daemon_with_an_error() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let script = "umount \"$0\" && rm \"$0\"";
    let status = Command::new("unshare").args(["-m", "sh", "-c", script]).arg(place.path()).status();
    assert!(status.expect("unshare is in util-linux").success());
    ends_with_its_reason(daemon, &place);
}

#[test]
fn a_hidden_proc_makes_no_difference() {
    let place = Place::new();
    let mut target =
        Program::quiet(Command::new("setpriv").args(["--reuid", "61234", "--clear-groups", "cat"]));
    let hide = "mount -t proc -o hidepid=invisible proc /proc && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", hide, "sh", KMONITOR, "run", "--path", place.text(), "--"]);
    let mut client = Client { program: Program::start(command.arg(build("client"))) };
    assert_eq!(client.open(place.path()), Ok(0));
    assert_eq!(client.register(target.id(), event::ALL), Ok(0));
    end(&mut target);
    assert_eq!(client.take(1), [Signalled::of(target.id(), 61234, event::PROCESS_EXIT)]);
    client.program.hang_up();
    assert!(client.program.end().success());
}

#[test]
fn in_a_time_namespace_each_exit_is_signalled_once() {
    let place = Place::new();
    let mut command = Command::new("unshare");
    command.args(["-T", "--monotonic", "1000000", KMONITOR, "run", "--path", place.text(), "--"]);
    command.arg(build("race")).args([place.text(), "deregister", "before", "exit", "1000"]);
    let ended = finish(&mut command);
    assert!(ended.status.success(), "{ended:?}");
    place.assert_clean();
}

#[test]
fn a_daemon_whose_complaints_nobody_reads_serves_and_stops() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = place.serve_command(&["--max-waiting", "1"]);
    command.stderr(Stdio::from(writer)).stdout(Stdio::piped());
    // It blocks after a page.
    nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).expect("a small pipe");
    let mut daemon = Program::start(&mut command);
    assert!(daemon.line().contains("ready"));
    until("it can say no more", || {
        daemon.signal(Signal::SIGUSR1);
        let mut queued: libc::c_int = 0;
        // SAFETY: the kernel writes one int.
        let result = unsafe { libc::ioctl(reader.as_raw_fd(), libc::FIONREAD, &raw mut queued) };
        result == 0 && queued > 3000
    });
    let mut client = Client::of(&place);
    assert_eq!(client.register(1, event::PROCESS_EXIT), Ok(0));
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.end().success());
    place.assert_clean();
}

/// Registers so many tasks; how many the device has taken before ENOMEM, and who holds them.
fn register_many(place: &Place, count: usize) -> (Program, usize) {
    let mut many = Program::start(Command::new(build("many")).arg(place.path()).arg(count.to_string()));
    let line = many.line_at_last();
    let (taken, errno) = line.split_once(' ').expect("two numbers");
    assert_eq!(errno, libc::ENOMEM.to_string(), "{line}");
    (many, taken.parse().expect("a number"))
}

fn serves_on(place: &Place, daemon: Served, mut many: Program) {
    many.hang_up();
    assert!(many.end().success());
    let mut target = cat();
    let mut client = Client::of(place);
    assert_eq!(client.register(target.id(), event::PROCESS_EXIT), Ok(0));
    end(&mut target);
    assert_eq!(client.take(1).len(), 1);
    daemon.stop_complaining();
}

#[test]
fn with_little_address_space_registering_fails_with_enomem_and_the_daemon_serves_on() {
    let place = Place::new();
    let script = "ulimit -v 262144; exec \"$0\" serve --path \"$1\" --max-registrations 4194304 \
                  --max-per-monitor 4194304";
    let mut command = Command::new("sh");
    command.args(["-c", script, KMONITOR]).arg(place.path());
    let daemon = place.serve_by(command);
    let (many, taken) = register_many(&place, 1 << 20);
    assert!(taken > 10_000, "{taken} registrations");
    serves_on(&place, daemon, many);
}

/// A memory cgroup of the test's own.
struct Group(PathBuf);

impl Group {
    fn new(bytes: u64) -> Group {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let (root, file) = if v1.is_dir() {
            (v1, "memory.limit_in_bytes")
        } else {
            (Path::new("/sys/fs/cgroup"), "memory.max")
        };
        let group = root.join(format!("kmonitor-test-{}", std::process::id()));
        let made = fs::create_dir(&group).and_then(|()| fs::write(group.join(file), bytes.to_string()));
        let group = Group(group);
        made.unwrap_or_else(|error| panic!("a memory cgroup is needed, in {}: {error}", root.display()));
        group
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn the_limits_fit_a_small_cgroup_and_the_daemon_serves_on() {
    let place = Place::new();
    let group = Group::new(64 << 20);
    let script = "echo $$ >\"$2/cgroup.procs\" && exec \"$0\" serve --path \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, KMONITOR]).arg(place.path()).arg(&group.0);
    let daemon = place.serve_by(command);
    let (many, taken) = register_many(&place, 1 << 18);
    assert!((10_000..1 << 17).contains(&taken), "{taken} registrations");
    serves_on(&place, daemon, many);
    until("the cgroup is empty", || {
        fs::read_to_string(group.0.join("cgroup.procs")).is_ok_and(|all| all.is_empty())
    });
}
