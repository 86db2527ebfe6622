//! `kmonitor doctor` where the kernel has CUSE.

use super::CUSE;
use super::scenario::Scenario;

pub const ALL: &[&Scenario] = &[&EXAMINED, &STALE];

const EXAMINED: Scenario = Scenario {
    name: "examined",
    script: "check() { kmonitor doctor >/tmp/doctor; echo status $?; grep -E \"^.{4}  ($1) \" /tmp/doctor; }
serve daemon --node cuse
check 'cuse|device|daemon|events'
host-setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'kmonitor doctor' | grep -E '^.{4}  (cuse|permissions) '
pause daemon
check 'device|daemon'
signal CONT daemon
stop daemon
rmmod cuse
check cuse
modules=/lib/modules/$(uname -r)
mkdir -p $modules
echo 'kernel/fs/fuse/cuse.ko: kernel/fs/fuse/fuse.ko' >$modules/modules.dep
check cuse
lsmod | grep -c cuse",
    shows: "daemon: kmonitor: ready: /dev/kmonitor
status 0
ok    cuse          the kernel has CUSE, and its device opens
ok    device        a CUSE character device, mode 600, user root, group root, opened in ... us
ok    daemon        process ... serves, and runs this very program
ok    events        fork, exec and exit of ... processes were reported; ...
fail  permissions   user ... may not open the device: mode 600, user root, group root
ok    cuse          the kernel has CUSE; whether its device opens only root can try
status 2
fail  device        a CUSE character device; it does not answer: open(2) of /dev/kmonitor did not return...
fail  daemon        process ... serves, and is stopped
daemon: status 0
status 0
warn  cuse          this kernel has no CUSE
status 0
ok    cuse          the module cuse is not loaded; serving loads it
0",
};

const STALE: Scenario = Scenario {
    name: "stale",
    script: "mknod $path c 240 7
kmonitor doctor >/tmp/doctor
echo status $?
grep -A1 leftovers /tmp/doctor
node
rm $path
kmonitor doctor | grep leftovers",
    shows: "status 0
warn  leftovers     /dev/kmonitor is the node of a device that is gone
                    -> kmonitor serve clears it; or by hand, as root: rm /dev/kmonitor
node: character special file 644 root:root
ok    leftovers     nothing is in the way",
};

#[test]
fn a_cuse_device_is_tried_and_its_module_is_not_loaded_for_that() {
    CUSE.shows(&EXAMINED);
}

#[test]
fn a_stale_device_node_is_a_leftover_and_stays() {
    CUSE.shows(&STALE);
}
