//! `kmonitor tree`

mod text;

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;

use nix::sys::signal::Signal;
use rustix::termios::tcgetwinsize;

use super::Failure;
use super::color::Colors;
use super::exit::Exit;
use super::followed;
use super::history::{self, Told};
use super::options::TreeOptions;
use text::Look;

pub fn tree(options: &TreeOptions) -> Result<Exit, Failure> {
    history::of_command(&options.subject, draw(options))
}

fn draw(options: &TreeOptions) -> Result<Exit, Failure> {
    let beside_command = !options.subject.command.is_empty();
    let mut output = followed::output(options.output.as_deref(), beside_command)?;
    let copy = output.as_fd().try_clone_to_owned().map_err(cannot_print)?;
    let Told { history, exit } = history::tell(&options.subject, Some(copy))?;
    let look = Look {
        width: width(options, &output),
        lines: (options.lines > 0).then_some(options.lines),
        pids: options.pids,
        colors: Colors::choose(options.color.color, &output),
    };
    let mut text = Vec::new();
    text::draw(&history, look, &mut text).map_err(cannot_print)?;
    match output.write_all(&text) {
        Ok(()) => Ok(exit),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Signal(Signal::SIGPIPE)),
        Err(error) => Err(cannot_print(error)),
    }
}

fn width(options: &TreeOptions, output: &File) -> Option<usize> {
    match options.width {
        Some(0) => None,
        Some(width) => Some(width),
        None if output.is_terminal() => {
            let size = tcgetwinsize(output).ok()?;
            // A terminal that does not tell says 0.
            (size.ws_col > 0).then_some(size.ws_col.into())
        }
        None => None,
    }
}

fn cannot_print(error: io::Error) -> Failure {
    Failure::new(Exit::Error, format!("cannot print the tree: {error}"))
}
