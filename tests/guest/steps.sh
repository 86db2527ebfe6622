#!/bin/sh
# Runs the steps of the guest, which lie beside this file, and reports to the host. /dev/ttyS0 is the console;
# /dev/ttyS1 carries the steps' output and, after a random word that no program knows, our own lines: "ready",
# "end STATUS BEGIN END", "late BEGIN END"; init.sh adds "failed SENTENCE".

guest=${0%/*}

# Every step writes straight into this pipe, so that output and our lines keep their order. We hold both ends:
# no writer ever sees it closed.
mkfifo /run/.report
exec 3<>/run/.report
cat <&3 >/dev/ttyS1 3<&- &
read -r word <$guest/word
rm $guest/word
report() { echo "$word $*" >&3; }

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
    setsid sh "$guest/step/$number" </dev/null >&3 2>&1 3<&- &
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
done <$guest/steps
while :; do sleep 3600; done
