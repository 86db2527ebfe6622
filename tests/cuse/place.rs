//! The device's node: whose it is, and what may be in its place already.

use super::CUSE;
use super::scenario::Scenario;

pub const ALL: &[&Scenario] = &[&OWNED, &CHANGED, &TAKEN, &FOREIGN_DEVICE, &LEFT, &NO_DEVTMPFS, &OUTSIDE];

const OWNED: Scenario = Scenario {
    name: "owned",
    script: "try() {
    serve daemon --node cuse \"$@\"
    node
    [ \"$(stat -c %t:%T $path)\" = \"$(printf %x:%x $(tr : ' ' </sys/class/cuse/kmonitor/dev))\" ] || echo number
    for user in 0 65534 65533; do opens $user '<>' '<' '>'; done
    stop daemon
}
try
try --mode 660 --group nogroup --owner nobody
try --mode 640 --group 65533",
    shows: "daemon: kmonitor: ready: /dev/kmonitor
node: character special file 600 root:root
node: a device of CUSE
0: opens by <>
0: opens by <
0: opens by >
65534: may not open by <>
65534: may not open by <
65534: may not open by >
65533: may not open by <>
65533: may not open by <
65533: may not open by >
daemon: status 0
daemon: kmonitor: ready: /dev/kmonitor
node: character special file 660 nobody:nogroup
node: a device of CUSE
0: opens by <>
0: opens by <
0: opens by >
65534: opens by <>
65534: opens by <
65534: opens by >
65533: may not open by <>
65533: may not open by <
65533: may not open by >
daemon: status 0
daemon: kmonitor: ready: /dev/kmonitor
node: character special file 640 root:UNKNOWN
node: a device of CUSE
0: opens by <>
0: opens by <
0: opens by >
65534: may not open by <>
65534: may not open by <
65534: may not open by >
65533: may not open by <>
65533: opens by <
65533: may not open by >
daemon: status 0",
};

const CHANGED: Scenario = Scenario {
    name: "changed",
    script: "serve daemon --node cuse
chmod 606 $path
opens 65534 '<>'
chmod 600 $path
chown 65534:65534 $path
opens 65534 '<>'
opens 65533 '<>'
stop daemon
node",
    shows: "daemon: kmonitor: ready: /dev/kmonitor
65534: opens by <>
65534: opens by <>
65533: may not open by <>
daemon: status 0
node: none",
};

const TAKEN: Scenario = Scenario {
    name: "taken",
    script: "try() {
    serve daemon --node cuse
    node
}
echo precious >$path; try; cat $path; rm $path
: >$path; try; rm $path
ln -s /tmp/nowhere $path; serve daemon --node cuse; readlink $path; ls /tmp/nowhere; rm $path
mkdir $path; try; rmdir $path
: >$path; : >/tmp/other; mount --bind /tmp/other $path; try; umount $path; rm $path",
    shows: "daemon: status 1
daemon: kmonitor: /dev/kmonitor exists and is not kmonitor's (...): remove it, or choose another place with --path
node: regular file 644 root:root
precious
daemon: status 1
daemon: kmonitor: /dev/kmonitor exists and is not kmonitor's (...): remove it...
node: regular empty file 644 root:root
daemon: status 1
daemon: kmonitor: /dev/kmonitor exists and is not kmonitor's (...): remove it...
/tmp/nowhere
ls: /tmp/nowhere: No such file or directory
daemon: status 1
daemon: kmonitor: /dev/kmonitor exists and is not kmonitor's (...): remove it...
node: directory 755 root:root
daemon: status 1
daemon: kmonitor: /dev/kmonitor exists and is not kmonitor's (another file system is mounted there): remove it...
node: regular empty file 644 root:root
node: a mount",
};

