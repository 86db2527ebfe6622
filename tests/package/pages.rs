//! The manual pages and completions in the package, by the tools and shells that read them.

use super::deb;
use crate::guest::host::{self, Scratch};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// The package's files.
struct Unpacked(Scratch);

impl Unpacked {
    fn new() -> Unpacked {
        let unpacked = Unpacked(Scratch::new(&host::cache().expect("a cache")).expect("a folder"));
        output("dpkg", Command::new("dpkg-deb").arg("-x").arg(deb::path()).arg(unpacked.path("")));
        unpacked
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path(path)
    }

    fn help(&self, command: Option<&str>) -> String {
        output("kmonitor", Command::new(self.path("usr/bin/kmonitor")).args(command).arg("--help"))
    }

    /// The commands that kmonitor's own help names.
    fn commands(&self) -> Vec<String> {
        let help = self.help(None);
        let (_, commands) = help.split_once("Commands:\n").expect("it lists commands");
        let words = commands.lines().map_while(|line| line.split_whitespace().next());
        words.map(str::to_owned).collect()
    }

    /// The text of a page, as a terminal shows it.
    fn page(&self, name: &str) -> String {
        // A page may stand for another one, whose place it names from above.
        let mut mandoc = Command::new("mandoc");
        mandoc.args(["-T", "utf8", "-O", "width=500"]).arg(format!("{name}.gz"));
        let text = output("mandoc", mandoc.current_dir(self.path("usr/share/man")));
        // A terminal's bold and underlined letters are struck over.
        let mut plain = String::new();
        for letter in text.chars() {
            if letter == '\u{8}' {
                plain.pop();
            } else {
                plain.push(letter);
            }
        }
        plain
    }
}

fn output(package: &str, command: &mut Command) -> String {
    let output = host::run(command, package).unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8(output.stdout).expect("it is text")
}

/// The words of a text, as commands and options are spelt.
fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).collect()
}

/// The long options in a text.
fn options(text: &str) -> BTreeSet<&str> {
    words(text).into_iter().filter(|word| word.starts_with("--") && word.len() > 2).collect()
}

#[test]
fn every_command_has_a_page_with_all_its_options() {
    let unpacked = Unpacked::new();
    let summary = unpacked.page("man1/kmonitor.1");
    let commands = unpacked.commands();
    assert!(commands.len() >= 2, "{commands:?}");
    for command in &commands {
        let page = unpacked.page(&format!("man1/kmonitor-{command}.1"));
        assert!(summary.contains(&format!("kmonitor {command}\n")), "kmonitor(1) does not name {command}");
        let help = unpacked.help(Some(command));
        let left_out: Vec<_> = options(&help).difference(&options(&page)).copied().collect();
        assert!(left_out.is_empty(), "kmonitor-{command}(1) lacks {left_out:?}");
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"] {
            assert!(page.contains(&format!("\n{section}\n")), "kmonitor-{command}(1) lacks {section}");
        }
    }
    let device = unpacked.page("man4/kmonitor.4");
    assert!(device.contains("KMONITOR_IOW_REGISTER") && device.contains("while (event.si_int"), "{device}");
}

#[test]
fn no_page_has_a_fault_that_mandoc_finds() {
    let unpacked = Unpacked::new();
    let pages =
        output("findutils", Command::new("find").arg(unpacked.path("usr/share/man")).args(["-type", "f"]));
    for page in pages.lines() {
        let source = output("gzip", Command::new("gzip").arg("-dc").arg(page));
        // The one page that only names another.
        if !source.starts_with(".so ") {
            output("mandoc", Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(page));
        }
    }
    assert!(pages.lines().count() >= 5, "{pages}");
}

/// Asserts that a shell completes a command's name and options. `complete` gives what it offers for a line.
fn completes(complete: impl Fn(&Unpacked, &str) -> String) {
    let unpacked = Unpacked::new();
    for command in unpacked.commands() {
        let offered = complete(&unpacked, &format!("kmonitor {}", &command[..command.len() - 1]));
        assert!(words(&offered).contains(&command[..]), "for {command} it offers: {offered}");
    }
    let offered = complete(&unpacked, "kmonitor serve --max-o");
    assert!(words(&offered).contains("--max-open"), "it offers: {offered}");
}

#[test]
fn bash_completes_commands_and_options() {
    completes(|unpacked, line| {
        let words: Vec<&str> = line.split(' ').collect();
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let script = format!(
            "source {}; COMP_WORDS=({line}); COMP_CWORD={}; complete -p kmonitor >&2
            _kmonitor kmonitor '{last}' '{before}'; echo \"${{COMPREPLY[@]}}\"",
            unpacked.path("usr/share/bash-completion/completions/kmonitor").display(),
            words.len() - 1,
        );
        output("bash", Command::new("bash").args(["--norc", "-c", &script]))
    });
}

#[test]
fn fish_completes_commands_and_options() {
    completes(|unpacked, line| {
        let file = unpacked.path("usr/share/fish/vendor_completions.d/kmonitor.fish");
        let script = format!("source {}; complete --do-complete '{line}'", file.display());
        output(
            "fish",
            Command::new("fish").args(["--no-config", "-c", &script]).env("HOME", unpacked.path("")),
        )
    });
}

/// An interactive shell, as completion works in no other: it types the line and Tab, and has its own key show the line.
const ZSH: &str = r##"
zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner "fpath=($1 \$fpath)"' PS1= ; autoload -Uz compinit; compinit -u -D
shown() { print -r -- "<$BUFFER>" }; zle -N shown; bindkey "^O" shown; print READY"-TO-TYPE"'
zpty -r inner text '*READY-TO-TYPE*'
zpty -w -n inner "$2"$'\t\x0f'
zpty -r inner text '*<*>*'
zpty -d inner
print -r -- ${text##*<}
"##;

#[test]
fn zsh_completes_commands_and_options() {
    completes(|unpacked, line| {
        let mut zsh = Command::new("timeout");
        zsh.args(["60", "zsh", "-f", "-c", ZSH, "zsh"]);
        zsh.arg(unpacked.path("usr/share/zsh/vendor-completions")).arg(line);
        output("zsh", zsh.env("TERM", "dumb"))
    });
}
