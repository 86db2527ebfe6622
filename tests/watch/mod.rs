//! `kmonitor watch`, as its users run it, and the records that it writes.

mod attach;
mod build;
mod command;
mod connector;
mod harness;
mod loss;
mod waiting;
