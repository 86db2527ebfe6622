//! The Debian package: on a Debian that systemd has booted, and on the newest one. `packaging/build-deb` must have
//! built it.

mod deb;
mod guest;
mod newer;
mod pages;