/// The original's number, and one of a driver that is in service.
const FOREIGN_DEVICE: Scenario = Scenario {
    name: "foreign device",
    script: "living=$(ls /sys/dev/char | grep -v '^4[0-9]*:' | sort -t: -k1 -n | tail -n 1)
for number in 10:221 1:3 $living; do
    mknod $path c ${number%:*} ${number#*:}
    for carrier in cuse fuse; do serve $carrier --node $carrier; done
    [ $((0x$(stat -c %t $path))):$((0x$(stat -c %T $path))) = $number ] && echo still there
    rm $path
done
[ ${living%:*} -ge 234 ] && echo a dynamic one too",
    shows: "cuse: status 1
cuse: kmonitor: /dev/kmonitor exists and is not kmonitor's (a device node: ...): remove it...
fuse: status 1
fuse: kmonitor: /dev/kmonitor exists and is not kmonitor's (a device node: ...): remove it...
still there
cuse: status 1
cuse: kmonitor: /dev/kmonitor exists and is not kmonitor's (a device node: ...): remove it...
fuse: status 1
fuse: kmonitor: /dev/kmonitor exists and is not kmonitor's (a device node: ...): remove it...
still there
cuse: status 1
cuse: kmonitor: /dev/kmonitor exists and is not kmonitor's (a device node: ...): remove it...
fuse: status 1
fuse: kmonitor: /dev/kmonitor exists and is not kmonitor's (a device node: ...): remove it...
still there
a dynamic one too",
};

const LEFT: Scenario = Scenario {
    name: "left",
    script: "serve killed --node fuse
client old
tell old 'open /dev/kmonitor'
crash killed
grep -c ' /dev/kmonitor ' /proc/mounts
serve daemon --node cuse
node
tell old 'register 1 64 40'
client new
hears new
stop daemon
node
serve killed --node fuse
crash killed
umount -l $path
cat $path
serve daemon --node cuse
node
stop daemon
for carrier in cuse fuse; do
    mknod $path c 250 7
    serve daemon --node $carrier
    node
    stop daemon
done
node",
    shows: "killed: kmonitor: ready: /dev/kmonitor
old: open: 0
killed: status 137
1
daemon: kmonitor: ready: /dev/kmonitor
node: character special file 600 root:root
node: a device of CUSE
old: register: ENOTCONN
new: open: 0
new: register: 0
new: take: 40:-1:0:TARGET:0:64
new: close: 0
daemon: status 0
node: none
killed: kmonitor: ready: /dev/kmonitor
killed: status 137
kmonitor is not running: start it with `kmonitor serve`
daemon: kmonitor: ready: /dev/kmonitor
node: character special file 600 root:root
node: a device of CUSE
daemon: status 0
daemon: kmonitor: ready: /dev/kmonitor
node: character special file 600 root:root
node: a device of CUSE
daemon: status 0
daemon: kmonitor: ready: /dev/kmonitor
node: regular empty file 600 root:root
node: a mount
daemon: status 0
node: none",
};

/// As in a container: nobody makes a node there but the daemon, and nobody takes it away.
const NO_DEVTMPFS: Scenario = Scenario {
    name: "no devtmpfs",
    script: "cat >/tmp/inside <<'END'
. /vocabulary
serve daemon --node cuse --mode 640 --owner 65534
node
client new
hears new
stop daemon
node
serve daemon --node cuse
crash daemon
node
serve daemon --node cuse
hears new
stop daemon
node
END
host-unshare -m sh -c 'mount -t tmpfs none /dev
    mknod /dev/cuse c 10 203; mknod /dev/fuse c 10 229; mknod /dev/null c 1 3; exec sh /tmp/inside'",
    shows: "daemon: kmonitor: ready: /dev/kmonitor
node: character special file 640 nobody:root
node: a device of CUSE
new: open: 0
new: register: 0
new: take: 40:-1:0:TARGET:0:64
new: close: 0
daemon: status 0
node: none
daemon: kmonitor: ready: /dev/kmonitor
daemon: status 137
node: character special file 600 root:root
daemon: kmonitor: ready: /dev/kmonitor
new: open: 0
new: register: 0
new: take: 40:-1:0:TARGET:0:64
new: close: 0
daemon: status 0
node: none",
};

const OUTSIDE: Scenario = Scenario {
    name: "outside",
    script: "for path in /tmp/kmonitor /dev/shm/kmonitor /dev/other; do
    serve cuse --node cuse
    [ -e $path ] && stop cuse
    serve auto
    node
    client new
    hears new
    stop auto
    complaints auto
    node
done",
    shows: "cuse: status 1
cuse: kmonitor: a character device can only be made directly in /dev, not at /tmp/kmonitor: use --node fuse there
auto: kmonitor: ready: /tmp/kmonitor
node: regular empty file 600 root:root
node: a mount
new: open: 0
new: register: 0
new: take: 40:-1:0:TARGET:0:64
new: close: 0
auto: status 0
auto: kmonitor: the device is a FUSE mount, since a character device could not be made outside /dev
node: none
cuse: status 1
cuse: kmonitor: a character device can only be made directly in /dev, not at /dev/shm/kmonitor: use --node fuse there
auto: kmonitor: ready: /dev/shm/kmonitor
node: regular empty file 600 root:root
node: a mount
new: open: 0
new: register: 0
new: take: 40:-1:0:TARGET:0:64
new: close: 0
auto: status 0
auto: kmonitor: the device is a FUSE mount, since a character device could not be made outside /dev
node: none
cuse: kmonitor: ready: /dev/other
cuse: status 0
auto: kmonitor: ready: /dev/other
node: character special file 600 root:root
node: a device of CUSE
new: open: 0
new: register: 0
new: take: 40:-1:0:TARGET:0:64
new: close: 0
auto: status 0
auto: kmonitor: the device is a CUSE character device, since the kernel has CUSE
node: none",
};

#[test]
fn mode_owner_and_group_are_options_that_the_kernel_enforces() {
    CUSE.shows(&OWNED);
}

#[test]
fn root_can_open_the_device_up_with_chmod_and_chown() {
    CUSE.shows(&CHANGED);
}

#[test]
fn what_is_not_a_device_is_refused_and_stays() {
    CUSE.shows(&TAKEN);
}

#[test]
fn a_foreign_device_node_is_refused_and_stays() {
    CUSE.shows(&FOREIGN_DEVICE);
}

#[test]
fn what_a_crash_left_is_known_and_cleared() {
    CUSE.shows(&LEFT);
}

#[test]
fn without_devtmpfs_the_daemon_makes_the_node_and_takes_it_away() {
    CUSE.shows(&NO_DEVTMPFS);
}

#[test]
fn outside_dev_only_fuse_will_do() {
    CUSE.shows(&OUTSIDE);
}
