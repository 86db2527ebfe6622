//! The source in the kernel, by itself: BPF programs on the running kernel, and C programs that they watch.

mod arguments;
mod exits;
mod guest;
pub mod harness;
mod object;
mod refusals;
mod registrations;
pub mod storms;
