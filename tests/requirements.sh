# shellcheck shell=sh disable=SC2154 # root and name are the caller's
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# What c-examples/demo, tests/run and packaging/ need of the machine. Who sources it
# sets `root`, the top of the source tree, and `name`, which its messages
# begin with.

say() { echo "$name: $*" >&2; }
fail() {
	say "$*"
	exit 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Asks for sudo's password now, and not after minutes of building.
require_root() {
	[ "$(id -u)" -ne 0 ] || return 0
	command -v sudo >/dev/null || fail "root is needed, and there is no sudo: start this as root"
	sudo true || fail "root is needed, and sudo refuses"
}

# Quiet, unless it fails.
apt_get() {
	log=$(mktemp)
	if ! as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
		apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1 </dev/null; then
		cat "$log" >&2
		rm -f "$log"
		fail "apt-get $* failed; its messages are above"
	fi
	# `update` succeeds also where it has reached no server.
	grep '^[WE]:' "$log" >&2 || :
	rm -f "$log"
}

is_debian() { command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; }

# install PACKAGE...: those that are missing.
install() {
	missing=
	for package; do
		case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
		installed) ;;
		*) missing="$missing $package" ;;
		esac
	done
	[ -n "$missing" ] || return 0
	say "installing$missing"
	apt_get update
	# shellcheck disable=SC2086 # package names hold no blanks
	apt_get install -y --no-install-recommends $missing
}

# at_least VERSION WANTED
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# Rust as new as Cargo.toml asks for. Neither Debian 12 nor 13 has it.
require_rust() {
	needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$root/Cargo.toml")
	# rustup puts cargo here, where a shell that is already open does not look.
	PATH=$PATH:${HOME:-/root}/.cargo/bin
	if command -v rustup >/dev/null; then
		remedy="run: rustup update stable && rustup default stable"
	else
		remedy="install it with rustup, as https://rustup.rs says (apt-get install curl, if that is missing):
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh
then start this again"
	fi
	if [ "$(id -u)" -eq 0 ] && [ -n "${SUDO_USER:-}" ]; then
		remedy="$remedy
(If $SUDO_USER has Rust: start this without sudo. It calls sudo itself where root is needed.)"
	fi
	if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
		fail "Rust $needed or later is needed, and there is none; $remedy"
	fi
	version=$(cd "$root" && rustc --version) || fail "rustc does not run; $remedy"
	version=$(echo "$version" | cut -d' ' -f2)
	at_least "$version" "$needed" || fail "Rust $needed or later is needed, and this is $version; $remedy"
}

# Where cargo builds: CARGO_TARGET_DIR or cargo's configuration may have put it elsewhere.
target_directory() {
	(cd "$root" && cargo metadata --locked --no-deps --format-version 1) |
		sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
