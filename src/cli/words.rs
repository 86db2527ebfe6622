//! How the pictures of what processes did name things.

use std::fmt::Display;

use kmonitor::history::{Code, End, Life, Rest};
use kmonitor::records::{Kind, Program, base_name};
use nix::sys::signal::Signal;

use super::color::{Color, Colors};
use super::quote::command_line;

/// So many programs are named before the last.
const MOST_EARLIER: usize = 3;

/// So many kinds of programs are named.
const MOST_NAMES: usize = 4;

/// A time span, of nanoseconds, with as many digits as a reader wants.
pub fn span(ns: u64) -> String {
    let digits = |value: f64| match value {
        _ if value < 9.995 => 2,
        _ if value < 99.95 => 1,
        _ => 0,
    };
    let short = |value: f64, unit: &str| format!("{value:.*} {unit}", digits(value));
    match ns {
        0 => "0 s".to_owned(),
        1..999_500 => format!("{} µs", ns.div_ceil(1000)),
        999_500..999_500_000 => short(ns as f64 / 1e6, "ms"),
        999_500_000..59_950_000_000 => short(ns as f64 / 1e9, "s"),
        _ => {
            let seconds = ns.saturating_add(500_000_000) / 1_000_000_000;
            match seconds / 60 {
                minutes @ ..60 => format!("{minutes}m{:02}s", seconds % 60),
                minutes => format!("{}h{:02}m", minutes / 60, minutes % 60),
            }
        }
    }
}

/// A size, of bytes.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    let digits = usize::from(value < 9.95 && unit != "B");
    format!("{value:.digits$} {unit}")
}

/// How many of something there are.
pub fn count<N: Display + PartialEq + From<u8>>(number: N, one: &str, more: &str) -> String {
    let noun = if number == N::from(1) { one } else { more };
    format!("{number} {noun}")
}

/// What a process is, in a line: the command line that it executed last, behind the names of what it executed before.
/// A name in brackets: its arguments are not known. In parentheses: it executed nothing of its own.
pub fn title(life: &Life) -> String {
    let Some((last, earlier)) = life.runs.split_last() else {
        return format!("? (pid {})", life.pid);
    };
    let is_known = last.program.name().is_some();
    if last.is_inherited && is_known {
        return format!("({})", name(last.program.name()));
    }
    let own: Vec<_> = earlier.iter().filter(|run| !run.is_inherited).collect();
    let mut title = String::new();
    if own.len() > MOST_EARLIER {
        title += "… → ";
    }
    for run in &own[own.len().saturating_sub(MOST_EARLIER)..] {
        title += &format!("{} → ", name(run.program.name()));
    }
    let mut args = last.program.args.clone().unwrap_or_default();
    // Where it lies is seldom what is looked for.
    if let Some(program) = args.first_mut() {
        *program = base_name(program).to_vec();
    }
    title += &command(&last.program, &args);
    if is_known { title } else { format!("{title} (pid {})", life.pid) }
}

/// A program's command line as it is.
pub fn full_command(program: &Program) -> String {
    command(program, program.args.as_deref().unwrap_or_default())
}

fn command(program: &Program, args: &[Vec<u8>]) -> String {
    match (args, program.name()) {
        ([], Some(known)) => format!("[{}]", name(Some(known))),
        ([], None) => "?".to_owned(),
        (args, _) if program.is_cut => command_line(args) + " …",
        (args, _) => command_line(args),
    }
}

/// A name, as a terminal shows it.
pub fn name(name: Option<&[u8]>) -> String {
    name.map_or_else(|| "?".to_owned(), |name| command_line(&[name.to_vec()]))
}

/// The name of a signal.
fn signal(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
}

