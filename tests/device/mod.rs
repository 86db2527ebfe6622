//! The device on the running kernel: `kmonitor` as its users start it, and C programs as its clients.

mod aborts;
mod awaited;
mod circumstances;
pub mod client;
mod deafness;
pub mod ends;
pub mod environment;
pub mod examples;
mod faults;
mod hostile;
mod lifecycle;
mod losses;
mod mail;
pub mod place;
pub mod program;
mod promises;
mod quiet;
mod rights;
mod run;
pub mod served;
mod soak;
mod status;
mod storms;
