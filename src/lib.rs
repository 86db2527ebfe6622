//! kmonitor: the 2004 process-monitoring device, served from user space.
//!
//! The way of an event: [`source`] reads it from the kernel, [`core`] asks [`registry`] who wants
//! it, drains the device queue, and has [`notify`] send the signal. The way of a request: [`node`]
//! reads it, [`core`] drains the source, [`driver`] applies the original's rules.

pub mod abi;
pub mod closing;
pub mod confine;
pub mod core;
pub mod daemon;
pub mod descriptors;
pub mod doctor;
pub mod driver;
pub mod event;
pub mod history;
pub mod holders;
pub mod ids;
pub mod keeper;
pub mod memory;
pub mod monitors;
pub mod node;
pub mod notify;
pub mod observe;
#[cfg(any(test, fuzzing))]
pub mod properties;
pub mod records;
pub mod registry;
pub mod remedy;
pub mod source;
pub mod status;
pub mod sys;
pub mod system;
pub mod view;
pub mod wait;
pub mod watch;
