//! The source in the kernel, by itself: BPF programs on the running kernel, and C programs that they watch.

mod exits;
mod harness;
mod object;
mod registrations;
mod storms;
