//! From the command line to processes that are there.

use std::io::ErrorKind;

use kmonitor::wait::{self, Named, Selector, Target, TargetError};

use super::Failure;
use super::exit::Exit;
use super::options::TargetOptions;

/// What the targets are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Purpose {
    /// As in "what to wait for".
    pub verb: &'static str,
    /// It is no error if they are not there.
    pub may_be_gone: bool,
    /// What to do if it is one: a blank, and a remark in brackets. It may be empty.
    pub hint: &'static str,
}

/// What the command line's targets have come to.
pub struct Found {
    /// These are there, each once.
    pub targets: Vec<Target>,
    /// These are not, as they are written; only where that is no error.
    pub gone: Vec<String>,
    /// So many were selected, if that was asked for.
    pub selected: Option<usize>,
}

impl Found {
    /// Looks for all targets.
    pub fn look(options: &TargetOptions, purpose: Purpose) -> Result<Found, Failure> {
        let mut found = Found { targets: Vec::new(), gone: Vec::new(), selected: None };
        for named in &options.processes {
            found.add(purpose, name(named), wait::open(*named).map_err(failure)?)?;
        }
        for path in &options.pidfile {
            match wait::from_pidfile(path) {
                Ok((pid, target)) => {
                    found.add(purpose, format!("{pid} (of {})", path.display()), target)?;
                }
                Err(TargetError::Pidfile { error, .. })
                    if purpose.may_be_gone && error.kind() == ErrorKind::NotFound =>
                {
                    found.gone.push(path.display().to_string());
                }
                Err(error) => return Err(failure(error)),
            }
        }
        let selector = selector(options);
        if selector.is_empty() && options.processes.is_empty() && options.pidfile.is_empty() {
            let error = format!(
                "what to {} is missing: PIDs, or options that select processes (--help shows them)",
                purpose.verb
            );
            return Err(Failure::new(Exit::Error, error));
        }
        if !selector.is_empty() {
            let selected = wait::select(&selector).map_err(failure)?;
            if selected.is_empty() && !purpose.may_be_gone {
                let error = format!("no process matches{}", purpose.hint);
                return Err(Failure::new(Exit::Error, error));
            }
            found.selected = Some(selected.len());
            found.targets.extend(selected);
        }
        found.targets.sort_unstable_by_key(|target| target.pid);
        found.targets.dedup_by_key(|target| target.pid);
        Ok(found)
    }

    fn add(&mut self, purpose: Purpose, name: String, target: Option<Target>) -> Result<(), Failure> {
        match target {
            Some(target) => self.targets.push(target),
            None if purpose.may_be_gone => self.gone.push(name),
            None => {
                let error = format!("there is no process {name}{}", purpose.hint);
                return Err(Failure::new(Exit::Error, error));
            }
        }
        Ok(())
    }
}

/// What the processes must be like that are selected.
pub fn selector(options: &TargetOptions) -> Selector {
    Selector {
        names: options.name.clone(),
        patterns: options.full.clone(),
        users: options.user.clone(),
        parents: options.parent.clone(),
        cgroups: options.cgroup.iter().map(|path| wait::cgroup(path)).collect(),
    }
}

fn name(named: &Named) -> String {
    match named.inode {
        Some(inode) => format!("{}:{inode}", named.pid),
        None => named.pid.to_string(),
    }
}

/// A target cannot be had.
pub fn failure(error: TargetError) -> Failure {
    let exit = match error {
        TargetError::NoPidfds
        | TargetError::NoInodes(_)
        | TargetError::Open { .. }
        | TargetError::NoProc(_) => Exit::Unavailable,
        _ => Exit::Error,
    };
    Failure::new(exit, error)
}
