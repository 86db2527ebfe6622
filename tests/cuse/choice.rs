//! Which carrier `--node` takes, and what it says of it.

use super::CUSE;
use super::scenario::Scenario;

pub const ALL: &[&Scenario] = &[&OFFERED, &MISSING, &NODE_ALONE, &LOADED];

const OFFERED: Scenario = Scenario {
    name: "offered",
    script: "for carrier in auto fuse; do
    serve daemon --node $carrier
    node
    kmonitor status | head -n 2
    stop daemon
    complaints daemon
done",
    shows: "daemon: kmonitor: ready: /dev/kmonitor
node: character special file 600 root:root
node: a device of CUSE
/dev/kmonitor: kmonitor ... has served for ...
device  a CUSE character device, since the kernel has CUSE
daemon: status 0
daemon: kmonitor: the device is a CUSE character device, since the kernel has CUSE
daemon: kmonitor: ready: /dev/kmonitor
node: regular empty file 600 root:root
node: a mount
/dev/kmonitor: kmonitor ... has served for ...
device  a FUSE mount, as asked for
daemon: status 0
daemon: kmonitor: the device is a FUSE mount, as asked for",
};

const MISSING: Scenario = Scenario {
    name: "missing",
    script: "rmmod cuse
serve daemon
node
stop daemon
complaints daemon
serve daemon --node cuse
node",
    shows: "daemon: kmonitor: ready: /dev/kmonitor
node: regular empty file 600 root:root
node: a mount
daemon: status 0
daemon: kmonitor: the device is a FUSE mount, since the kernel has no CUSE
daemon: status 2
daemon: kmonitor: the kernel offers no CUSE (/dev/cuse...): load it with `modprobe cuse`, ...CONFIG_CUSE, or use --node fuse
node: none",
};

/// Distributions make the node at boot, so that opening it loads the module, where that may be loaded.
const NODE_ALONE: Scenario = Scenario {
    name: "node alone",
    script: "rmmod cuse
mknod /dev/cuse c 10 203
serve daemon
node
stop daemon
complaints daemon
serve daemon --node cuse
node
rm /dev/cuse",
    shows: "daemon: kmonitor: ready: /dev/kmonitor
node: regular empty file 600 root:root
node: a mount
daemon: status 0
daemon: kmonitor: the device is a FUSE mount, since the kernel has no CUSE
daemon: status 2
daemon: kmonitor: the kernel offers no CUSE (/dev/cuse...): load it with `modprobe cuse`, ...CONFIG_CUSE, or use --node fuse
node: none",
};

const LOADED: Scenario = Scenario {
    name: "loaded",
    script: "rmmod cuse
modules=/lib/modules/$(uname -r)
mkdir -p $modules
cp /guest/module/cuse.ko $modules
echo 'cuse.ko:' >$modules/modules.dep
serve daemon
node
client new
hears new
stop daemon
complaints daemon",
    shows: "daemon: kmonitor: ready: /dev/kmonitor
node: character special file 600 root:root
node: a device of CUSE
new: open: 0
new: register: 0
new: take: 40:-1:0:TARGET:0:64
new: close: 0
daemon: status 0
daemon: kmonitor: the device is a CUSE character device, since the kernel has CUSE",
};

#[test]
fn with_cuse_auto_takes_it_and_says_so() {
    CUSE.shows(&OFFERED);
}

#[test]
fn without_cuse_auto_takes_fuse_and_says_why_and_cuse_gives_the_remedy() {
    CUSE.shows(&MISSING);
}

#[test]
fn a_node_without_its_driver_is_no_cuse() {
    CUSE.shows(&NODE_ALONE);
}

#[test]
fn a_module_that_can_be_loaded_is() {
    CUSE.shows(&LOADED);
}
