#!/bin/busybox sh
# Process 1 of the guest. It prepares a small system and runs the steps there, or hands the machine to the process 1 of
# a Debian on a disk, which runs them as a service.

/bin/busybox mkdir -p /bin /dev /etc /mnt /proc /root /run /sys /tmp /var
/bin/busybox --install -s /bin 2>/dev/null
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t proc proc /proc
mount -t sysfs sys /sys
for dir in /dev/shm /run /tmp; do mount -t tmpfs -o mode=1777 tmp $dir; done
ifconfig lo up
ulimit -i 8192
ulimit -Hn 65536
stty -F /dev/ttyS1 raw -echo

fail() {
    echo "$(cat /guest/word) failed $*" >/dev/ttyS1
    while :; do sleep 3600; done
}

while read -r module; do
    eval "insmod $module" 2>/run/.insmod || fail "${module%% *} does not load: $(cat /run/.insmod)"
done </guest/modules
[ -d /sys/fs/fuse/connections ] && mount -t fusectl fusectl /sys/fs/fuse/connections

if [ -e /guest/guest.service ]; then
    mkdir /disk
    mount -t ext4 /dev/vda /disk 2>/run/.mount || fail "the disk cannot be mounted: $(cat /run/.mount)"
    [ ! -e /guest/files ] || cp -a /guest/files/. /disk
    # The new process 1 keeps a /run that is there already.
    mount -t tmpfs -o mode=755 run /disk/run
    cp -a /guest /disk/run
    mkdir -p /disk/run/systemd/system/multi-user.target.wants
    mv /disk/run/guest/guest.service /disk/run/systemd/system
    ln -s ../guest.service /disk/run/systemd/system/multi-user.target.wants
    mount --move /dev /disk/dev
    exec switch_root /disk /sbin/init
fi
exec sh /guest/steps.sh
