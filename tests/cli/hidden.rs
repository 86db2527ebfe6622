//! Where /proc shows less, or is not there.

use super::target::{
    ORDINARY, as_ordinary, assert_exited, is_waiting, scratch, target_and_pid, target_program,
};
use crate::device::program::{Program, finish, until};
use crate::device::served::KMONITOR;
use crate::guest::host::Scratch;
use std::process::Command;

const HIDE: &str = "mount -t proc -o hidepid=invisible none /proc";
const NONE: &str = "umount -l /proc";

/// kmonitor where an ordinary user can run it.
struct Installed(Scratch);

impl Installed {
    fn new() -> Installed {
        let directory = scratch();
        // A copy that we wrote ourselves could be busy.
        finish(Command::new("install").args(["-m", "755", KMONITOR]).arg(directory.path("kmonitor"))).well();
        Installed(directory)
    }

    /// `kmonitor wait ARGUMENT...` by an ordinary user, after root has done this to a /proc of its own.
    fn wait_where(&self, preparation: &str, arguments: &[&str]) -> Command {
        let become_ordinary = format!("setpriv --reuid {ORDINARY} --regid {ORDINARY} --clear-groups");
        let script = format!("{preparation} && exec {become_ordinary} \"$0\" wait \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        command.arg(self.0.path("kmonitor")).args(arguments);
        command
    }
}

#[test]
fn a_hidden_process_is_waited_for_by_its_number() {
    let kmonitor = Installed::new();
    for preparation in [HIDE, NONE] {
        let (mut target, pid) = target_and_pid(&["plain"]);
        let mut kmonitor = Program::start(&mut kmonitor.wait_where(preparation, &[&pid]));
        until("kmonitor waits", || is_waiting(kmonitor.id()));
        target.say("exit 7");
        let line = kmonitor.line();
        assert!(line.starts_with(&format!("{pid} exited, ")), "{line}");
        assert_eq!(kmonitor.end().code(), Some(0));
    }
}

#[test]
fn own_processes_are_selected_and_hidden_ones_are_not() {
    let kmonitor = Installed::new();
    let mut own = Program::start(as_ordinary(target_program()).arg("plain"));
    let pid = own.line();
    let (_hidden, _) = target_and_pid(&["plain"]);
    let parent = std::process::id().to_string();
    let mut command = kmonitor.wait_where(HIDE, &["-P", &parent, "-f", "plain$"]);
    let mut waiting = Program::start(&mut command);
    until("kmonitor waits", || is_waiting(waiting.id()));
    own.say("exit 7");
    assert_exited(&waiting.line(), &pid, "status 7");
    assert_eq!((waiting.next_line(), waiting.end().code()), (None, Some(0)));
    finish(&mut kmonitor.wait_where(NONE, &["-n", "cat"])).gave_up(2, &["/proc", "not mounted"]);
}
