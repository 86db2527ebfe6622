//! The parts that pictures are drawn of.

use std::collections::HashMap;
use std::io::{self, Write};

use kmonitor::history::History;
use quick_xml::escape::escape;

/// The height of a bar, in pixels.
pub const BAR: f64 = 14.0;

/// The least width of a bar, in pixels, so that it stays to be seen.
const THIN: f64 = 1.0;

/// A bar that is not as wide has its label behind it.
const NARROW: f64 = 24.0;

/// Letters of a label; what is beyond is cut off.
const MOST_LETTERS: usize = 400;

/// Where the points of the recording's time lie.
#[derive(Clone, Copy)]
pub struct Scale {
    /// The first point in time, in nanoseconds of CLOCK_MONOTONIC.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Where the first lies.
    pub left: f64,
    /// Where the last lies.
    pub right: f64,
}

impl Scale {
    pub fn x(&self, at: u64) -> f64 {
        let part = at.clamp(self.first, self.last) - self.first;
        self.left + part as f64 / (self.last - self.first) as f64 * (self.right - self.left)
    }
}

/// The smallest round number of nanoseconds that is not less: 1, 2 or 5 and zeros; of minutes, if it is more than half
/// of one.
pub fn step(least: u64) -> u64 {
    const MINUTE: u64 = 60_000_000_000;
    let mut unit: u64 = if least > MINUTE / 2 { MINUTE } else { 1 };
    loop {
        for digit in [1, 2, 5] {
            match unit.checked_mul(digit) {
                Some(step) if step >= least => return step,
                Some(_) => {}
                None => return u64::MAX,
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// The colour of each program's name: those that come early are told apart best.
pub struct Palette<'a>(HashMap<&'a [u8], usize>);

impl<'a> Palette<'a> {
    pub fn of(history: &'a History) -> Palette<'a> {
        let mut numbers = HashMap::new();
        for run in history.lives().iter().flat_map(|life| &life.runs).filter(|run| !run.is_inherited) {
            let next = numbers.len();
            run.program.name().map(|name| numbers.entry(name).or_insert(next));
        }
        Palette(numbers)
    }

    pub fn color(&self, name: Option<&[u8]>) -> String {
        let Some(number) = name.and_then(|name| self.0.get(name)) else { return "#ddd".to_owned() };
        // The golden angle: however many there are, none is close to those just before.
        let hue = (210.0 + *number as f64 * 137.508) % 360.0;
        format!("hsl({hue:.0},60%,{}%)", 76 + number % 2 * 6)
    }
}

pub fn bar(class: &str, color: &str, from: f64, until: f64, y: f64, to: &mut impl Write) -> io::Result<()> {
    let width = (until - from).max(THIN);
    writeln!(
        to,
        "<rect class=\"{class}\" fill=\"{color}\" x=\"{from:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\"/>"
    )
}

/// What is beyond this edge of a bar is not known, or had not come yet.
pub fn open_edge(x: f64, y: f64, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "<path class=\"o\" d=\"M{x:.1} {y}v{BAR}\"/>")
}

/// The text of a bar, with something light before it.
pub fn label(
    before: &str,
    said: &str,
    class: &str,
    (from, until): (f64, f64),
    y: f64,
    to: &mut impl Write,
) -> io::Result<()> {
    let mut letters: String = said.chars().take(MOST_LETTERS).collect();
    if letters.len() < said.len() {
        letters.push('…');
    }
    let x = if until - from < NARROW { until.max(from + THIN) } else { from } + 4.0;
    let base = y + 11.0;
    let before = text(before);
    let letters = text(&letters);
    writeln!(
        to,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{base}\"><tspan class=\"a\">{before}</tspan> {letters}</text>"
    )
}

/// Text as XML has it, without the characters that it does not know.
pub fn text(plain: &str) -> String {
    let is_known = |letter: &char| matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    let known: String = plain.chars().filter(is_known).collect();
    escape(&known).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (least, round) in [
            (0, 1),
            (1, 1),
            (3, 5),
            (6, 10),
            (150_000_000, 200_000_000),
            (31_000_000_000, 60_000_000_000),
            (61_000_000_000, 120_000_000_000),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(step(least), round);
        }
    }

    #[test]
    fn text_is_escaped_and_what_xml_forbids_is_left_out() {
        assert_eq!(text("a<b>&\"'\u{1}\u{ffff}\u{1b}ä"), "a&lt;b&gt;&amp;&quot;&apos;ä");
    }
}
