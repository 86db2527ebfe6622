//! The package's life on a Debian that its systemd has booted: one guest, whose steps follow one another.

use super::deb;
use crate::cuse::scenario::{Scenario, Stage};
use crate::device::client::{self, project};
use crate::device::ends::program_in;
use crate::guest::{Guest, GuestError, Report, debian, host};
use std::fs;

/// What each step begins with.
const VOCABULARY: &str = concat!(include_str!("../cuse/guest.sh"), "\n", include_str!("system.sh"));

/// What it takes to boot, to install the package, and to compile a client.
const PACKAGES: &[&str] = &["systemd-sysv", "udev", "dbus", "kmod", "gcc", "libc6-dev"];

static DEBIAN: Stage = Stage::new(play);

/// The guest as it was before the package came, with two users.
const BOOTED: Scenario = Scenario {
    name: "booted",
    script: "systemctl is-system-running --wait
systemctl --failed --no-legend --plain
useradd --create-home member
useradd --create-home stranger
remember",
    shows: "running",
};

const INSTALLED: Scenario = Scenario {
    name: "installed",
    script: "apt install $packages/kmonitor.deb
state
getent group kmonitor
ls /dev/kmonitor",
    shows: "disabled, inactive
kmonitor:x:...:
ls: cannot access '/dev/kmonitor': No such file or directory",
};

const STARTED: Scenario = Scenario {
    name: "started",
    script: "systemctl start kmonitor || journalctl --no-pager --quiet --unit kmonitor
state
device
usermod -aG kmonitor member
as member kmonitor doctor >/run/doctor
echo doctor: $?",
    shows: "disabled, active
device: character special file 660 root:kmonitor
doctor: 0",
};

/// The README's program, with the header where the package has put it.
const SERVED: Scenario = Scenario {
    name: "served",
    script: "cc -Wall -o /usr/local/bin/watch $packages/watch.c
as stranger watch $$
mkfifo -m 666 /run/go
as member sh -c '
sh -c \"read go </run/go; sleep 0.1 & exec sleep 0.2\" &
watch $! &
while kill -0 $! && ! grep -q \"^128 \" /proc/$!/syscall; do sleep 0.1; done
echo >/run/go
wait'
rm /usr/local/bin/watch",
    shows: "watch: /dev/kmonitor: Permission denied
event 0x8, process ..., user 1000
event 0x20, process ..., user 1000
event 0x40, process ..., user 1000",
};

/// The client has the device open, and is told of an exit, as if nothing had happened.
const UPGRADED: Scenario = Scenario {
    name: "upgraded",
    script: "before=$(daemon)
path=/dev/kmonitor
client open
tell open \"open $path\"
target
tell open \"register $target 64 40\"
apt install $packages/next.deb
dpkg-query -W kmonitor
[ \"$(daemon)\" = \"$before\" ] && echo the same daemon
kill $target
tell open 'take 1'",
    shows: "open: open: 0
open: register: 0
kmonitor 0.1.0-1 goes on serving its clients; ...
kmonitor\t99.0-1
the same daemon
open: take: 40:-1:0:TARGET:0:64",
};

/// The client of the daemon that has gone is told so, and goes on with the new one.
const RESTARTED: Scenario = Scenario {
    name: "restarted",
    script: "before=$(daemon)
path=/dev/kmonitor
systemctl restart kmonitor
state
[ \"$(daemon)\" != \"$before\" ] && echo another daemon
target
tell open \"register $target 64 40\"
tell open close
kill $target
hears open",
    shows: "disabled, active
another daemon
open: register: ENOTCONN
open: close: 0
open: open: 0
open: register: 0
open: take: 40:-1:0:TARGET:0:64
open: close: 0",
};

const PURGED: Scenario = Scenario {
    name: "purged",
    script: "systemctl --quiet enable kmonitor
tell open 'open /dev/kmonitor'
before=$(daemon)
apt purge kmonitor
systemctl is-active kmonitor
ls -d /dev/kmonitor /proc/$before
grep -c kmonitor /proc/mounts
target
tell open \"register $target 64 40\"
changed
systemctl --failed --no-legend --plain
systemctl is-system-running",
    shows: "open: open: 0
inactive
ls: cannot access '/dev/kmonitor': No such file or directory
ls: cannot access '/proc/...': No such file or directory
0
open: register: ENOTCONN
> kmonitor:x:...:member
running",
};

/// As docs/install.md says; what cargo would build is in the package.
const BY_HAND: Scenario = Scenario {
    name: "by hand",
    script: "groupdel kmonitor
printf '#!/bin/sh\\nexec \"$@\"\\n' >/usr/local/bin/sudo
chmod +x /usr/local/bin/sudo
remember
dpkg-deb -x $packages/kmonitor.deb /root/built
cargo() {
    case $1 in
    build) install -D -t target/release /root/built/usr/bin/kmonitor ;;
    run) mkdir -p target/share && cp -r /root/built/usr/share/man target/share ;;
    esac
}
cd /root/source
. ../install.sh
systemctl start kmonitor
state
device
. ../remove.sh 2>&1
ls -d /dev/kmonitor
changed",
    shows: "Creating group 'kmonitor' with GID ...
disabled, active
device: character special file 660 root:kmonitor
ls: cannot access '/dev/kmonitor': No such file or directory
> /usr/local/include/linux
> /usr/local/share/man/man1
> /usr/local/share/man/man4
> /usr/local/share/man/man8",
};

