//! Where a watch prints to.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};

use kmonitor::records::{self, Record};

use super::line::Lines;
use super::say;
use crate::cli::Failure;
use crate::cli::color::Colors;
use crate::cli::exit::Exit;
use crate::cli::followed;
use crate::cli::options::WatchOptions;

/// Lines or JSON, on standard output, standard error or in a file.
pub struct Output {
    to: BufWriter<File>,
    /// `None`: JSON.
    lines: Option<Lines>,
    /// It is standard error.
    is_error: bool,
}

impl Output {
    /// As the options say.
    pub fn open(options: &WatchOptions) -> Result<Output, Failure> {
        let is_error = options.output.is_none() && !options.command.is_empty();
        let file = followed::output(options.output.as_deref(), !options.command.is_empty())?;
        let lines = (!options.json).then(|| Lines::new(Colors::choose(options.color.color, &file)));
        Ok(Output { to: BufWriter::new(file), lines, is_error })
    }

    /// To see whether it is closed.
    pub fn descriptor(&self) -> Result<OwnedFd, Failure> {
        let copy = self.to.get_ref().as_fd().try_clone_to_owned();
        copy.map_err(|error| Failure::new(Exit::Error, format!("cannot watch the output: {error}")))
    }

    /// Prints a record; with all that was printed before, if it is the last for now. False: nobody reads it.
    pub fn print(&mut self, record: &Record, is_last: bool) -> Result<bool, Failure> {
        let printed = match &self.lines {
            None => records::write(&mut self.to, record),
            Some(lines) => lines.line(record).map_or(Ok(()), |line| self.to.write_all(line.as_bytes())),
        };
        match printed.and_then(|()| if is_last { self.to.flush() } else { Ok(()) }) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::new(Exit::Error, format!("cannot print what has happened: {error}"))),
        }
    }

    /// True if it is standard error, where remarks go too.
    pub fn is_error(&self) -> bool {
        self.is_error
    }

    /// Says something that is not the output proper on standard error, unless JSON goes there.
    pub fn remark(&self, line: impl Display) {
        if !self.is_error || self.lines.is_some() {
            say(line);
        }
    }
}
