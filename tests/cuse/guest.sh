# What the scenarios in the guest say. Each step reads this first.

path=/dev/kmonitor

# fresh: ends and clears what an earlier step may have left.
fresh() {
	killall -KILL kmonitor device-client
	while pidof kmonitor; do sleep 0.05; done
	while umount -l $path; do :; done
	rm -rf $path "/lib/modules/$(uname -r)"
	[ -e /sys/module/cuse ] || insmod /guest/module/cuse.ko
} >/dev/null 2>&1

# serve NAME OPTION...: starts a daemon; prints its word that it serves, or how it ended.
serve() {
	rm -f "/tmp/$1".*
	mkfifo "/tmp/$1.said" "/tmp/$1.ended"
	(
		name=$1
		shift
		kmonitor serve --path $path "$@" >"/tmp/$name.said" 2>"/tmp/$name.errors" &
		echo $! >"/tmp/$name.pid"
		wait $!
		echo "status $?" >"/tmp/$name.ended"
	) >/dev/null 2>&1 &
	if read -r line <"/tmp/$1.said"; then
		echo "$1: $line"
	else
		ended "$1"
		complaints "$1"
	fi
}

# signal SIGNAL NAME: to a daemon or a client.
signal() { kill "-$1" "$(cat "/tmp/$2.pid")"; }

# ended NAME: waits for the end of a daemon.
ended() { echo "$1: $(timeout 300 cat "/tmp/$1.ended")"; }

# stop NAME, crash NAME: ends a daemon well, or not: with the process that would clean up after it.
stop() {
	signal TERM "$1"
	ended "$1"
}
crash() {
	# shellcheck disable=SC2046 # numbers
	kill -KILL $(cat "/proc/$(cat "/tmp/$1.pid")/task/"*/children)
	signal KILL "$1"
	ended "$1"
}

# pause NAME: stops the work of a daemon, and waits until all its threads are stopped.
pause() {
	signal STOP "$1"
	while grep -q '^State:.[^T]' "/proc/$(cat "/tmp/$1.pid")"/task/*/status; do sleep 0.05; done
}

# complaints NAME: what a daemon wrote to its standard error, but for where events come from, which depends on the
# kernel.
complaints() { sed "/^kmonitor: events come from /d; s/^/$1: /" "/tmp/$1.errors"; }

# client NAME: starts a client, which has nothing open.
client() {
	rm -f "/tmp/$1".*
	mkfifo "/tmp/$1.in" "/tmp/$1.out"
	# shellcheck disable=SC2094 # opened for both, so that neither end is ever closed
	device-client <>"/tmp/$1.in" 1<>"/tmp/$1.out" 2>&1 &
	echo $! >"/tmp/$1.pid"
}

# say NAME LINE: has a client make a call; answer NAME LINE prints what it answers.
say() { echo "$2" >"/tmp/$1.in"; }
answer() {
	read -r line <"/tmp/$1.out"
	case $line in
	-2) line=ENOENT ;;
	-13) line=EACCES ;;
	-103) line=ECONNABORTED ;;
	-107) line=ENOTCONN ;;
	*) line=$(echo "$line" | sed "s/:$target:/:TARGET:/") ;;
	esac
	echo "$1: ${2%% *}: $line"
}
tell() {
	say "$1" "$2"
	answer "$1" "$2"
}

# begin NAME NUMBER LINE: has a client make a call, and waits until it waits in that system call.
begin() {
	say "$1" "$3"
	until grep -q "^$2 " "/proc/$(cat "/tmp/$1.pid")/syscall"; do sleep 0.05; done
}

# target: starts a process to watch. hears NAME: lets the client of this name have it open, and end.
target() {
	sleep 1000 >/dev/null &
	target=$!
}
hears() {
	target
	tell "$1" "open $path"
	tell "$1" "register $target 64 40"
	kill $target
	tell "$1" "take 1"
	tell "$1" close
}

# node: what is at the path. opens USER HOW...: who may open it by these redirections.
node() {
	if [ -e $path ] || [ -L $path ]; then
		stat -c 'node: %F %a %U:%G' $path
	else
		echo "node: none"
	fi
	grep -q " $path " /proc/mounts && echo "node: a mount"
	[ -e "/sys/class/cuse/${path##*/}" ] && echo "node: a device of CUSE"
}
opens() {
	user=$1
	shift
	for how; do
		if host-setpriv --reuid "$user" --regid "$user" --clear-groups sh -c ": $how$path" 2>/dev/null; then
			echo "$user: opens by $how"
		else
			echo "$user: may not open by $how"
		fi
	done
}
