//! The tests that need the real thing: root, this kernel, and a guest in QEMU. `tests/run` installs
//! what they need and runs them.

mod bpf;
mod cli;
mod conformance;
mod cuse;
mod device;
mod guest;
mod languages;
mod original;
mod package;
mod trees;
mod watch;

#[path = "guest/selftest.rs"]
mod guest_selftest;
#[path = "original/selftest.rs"]
mod original_selftest;
