//! The commands that serve nothing, and what all commands share, as their users run them.

mod doctor;
mod hidden;
mod older;
mod output;
mod pidfile;
mod races;
mod selection;
mod status;
pub mod target;
mod usage;
mod waiting;