const ALL: &[&Scenario] = &[&BOOTED, &INSTALLED, &STARTED, &SERVED, &UPGRADED, &RESTARTED, &PURGED, &BY_HAND];

fn play() -> Result<Report, GuestError> {
    let scratch = host::Scratch::new(&host::cache()?)?;
    let guest = Guest::debian(&debian::host_suite()?, PACKAGES)?
        .file("/root/packages/kmonitor.deb", deb::path())
        .file("/root/packages/next.deb", deb::next(&scratch.path(""))?)
        .text("/root/packages/watch.c", 0o644, program_in("README.md"))
        .file("/usr/local/bin/device-client", client::build("client"))
        .text("/root/vocabulary", 0o644, VOCABULARY);
    let (install, remove) = instructions();
    let guest = guest.text("/root/install.sh", 0o644, install).text("/root/remove.sh", 0o644, remove);
    let guest = ["packaging/kmonitor.service", "packaging/kmonitor.sysusers", "packaging/70-kmonitor.rules"]
        .iter()
        .chain(&["compat/linux/kmonitor.h"])
        .fold(guest, |guest, file| guest.file(&format!("/root/source/{file}"), project(file)));
    let guest = ALL.iter().fold(guest, |guest, scenario| {
        guest.step(scenario.name, &format!(". /root/vocabulary\n{}", scenario.script))
    });
    guest.run()
}

/// The commands by which docs/install.md installs kmonitor without the package, and those that remove it.
fn instructions() -> (String, String) {
    let text = fs::read_to_string(project("docs/install.md")).expect("it is text");
    let (_, text) = text.split_once("## Without the package").expect("it has this section");
    let (install, remove) = text.split_once("To remove it again").expect("it has this sentence");
    let commands = |text: &str| -> String { text.split("```\n").skip(1).step_by(2).collect() };
    // The blocks of a list's items end with their indentation.
    (commands(&install.replace("   ```", "```")), commands(remove))
}

#[test]
fn it_is_installed_and_starts_nothing() {
    DEBIAN.shows(&BOOTED);
    DEBIAN.shows(&INSTALLED);
}

#[test]
fn its_service_serves_the_members_of_the_group() {
    DEBIAN.shows(&STARTED);
    DEBIAN.shows(&SERVED);
}

#[test]
fn an_upgrade_leaves_open_clients_alone() {
    DEBIAN.shows(&UPGRADED);
}

#[test]
fn a_restart_serves_with_the_new_version() {
    DEBIAN.shows(&RESTARTED);
}

#[test]
fn a_purge_leaves_the_group_and_nothing_else() {
    DEBIAN.shows(&PURGED);
}

#[test]
fn the_instructions_without_the_package_install_and_remove_it() {
    DEBIAN.shows(&BY_HAND);
}
