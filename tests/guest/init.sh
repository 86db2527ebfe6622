#!/bin/busybox sh
# Process 1 of the guest. It prepares a small system, runs the steps in /guest/steps, and tells the host.
# /dev/ttyS0 is the console; /dev/ttyS1 carries the steps' output and, after a random word that no program
# knows, our own lines: "ready", "end STATUS BEGIN END", "late BEGIN END", "failed SENTENCE".

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

# Every step writes straight into this pipe, so that output and our lines keep their order. We hold both ends:
# no writer ever sees it closed.
stty -F /dev/ttyS1 raw -echo
mkfifo /run/.report
exec 3<>/run/.report
cat <&3 >/dev/ttyS1 3<&- &
read -r word </guest/word
rm /guest/word
report() { echo "$word $*" >&3; }

fail() {
    report "failed $*"
    while :; do sleep 3600; done
}

while read -r module; do
    eval "insmod $module" 2>/run/.insmod || fail "${module%% *} does not load: $(cat /run/.insmod)"
done </guest/modules
[ -d /sys/fs/fuse/connections ] && mount -t fusectl fusectl /sys/fs/fuse/connections

# Ends everything in the session of a step, also what moved to another process group.
end_session() {
    kill -KILL "-$1" 2>/dev/null
    for stat in /proc/[0-9]*/stat; do
        read -r line <"$stat" || continue
        pid=${line%% *}
        set -- "$1" ${line##*) }
        [ "$5" = "$1" ] && kill -KILL "$pid"
    done 2>/dev/null
}

report ready
while read -r number limit; do
    read -r begin _ </proc/uptime
    setsid sh "/guest/step/$number" </dev/null >&3 2>&1 3<&- &
    step=$!
    (
        sleep "$limit"
        : >"/run/.late.$number"
        end_session $step
    ) 3<&- &
    watch=$!
    wait $step
    status=$?
    read -r end _ </proc/uptime
    if [ -e "/run/.late.$number" ]; then
        wait $watch
        report "late $begin $end"
    else
        # Stopped first, so that it cannot start another child between the two signals.
        kill -STOP $watch
        read -r children </proc/$watch/task/$watch/children
        kill -KILL $watch $children
        report "end $status $begin $end"
    fi
done </guest/steps
while :; do sleep 3600; done
