//! The device's node where udev, too, gives nodes to owners.

use super::scenario::{Scenario, Stage, guest, play};
use crate::device::client::project;
use crate::guest::{Guest, GuestError, apt::Apt, host};
use std::path::{Path, PathBuf};

/// The guest with udev.
static UDEV: Stage = Stage::new(|| {
    let guest = guest()?.file("/packaging/kmonitor.service", project("packaging/kmonitor.service")).text(
        "/etc/udev/rules.d/10-slow.rules",
        0o644,
        SLOW,
    );
    play(with_udev(guest)?, &[&ASKED, &ASKED_AGAIN, &RULE])
});

/// The guest, in which udev runs with our rule.
pub fn with_udev(guest: Guest) -> Result<Guest, GuestError> {
    let root = udev()?;
    let rules = "lib/udev/rules.d/50-udev-default.rules";
    Ok(guest
        .program("/bin/udevadm", root.join("bin/udevadm"))
        .file(&format!("/{rules}"), root.join(rules))
        .file("/etc/udev/rules.d/70-kmonitor.rules", project("packaging/70-kmonitor.rules"))
        .text("/etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\nkmonitor:x:990:\n")
        .step("udevd", "ln -s udevadm /bin/systemd-udevd; systemd-udevd --daemon && udevadm control --ping"))
}

/// Has udev take its time, with a device that comes as with one that has gone.
const SLOW: &str = "SUBSYSTEM==\"cuse\", PROGRAM=\"/bin/sleep 0.2\"\n";

/// Where udev is: installed, or only unpacked, so that none runs on this host.
fn udev() -> Result<PathBuf, GuestError> {
    if Path::new("/bin/udevadm").exists() {
        return Ok(PathBuf::from("/"));
    }
    let root = host::once("udev", |directory| Apt::of_this_machine().unpack("udev", directory))?;
    // From Debian 13 on all of it is below /usr.
    let usr = root.join("usr");
    Ok(if usr.join("bin/udevadm").exists() { usr } else { root })
}

const ASKED: Scenario = Scenario {
    name: "asked",
    script: "for round in 1 2 3 4 5; do
    serve daemon --node cuse --mode 660 --group nogroup --owner nobody
    node
    udevadm settle
    node
    crash daemon
done | sort | uniq -c",
    shows: "      5 daemon: kmonitor: ready: /dev/kmonitor
      5 daemon: status 137
     10 node: a device of CUSE
     10 node: character special file 660 nobody:nogroup",
};

/// The device of the restarted daemon has the number of the one before, which udev has not let go of.
const ASKED_AGAIN: Scenario = Scenario {
    name: "asked again",
    script: "serve daemon --node cuse --mode 640 --group nogroup
udevadm settle
killall -STOP systemd-udevd
crash daemon
(sleep 0.5; killall -CONT systemd-udevd) &
serve daemon --node cuse --mode 640 --group nogroup
node
udevadm settle
node
stop daemon",
    shows: "daemon: kmonitor: ready: /dev/kmonitor
daemon: status 137
daemon: kmonitor: ready: /dev/kmonitor
node: character special file 640 root:nogroup
node: a device of CUSE
node: character special file 640 root:nogroup
node: a device of CUSE
daemon: status 0",
};

/// What was asked for holds until udev is asked once more, and then the rule does. The unit asks for
/// what the rule says.
const RULE: Scenario = Scenario {
    name: "rule",
    script: "again() {
    udevadm settle
    node
    udevadm trigger --settle --action=add /sys/class/cuse/kmonitor
    node
    stop daemon
}
serve daemon --node cuse
again
serve daemon --node cuse $(sed -n 's/^ExecStart=.* serve//p' /packaging/kmonitor.service)
again",
    shows: "daemon: kmonitor: ready: /dev/kmonitor
node: character special file 600 root:root
node: a device of CUSE
node: character special file 660 root:kmonitor
node: a device of CUSE
daemon: status 0
daemon: kmonitor: ready: /dev/kmonitor
node: character special file 660 root:kmonitor
node: a device of CUSE
node: character special file 660 root:kmonitor
node: a device of CUSE
daemon: status 0",
};

#[test]
fn what_was_asked_for_outlasts_udevs_rules() {
    UDEV.shows(&ASKED);
}

#[test]
fn what_was_asked_for_outlasts_udevs_rules_also_after_a_crash() {
    UDEV.shows(&ASKED_AGAIN);
}

#[test]
fn the_packaged_rule_gives_the_device_to_its_group() {
    UDEV.shows(&RULE);
}
