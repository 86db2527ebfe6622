//! Colour in what commands print: on a terminal, unless --color, NO_COLOR or TERM says otherwise.

use std::env;
use std::ffi::OsStr;
use std::io::IsTerminal;

use clap::ColorChoice;

/// A colour, by its number among the terminal's (ECMA-48, SGR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    Red = 31,
    Green = 32,
    Yellow = 33,
}

/// Whether to print colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colors(bool);

impl Colors {
    /// As --color says; for `auto`, on a terminal that has colours, if the environment variable NO_COLOR is
    /// not set or empty (no-color.org).
    pub fn choose(choice: ColorChoice, output: &impl IsTerminal) -> Colors {
        Colors(match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => output.is_terminal() && environment_permits(|name| env::var_os(name)),
        })
    }

    /// The text in this colour, or as it is.
    pub fn paint(self, color: Color, text: &str) -> String {
        if self.0 { format!("\x1b[{}m{text}\x1b[0m", color as u8) } else { text.to_owned() }
    }
}

fn environment_permits<T: AsRef<OsStr>>(variable: impl Fn(&str) -> Option<T>) -> bool {
    let is = |name, value: &str| variable(name).is_some_and(|found| found.as_ref() == value);
    (variable("NO_COLOR").is_none() || is("NO_COLOR", "")) && !is("TERM", "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_can_forbid_colours() {
        let permits = |variables: &[(&str, &'static str)]| {
            environment_permits(|name| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
            })
        };
        assert!(permits(&[]) && permits(&[("TERM", "xterm"), ("NO_COLOR", "")]));
        assert!(!permits(&[("NO_COLOR", "1")]) && !permits(&[("TERM", "dumb")]));
    }

    #[test]
    fn colours_are_escape_codes_or_nothing() {
        let file = std::fs::File::open("/dev/null").expect("it is everywhere");
        let paint = |choice| Colors::choose(choice, &file).paint(Color::Red, "fail");
        assert_eq!(paint(ColorChoice::Always), "\x1b[31mfail\x1b[0m");
        assert_eq!(paint(ColorChoice::Auto), "fail", "no terminal");
        assert_eq!(paint(ColorChoice::Never), "fail");
    }
}
