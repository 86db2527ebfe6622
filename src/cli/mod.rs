//! The commands.

mod color;
mod doctor;
mod exit;
mod followed;
mod found;
mod history;
mod options;
mod quote;
mod run;
mod serve;
mod service_manager;
mod signals;
mod status;
mod timeline;
mod tree;
mod wait;
mod watch;
mod words;

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use clap::Parser;
use nix::poll::{PollFd, PollFlags, poll};

use exit::Exit;
use options::{Cli, Command};

/// A command that failed: what to say, and how to end.
pub struct Failure {
    error: Box<dyn Error>,
    exit: Exit,
}

impl Failure {
    fn new(exit: Exit, error: impl Into<Box<dyn Error>>) -> Failure {
        Failure { error: error.into(), exit }
    }

    /// The same where small statuses are a program's: an error of ours must not look like one.
    fn beside_a_program(self) -> Failure {
        match self.exit {
            Exit::Error | Exit::Unavailable => Failure { exit: Exit::OwnError, ..self },
            _ => self,
        }
    }

    /// Says it.
    pub fn report(self) -> ExitCode {
        say(&self.error);
        self.exit.into()
    }
}

/// How long a last word may take.
const SAID: u16 = 1000;

/// Says a line on standard error, in one write, if somebody reads that within a second: nobody may, and we
/// go on, or end, all the same.
fn say(line: impl Display) {
    let stderr = io::stderr();
    let mut room = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut room, SAID) != Ok(0) {
        let _ = (&stderr).write_all(format!("kmonitor: {line}\n").as_bytes());
    }
}

/// Runs the command that the arguments name.
pub fn main() -> Result<ExitCode, Failure> {
    let exit = match Cli::try_parse() {
        Ok(Cli { command: Command::Serve(options), .. }) => serve::serve(&options.device.config()),
        Ok(Cli { command: Command::Run(options), .. }) => {
            run::run(&options.device.config(), &options.program)
        }
        Ok(Cli { command: Command::Wait(options), .. }) => wait::wait(&options),
        Ok(Cli { command: Command::Watch(options), .. }) => watch::watch(&options),
        Ok(Cli { command: Command::Tree(options), .. }) => tree::tree(&options),
        Ok(Cli { command: Command::Timeline(options), .. }) => timeline::timeline(&options),
        Ok(Cli { command: Command::Status(options), .. }) => status::status(&options),
        Ok(Cli { command: Command::Doctor(options), .. }) => doctor::doctor(&options),
        Err(error) => usage(&error, std::env::args_os().skip(1)),
    }?;
    Ok(exit.into())
}

/// Prints the help or version that was asked for, or says in one sentence what is wrong with the arguments.
fn usage(error: &clap::Error, arguments: impl Iterator<Item = OsString>) -> Result<Exit, Failure> {
    let exit = usage_error(arguments);
    if !error.use_stderr() {
        // As with `say`: nobody may be there to read it.
        let _ = error.print();
        return Ok(Exit::Done);
    }
    let text = error.render().to_string();
    let Some(text) = text.strip_prefix("error: ") else {
        let _ = error.print();
        return Ok(exit);
    };
    // Paragraphs with the usage follow.
    let words: Vec<_> = text.split("\n\n").next().unwrap_or(text).split_whitespace().collect();
    Err(Failure::new(exit, format!("{} (--help shows the usage)", words.join(" "))))
}

/// Wrong usage of a command whose small statuses are a program's must not look like one of those.
fn usage_error(mut arguments: impl Iterator<Item = OsString>) -> Exit {
    match arguments.next() {
        Some(command) if command == OsStr::new("run") => Exit::OwnError,
        // Everything behind a lone -- is a command.
        Some(command)
            if ["watch", "tree", "timeline"].iter().any(|name| command == OsStr::new(name))
                && arguments.any(|argument| argument == "--") =>
        {
            Exit::OwnError
        }
        Some(command)
            if command == OsStr::new("wait") && arguments.any(|argument| argument == "--status") =>
        {
            Exit::OwnError
        }
        _ => Exit::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_fits_a_screen() {
        let mut commands = vec![Cli::command()];
        commands[0].build();
        commands.extend(Cli::command().get_subcommands().cloned().collect::<Vec<_>>());
        for mut command in commands {
            let help = command.render_help().to_string();
            assert!(help.lines().count() <= 24, "{} lines:\n{help}", help.lines().count());
            let wide: Vec<_> = help.lines().filter(|line| line.chars().count() > 80).collect();
            assert!(wide.is_empty(), "{wide:#?}");
        }
    }
}
