//! Writes the manual pages and the shells' completions, from the definition of the command line and the
//! texts in `packaging/man`.
//!
//! usage: `cargo run --example pages -- DIRECTORY`, which gets the layout of `/usr/share`

#[allow(dead_code, unused_imports, reason = "the commands use more of it than a page does")]
#[path = "../src/cli/options/mod.rs"]
mod options;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The command whose page is kmonitor(8); kmonitor-serve(1) is another name of that.
const DAEMON: &str = "serve";

fn main() -> Result<()> {
    let [_, directory] = &std::env::args_os().collect::<Vec<_>>()[..] else {
        return Err("usage: pages DIRECTORY".into());
    };
    let share = Path::new(directory);
    let pages = Pages::new()?;
    for (name, section) in [("kmonitor", 1), ("kmonitor", 4), ("kmonitor", 8)] {
        let text = read(&format!("packaging/man/{name}.{section}"))?;
        write(share, &path(name, section), &pages.expand(&text)?)?;
    }
    for command in pages.commands() {
        let text = match command.get_name() {
            DAEMON => format!(".so {}\n", path("kmonitor", 8).trim_start_matches("man/")),
            _ => pages.command(command)?,
        };
        write(share, &path(&page_name(command), 1), &text)?;
    }
    for (shell, path) in [
        (Shell::Bash, "bash-completion/completions/kmonitor"),
        (Shell::Zsh, "zsh/site-functions/_kmonitor"),
        (Shell::Fish, "fish/vendor_completions.d/kmonitor.fish"),
    ] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut options::Cli::command(), "kmonitor", &mut script);
        write(share, path, &String::from_utf8(script)?)?;
    }
    Ok(())
}

/// Where a page is, below `/usr/share`.
fn path(name: &str, section: u8) -> String {
    format!("man/man{section}/{name}.{section}")
}

fn page_name(command: &Command) -> String {
    format!("kmonitor-{}", command.get_name())
}

/// A file of the source tree.
fn read(path: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()).into())
}

fn write(share: &Path, path: &str, text: &str) -> Result<()> {
    let path = share.join(path);
    fs::create_dir_all(path.parent().unwrap_or(share))
        .and_then(|()| fs::write(&path, text))
        .map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

/// The definition of the command line, in a manual page's words.
struct Pages {
    kmonitor: Command,
    date: String,
    example: String,
}

impl Pages {
    fn new() -> Result<Pages> {
        let mut kmonitor = options::Cli::command();
        kmonitor.build();
        Ok(Pages {
            kmonitor: in_sentences(kmonitor.mut_subcommands(in_sentences)),
            date: date(&read("CHANGELOG.md")?)?,
            example: example(&read("README.md")?)?,
        })
    }

    /// The commands that have a page.
    fn commands(&self) -> impl Iterator<Item = &Command> {
        self.kmonitor.get_subcommands().filter(|command| !command.is_hide_set())
    }

    /// A page of the texts, with its `@WORD COMMAND@` lines replaced.
    fn expand(&self, text: &str) -> Result<String> {
        let mut page = String::new();
        for line in text.lines() {
            let placeholder = line.strip_prefix('@').and_then(|line| line.strip_suffix('@'));
            let Some(placeholder) = placeholder else {
                page += &line.replace("@DATE@", &self.date).replace("@SOURCE@", &source());
                page += "\n";
                continue;
            };
            let (word, name) = match placeholder.split_once(' ') {
                None => (placeholder, None),
                Some((word, name)) => (word, Some(name)),
            };
            let command = match name {
                None => Some(&self.kmonitor),
                Some(name) => self.kmonitor.find_subcommand(name),
            };
            let command = command.ok_or_else(|| format!("{line} names no command"))?;
            page += &match word {
                "SYNOPSIS" => synopsis(command),
                "DESCRIPTION" => render(command, Man::render_description_section)?,
                "OPTIONS" => render(command, Man::render_options_section)?,
                "COMMANDS" => self.list(),
                "PAGES" => self.see_also(),
                "EXAMPLE" => code(&self.example),
                _ => return Err(format!("{line} is not known").into()),
            };
        }
        Ok(page)
    }

    /// The page of a command, wholly from its definition.
    fn command(&self, command: &Command) -> Result<String> {
        let man = Man::new(command.clone()).date(&self.date).source(source()).manual("User Commands");
        let mut page = Vec::new();
        man.render_title(&mut page)?;
        man.render_name_section(&mut page)?;
        page.extend(format!(".SH SYNOPSIS\n{}", synopsis(command)).bytes());
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
        page.extend(below_help(command)?.bytes());
        page.extend(".SH SEE ALSO\n.BR kmonitor (1),\n.BR kmonitor (4),\n.BR kmonitor (8)\n".bytes());
        Ok(String::from_utf8(page)?)
    }

    /// The commands, with what each does.
    fn list(&self) -> String {
        let mut roff = Roff::new();
        for command in self.commands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            roff.control("TP", []);
            roff.text([bold(format!("kmonitor {}", command.get_name()))]);
            roff.text([roman(format!("{}.", first_letter(&about, |letter| letter.to_ascii_uppercase())))]);
        }
        roff.to_roff()
    }

    /// The commands' own pages.
    fn see_also(&self) -> String {
        let mut roff = Roff::new();
        for command in self.commands() {
            roff.text([bold(page_name(command)), roman("(1),")]);
        }
        roff.to_roff()
    }
}

