//! Where the history that is drawn comes from: a command that is run, processes that are followed, or a file.

mod live;
mod progress;
#[cfg(test)]
pub mod sample;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::Path;

use kmonitor::history::{Builder, History};
use kmonitor::records::{self, What};

use super::exit::Exit;
use super::options::SubjectOptions;
use super::{Failure, say};

/// A history, and how the command is to end when it has been drawn.
pub struct Told {
    pub history: History,
    pub exit: Exit,
}

/// Errors of ours must not look like statuses of the command that was run.
pub fn of_command(options: &SubjectOptions, result: Result<Exit, Failure>) -> Result<Exit, Failure> {
    result.map_err(|failure| if options.command.is_empty() { failure } else { failure.beside_a_program() })
}

/// The history. Following ends when nobody reads `output` any more.
pub fn tell(options: &SubjectOptions, output: Option<OwnedFd>) -> Result<Told, Failure> {
    let told = match &options.from {
        Some(path) => from_file(path),
        None => live::follow(options, output),
    }?;
    let is_whole = matches!(told.exit, Exit::Done | Exit::Program(_));
    let exit =
        if options.strict && is_whole && !told.history.losses().is_empty() { Exit::Lost } else { told.exit };
    Ok(Told { exit, ..told })
}

fn from_file(path: &Path) -> Result<Told, Failure> {
    if path == Path::new("-") {
        return from_records(io::stdin().lock(), path);
    }
    let file = File::open(path)
        .map_err(|error| Failure::new(Exit::Error, format!("cannot open {}: {error}", path.display())))?;
    from_records(BufReader::new(file), path)
}

/// What was written before an error is there all the same: who wrote it may have been killed.
fn from_records(from: impl BufRead, path: &Path) -> Result<Told, Failure> {
    let mut builder = Builder::new();
    let (mut exit, mut has_end) = (Exit::Done, false);
    for record in records::read(from) {
        match record {
            Ok(record) => {
                has_end = matches!(record.what, What::End { .. });
                builder.take(&record);
            }
            Err(error) if builder.all() == 0 => {
                return Err(Failure::new(Exit::Error, format!("{}: {error}", path.display())));
            }
            Err(error) => {
                say(format_args!("{}: {error}; this is what stands before", path.display()));
                (exit, has_end) = (Exit::Error, true);
                break;
            }
        }
    }
    if !has_end {
        say(format_args!("{} ends before the recording did", path.display()));
    }
    Ok(Told { history: builder.finish(), exit })
}
