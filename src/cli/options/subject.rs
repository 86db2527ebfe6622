//! The options that say whose history is drawn.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use kmonitor::source::Choice;

use super::serve::{source, user};
use super::targets::TargetOptions;

/// A command, processes that are there, or a file.
#[derive(Debug, Args)]
pub struct SubjectOptions {
    #[command(flatten)]
    pub targets: TargetOptions,
    /// The command to run, with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
    /// Records of kmonitor watch --json; -: standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "processes", "name", "full", "user", "parent", "cgroup", "pidfile"])]
    pub from: Option<PathBuf>,
    /// Run COMMAND as this user
    ///
    /// With the user's groups; the environment stays as it is.
    #[arg(long, value_name = "USER", value_parser = user, requires = "command")]
    pub run_as: Option<u32>,
    /// Exit with status 4 if events were lost
    #[arg(long)]
    pub strict: bool,
    /// Events by bpf or connector
    ///
    /// BPF programs in the kernel (bpf), the proc connector (connector), or BPF programs where the kernel takes
    /// them and they miss nothing, else the proc connector (auto). The connector tells less: command lines only of
    /// processes that live long enough, no CPU time, no memory.
    #[arg(long, value_name = "SOURCE", default_value = "auto", value_parser = source)]
    pub source: Choice,
}
