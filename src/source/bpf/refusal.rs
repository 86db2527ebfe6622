//! Why the kernel does not let the programs run: each a sentence.

use std::error::Error;
use std::io;

use aya::programs::ProgramError;
use aya::{BtfError, EbpfError};
use nix::errno::Errno;

use crate::remedy::remedy;

/// Why there is no source in the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The kernel does not describe its structures.
    #[error(
        "this kernel has no BTF (/sys/kernel/btf/vmlinux), by which BPF programs find their way in it: \
         boot one with CONFIG_DEBUG_INFO_BTF=y"
    )]
    NoBtf,
    /// Ids that the programs see are not those that processes here have.
    #[error(
        "in a pid namespace other than the host's, BPF programs see other pids than processes do: run it on the host"
    )]
    PidNamespace,
    /// EPERM of bpf(2).
    #[error(
        "the kernel lets us load no BPF programs: run it as root, or with CAP_BPF and CAP_PERFMON, and before Linux 5.11 \
         with ulimit -l unlimited"
    )]
    NotPermitted,
    /// EPERM of bpf(2) in spite of all capabilities.
    #[error(
        "the kernel is locked down (/sys/kernel/security/lockdown), and lets nobody load BPF programs: boot without lockdown"
    )]
    LockedDown,
    /// Programs cannot change a word and learn what it was.
    #[error(
        "this kernel's BPF programs have no atomic operations that return a value: boot Linux 5.12 or later"
    )]
    NoAtomics,
    /// The kernel found fault with a program.
    #[error("the kernel does not accept the BPF program {program}: {reason}: report this, please")]
    Rejected {
        /// Its name.
        program: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// The object file cannot be used here.
    #[error("cannot load the BPF programs: {0}: report this, please")]
    Object(String),
    /// Another system call failed.
    #[error("cannot {action}: {errno}: {}", remedy(*errno))]
    Io {
        /// What we wanted.
        action: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
}

impl Refusal {
    pub(in crate::source) fn io(action: &'static str) -> impl FnOnce(Errno) -> Refusal {
        move |errno| Refusal::Io { action, errno }
    }

    pub(in crate::source) fn of_object(error: &EbpfError) -> Refusal {
        if is_permission(error) {
            return denied();
        }
        Refusal::Object(chain(error))
    }

    pub(super) fn of_btf(error: &BtfError) -> Refusal {
        Refusal::Object(chain(error))
    }

    pub(in crate::source) fn of_program(program: &'static str, error: &ProgramError) -> Refusal {
        match error {
            _ if is_permission(error) => denied(),
            ProgramError::LoadError { verifier_log, io_error } => {
                let log = verifier_log.to_string();
                // linux/kernel/bpf/verifier.c before 5.12.
                if log.contains("BPF_STX uses reserved fields") {
                    return Refusal::NoAtomics;
                }
                let said = |line: &&str| !line.trim().is_empty() && !line.starts_with("processed ");
                let last = log.lines().rev().find(said).unwrap_or_default().trim();
                Refusal::Rejected { program, reason: format!("{io_error}: {last}") }
            }
            _ => Refusal::Rejected { program, reason: chain(error) },
        }
    }
}

/// An error with all that caused it, as one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.lines().next().unwrap_or_default().to_owned()
}

fn is_permission(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.raw_os_error() == Some(libc::EPERM);
        }
        cause = error.source();
    }
    false
}

/// Lockdown forbids BPF in its strictest mode only.
fn denied() -> Refusal {
    let lockdown = std::fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if lockdown.contains("[confidentiality]") { Refusal::LockedDown } else { Refusal::NotPermitted }
}
