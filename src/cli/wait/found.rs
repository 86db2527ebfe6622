//! From the command line to processes.

use std::io::ErrorKind;

use kmonitor::wait::{self, Named, Selector, Target, TargetError};

use super::Failure;
use super::{Exit, WaitOptions};

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
    pub fn look(options: &WaitOptions) -> Result<Found, Failure> {
        let mut found = Found { targets: Vec::new(), gone: Vec::new(), selected: None };
        for named in &options.processes {
            found.add(options, name(named), wait::open(*named).map_err(failure)?)?;
        }
        for path in &options.pidfile {
            match wait::from_pidfile(path) {
                Ok((pid, target)) => {
                    found.add(options, format!("{pid} (of {})", path.display()), target)?;
                }
                Err(TargetError::Pidfile { error, .. })
                    if options.exited && error.kind() == ErrorKind::NotFound =>
                {
                    found.gone.push(path.display().to_string());
                }
                Err(error) => return Err(failure(error)),
            }
        }
        let selector = Selector {
            names: options.name.clone(),
            patterns: options.full.clone(),
            users: options.user.clone(),
            parents: options.parent.clone(),
            cgroups: options.cgroup.iter().map(|path| wait::cgroup(path)).collect(),
        };
        if selector.is_empty() && options.processes.is_empty() && options.pidfile.is_empty() {
            let error =
                "what to wait for is missing: PIDs, or options that select processes (--help shows them)";
            return Err(Failure::new(Exit::Error, error));
        }
        if !selector.is_empty() {
            let selected = wait::select(&selector).map_err(failure)?;
            if selected.is_empty() && !options.exited {
                let error = "no process matches (-e makes that no error)";
                return Err(Failure::new(Exit::Error, error));
            }
            found.selected = Some(selected.len());
            found.targets.extend(selected);
        }
        found.targets.sort_unstable_by_key(|target| target.pid);
        found.targets.dedup_by_key(|target| target.pid);
        Ok(found)
    }

    fn add(&mut self, options: &WaitOptions, name: String, target: Option<Target>) -> Result<(), Failure> {
        match target {
            Some(target) => self.targets.push(target),
            None if options.exited => self.gone.push(name),
            None => {
                let error = format!("there is no process {name} (-e makes that no error)");
                return Err(Failure::new(Exit::Error, error));
            }
        }
        Ok(())
    }

    /// How many must exit.
    pub fn enough(&self, options: &WaitOptions) -> Result<usize, Failure> {
        let all = self.targets.len() + self.gone.len();
        if options.status && all != 1 {
            let error = format!("--status gives the status of one process, and these are {all}");
            return Err(Failure::new(Exit::Error, error));
        }
        match options.count {
            Some(count) if count > all && !options.exited => {
                let error = format!("{count} processes cannot exit: there are {all} to wait for");
                Err(Failure::new(Exit::Error, error))
            }
            Some(count) => Ok(count.min(all)),
            None => Ok(all),
        }
    }
}

fn name(named: &Named) -> String {
    match named.inode {
        Some(inode) => format!("{}:{inode}", named.pid),
        None => named.pid.to_string(),
    }
}

fn failure(error: TargetError) -> Failure {
    let exit = match error {
        TargetError::NoPidfds
        | TargetError::NoInodes(_)
        | TargetError::Open { .. }
        | TargetError::NoProc(_) => Exit::Unavailable,
        _ => Exit::Error,
    };
    Failure::new(exit, error)
}