/// A command whose help reads as a page's text: its purpose in lower case, the first paragraph of each
/// text with a full stop, an option's text in one paragraph.
fn in_sentences(command: Command) -> Command {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let long_about = command.get_long_about().map_or(about.clone(), ToString::to_string);
    command
        .about(first_letter(&about, |letter| letter.to_ascii_lowercase()))
        .long_about(sentences(&long_about).join("\n\n"))
        .mut_args(|option| {
            let help = option.get_long_help().or(option.get_help()).map(ToString::to_string);
            option.long_help(sentences(&help.unwrap_or_default()).join(" "))
        })
}

fn sentences(text: &str) -> Vec<String> {
    let paragraphs =
        text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.map(|text| if text.ends_with(['.', ':']) { text } else { text + "." }).collect()
}

fn first_letter(text: &str, change: impl Fn(char) -> char) -> String {
    let mut letters = text.chars();
    letters.next().map(change).into_iter().chain(letters).collect()
}

fn synopsis(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let mut roff = Roff::new();
    for line in usage.trim_start_matches("Usage:").lines().map(str::trim) {
        let (name, rest) = match line.split_once(" [").or(line.split_once(" <")) {
            Some((name, _)) => line.split_at(name.len()),
            None => (line, ""),
        };
        roff.text([bold(name), roman(rest)]);
    }
    roff.to_roff()
}

fn render(command: &Command, part: fn(&Man, &mut dyn Write) -> io::Result<()>) -> Result<String> {
    let mut text = Vec::new();
    part(&Man::new(command.clone()), &mut text)?;
    Ok(String::from_utf8(text)?)
}

/// What stands below a command's help, where each paragraph begins with its heading.
fn below_help(command: &Command) -> Result<String> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut page = String::new();
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        let (heading, text) = paragraph
            .split_once(':')
            .ok_or_else(|| format!("below the help of {}: no heading: {paragraph}", command.get_name()))?;
        page += &format!(".SH {}\n", heading.to_uppercase());
        page += &match text.strip_prefix('\n') {
            Some(lines) => format!(".EX\n{}.EE\n", code(lines)),
            None => {
                Roff::new().text([roman(text.split_whitespace().collect::<Vec<_>>().join(" "))]).to_roff()
            }
        };
    }
    if !page.contains(".SH EXIT STATUS") {
        page += ".SH EXIT STATUS\nSee\n.BR kmonitor (1).\n";
    }
    Ok(page)
}

/// Lines that are to be set as they are.
fn code(text: &str) -> String {
    let mut roff = Roff::new();
    for line in text.lines() {
        roff.text([roman(line.replace('\t', "    "))]);
    }
    roff.to_roff()
}

fn source() -> String {
    format!("kmonitor {}", env!("CARGO_PKG_VERSION"))
}

/// The date of this version, by the heading `## VERSION - DATE` of the change log.
fn date(change_log: &str) -> Result<String> {
    let heading = concat!("## ", env!("CARGO_PKG_VERSION"), " - ");
    let date = change_log.lines().find_map(|line| line.strip_prefix(heading));
    date.map(str::to_owned).ok_or_else(|| format!("CHANGELOG.md has no line \"{heading}DATE\"").into())
}

/// The first C program of a text.
fn example(text: &str) -> Result<String> {
    let program = text.split_once("```c\n").and_then(|(_, rest)| rest.split_once("```"));
    program.map(|(program, _)| program.to_owned()).ok_or_else(|| "README.md has no C program".into())
}