/// How a process ended, in a line about it: its exit code, or the signal that killed it.
pub fn ending(colors: Colors, code: Option<i32>, killed_by: Option<i32>, core_dumped: bool) -> String {
    let (color, text) = match (code, killed_by) {
        (Some(0), _) => (Color::Green, "status 0".to_owned()),
        (Some(code), _) => (Color::Red, format!("status {code}")),
        (None, Some(number)) => {
            let core = if core_dumped { " (core dumped)" } else { "" };
            (Color::Red, format!("killed by {}{core}", signal(number)))
        }
        (None, None) => (Color::Yellow, "status unknown".to_owned()),
    };
    colors.paint(color, &text)
}

/// How a process ended, in a column.
pub fn status(life: &Life) -> String {
    let code = match &life.end {
        End::Runs => return "runs".to_owned(),
        End::Unknown => None,
        End::Exit(_, exit) => exit.code,
    };
    match code {
        None => "?".to_owned(),
        Some(Code::Status(0)) => "0".to_owned(),
        Some(Code::Status(code)) => format!("✗ {code}"),
        Some(Code::Signal { number, core_dumped }) => {
            let core = if core_dumped { " (core)" } else { "" };
            format!("✗ {}{core}", signal(number))
        }
    }
}

/// How long a process lived; with `>`, if it is only known to have lived longer.
pub fn lifetime(life: &Life) -> String {
    match life.duration() {
        Some(duration) => span(duration),
        None if life.least_duration() == 0 => "?".to_owned(),
        None => format!(">{}", span(life.least_duration())),
    }
}

/// Processes that are not shown one by one.
pub fn rest(rest: &Rest) -> String {
    let mut names: Vec<String> = rest.names[..rest.names.len().min(MOST_NAMES)]
        .iter()
        .map(|(known, count)| format!("{count} {}", name(known.as_deref())))
        .collect();
    let others: usize = rest.names.iter().skip(MOST_NAMES).map(|(_, count)| count).sum();
    if others > 0 {
        names.push(format!("{others} others"));
    }
    let mut text = format!("… {} more: {}", rest.siblings.len(), names.join(", "));
    let mut also = Vec::new();
    if rest.all > rest.siblings.len() {
        also.push(format!("with descendants {}", count(rest.all, "process", "processes")));
    }
    if rest.failed > 0 {
        also.push(format!("{} failed", rest.failed));
    }
    if !also.is_empty() {
        text += &format!(" ({})", also.join(", "));
    }
    text
}

/// What was lost.
pub fn lost(count: Option<u64>, lost: &[Kind]) -> String {
    let events = match count {
        Some(1) => "1 event".to_owned(),
        Some(count) => format!("{count} events"),
        None => "an unknown number of events".to_owned(),
    };
    if lost.is_empty() { events } else { format!("{events} ({})", kinds(lost)) }
}

/// Kinds of events.
pub fn kinds(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| kind_name(*kind)).collect::<Vec<_>>().join(", ")
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Seen => "processes that were there",
        Kind::Fork => "forks",
        Kind::Exec => "execs",
        Kind::Exit => "exits",
        Kind::ThreadCreate => "new threads",
        Kind::ThreadExit => "ends of threads",
        Kind::Unknown => "of unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_three_digits() {
        for (ns, said) in [
            (0, "0 s"),
            (1, "1 µs"),
            (840_000, "840 µs"),
            (999_600, "1.00 ms"),
            (12_340_000, "12.3 ms"),
            (999_400_000, "999 ms"),
            (999_600_000, "1.00 s"),
            (59_900_000_000, "59.9 s"),
            (59_960_000_000, "1m00s"),
            (200_000_000_000, "3m20s"),
            (7_380_000_000_000, "2h03m"),
            (u64::MAX, "5124095h34m"),
        ] {
            assert_eq!(span(ns), said);
        }
    }

    #[test]
    fn sizes_have_two_or_three_digits() {
        for (bytes, said) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KiB"),
            (10_240, "10 KiB"),
            (1_048_576, "1.0 MiB"),
            (536_870_912, "512 MiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(size(bytes), said);
        }
    }
}
