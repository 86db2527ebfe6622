# What the scripts say that run on a Debian with the package.

packages=/root/packages

# files: all that a package could leave, and what /etc holds; but for the package system's own records, caches and
# logs, and for the groups and their backups.
files() {
	find / -xdev \( -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache -o -path /var/log \
		-o -path /tmp -o -path /root -o -path /proc -o -path /sys -o -path /dev -o -path /run \) -prune \
		-o -path '/etc/group-' -o -path '/etc/gshadow-' -o -print | sort
	find /etc -type f ! -name 'group*' ! -name 'gshadow*' -exec md5sum {} + | sort -k 2
}

# remember: the files and groups; changed: those that came, went or changed since.
remember() {
	files >/root/files
	cp /etc/group /root/group
}
changed() {
	files | diff /root/files - | grep '^[<>]' | sed 's/^\([<>]\) [0-9a-f]\{32\} /\1/'
	diff /root/group /etc/group | grep '^[<>]'
}

# apt ARGUMENT...: quiet, unless it fails. What the maintainer scripts of kmonitor print begins with its name.
apt() {
	DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" >/run/apt.log 2>&1 || cat /run/apt.log
	grep '^kmonitor ' /run/apt.log
}

# as USER COMMAND...: with the user's groups.
as() {
	user=$1
	shift
	runuser -u "$user" -- "$@"
}

# state: of the service.
state() {
	echo "$(systemctl is-enabled kmonitor 2>&1), $(systemctl is-active kmonitor)"
}

# device: what is at /dev/kmonitor.
device() {
	stat -c 'device: %F %a %U:%G' /dev/kmonitor 2>&1
}

# daemon: the process of the service.
daemon() {
	systemctl show --property MainPID --value kmonitor
}
