//! The device on the running kernel.
