//! The commands that serve nothing, as their users run them.

mod doctor;
