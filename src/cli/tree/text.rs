//! The tree as text.

use std::fmt::Write as _;
use std::io::{self, Write};

use kmonitor::history::{End, History, Row, rows};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::cli::color::{Color, Colors};
use crate::cli::words::{count, lifetime, lost, rest, size, span, status, title};

/// So many levels are drawn at most; deeper ones are numbered.
const MOST_LEVELS: usize = 40;

/// Narrower terminals get no CPU time and no memory.
const WIDE: usize = 72;

/// So many losses are listed.
const MOST_LOSSES: usize = 5;

/// How the tree is to look.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Columns; `None`: as many as a line takes.
    pub width: Option<usize>,
    /// About so many lines; `None`: all there are.
    pub lines: Option<usize>,
    /// Pids are shown.
    pub pids: bool,
    /// Failures are red.
    pub colors: Colors,
}

/// A line before its columns are as wide as those of the others.
struct Line {
    cells: [String; 4],
    has_failed: bool,
    branch: String,
    text: String,
}

const HEADINGS: [&str; 4] = ["time", "cpu", "memory", "status"];

/// Draws the tree, and below it what there is to say of all.
pub fn draw(history: &History, look: Look, to: &mut impl Write) -> io::Result<()> {
    let lines = lines(history, look);
    let mut widths = [0; 4];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(&line.cells) {
            *width = (*width).max(cell.width());
        }
    }
    if look.width.is_some_and(|width| width < WIDE) {
        widths[1..3].fill(0);
    }
    for (width, heading) in widths.iter_mut().zip(HEADINGS) {
        if *width > 0 {
            *width = (*width).max(heading.len());
        }
    }
    let mut heading = columns(&HEADINGS.map(str::to_owned), widths, |cell| cell);
    heading.truncate(heading.trim_end().len());
    if !lines.is_empty() {
        writeln!(to, "{heading}")?;
    }
    for line in &lines {
        let paint = |cell: String| if line.has_failed { look.colors.paint(Color::Red, &cell) } else { cell };
        let columns = columns(&line.cells, widths, paint);
        let taken: usize = widths.iter().map(|width| if *width > 0 { width + 2 } else { 0 }).sum();
        let text = format!("{}{}", line.branch, line.text);
        let text = match look.width {
            Some(width) => cut(&text, width.saturating_sub(taken)),
            None => text,
        };
        writeln!(to, "{columns}{text}")?;
    }
    summary(history, look.colors, to)
}

/// The columns of a line; those without a width are left out. `paint` is for the last.
fn columns(cells: &[String; 4], widths: [usize; 4], paint: impl Fn(String) -> String) -> String {
    let mut line = String::new();
    for (at, (cell, width)) in cells.iter().zip(widths).enumerate().filter(|(_, (_, width))| *width > 0) {
        let blanks = " ".repeat(width.saturating_sub(cell.width()));
        // Writing to a string does not fail.
        let _ = match at {
            3 if cell.is_empty() => write!(line, "{blanks}  "),
            3 => write!(line, "{}{blanks}  ", paint(cell.clone())),
            _ => write!(line, "{blanks}{cell}  "),
        };
    }
    line
}

fn lines(history: &History, look: Look) -> Vec<Line> {
    let rows = rows(history, look.lines);
    let mut branches = branches(&rows, look.width);
    rows.iter().zip(branches.drain(..)).map(|(row, branch)| line(history, row, branch, look)).collect()
}

fn line(history: &History, row: &Row, branch: String, look: Look) -> Line {
    match row {
        Row::Process { index, .. } => {
            let life = history.life(*index);
            let exit = life.exit();
            let cpu = exit.and_then(|exit| exit.cpu).map(span).unwrap_or_default();
            let memory = exit.and_then(|exit| exit.peak_memory).map(size).unwrap_or_default();
            // Aligned with those that have a mark.
            let status = match status(life) {
                status if life.has_failed() => status,
                status => format!("  {status}"),
            };
            let pid = if look.pids { format!("{} ", life.pid) } else { String::new() };
            Line {
                cells: [lifetime(life), cpu, memory, status],
                has_failed: life.has_failed(),
                branch,
                text: format!("{pid}{}", title(life)),
            }
        }
        Row::Rest { rest: hidden, .. } => {
            let cpu = hidden.cpu.map(span).unwrap_or_default();
            let failed = if hidden.failed > 0 { "✗".to_owned() } else { String::new() };
            Line {
                cells: [String::new(), cpu, String::new(), failed],
                has_failed: hidden.failed > 0,
                branch,
                text: rest(hidden),
            }
        }
    }
}

/// What stands before each row's text and shows whose child it is.
fn branches(rows: &[Row], width: Option<usize>) -> Vec<String> {
    let levels = width.map_or(MOST_LEVELS, |width| (width / 8).clamp(4, MOST_LEVELS));
    // For each level, whether a row below has a branch there.
    let mut goes_on: Vec<bool> = Vec::new();
    let mut branches: Vec<String> = Vec::with_capacity(rows.len());
    for row in rows.iter().rev() {
        let depth = row.depth();
        goes_on.resize(depth + 1, false);
        let is_last = !std::mem::replace(&mut goes_on[depth], true);
        let mut branch = String::new();
        if depth > levels {
            branch = format!("{:<1$} ", format!("[{depth}]"), 3 * levels - 4);
        } else {
            branch
                .extend(goes_on[1..depth.max(1)].iter().map(|goes_on| if *goes_on { "│  " } else { "   " }));
        }
        if depth > 0 {
            branch += if is_last { "└─ " } else { "├─ " };
        }
        branches.push(branch);
    }
    branches.reverse();
    branches
}

/// The text, or as much of it as fits in so many columns.
fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut room = columns.saturating_sub(1);
    let fits = |letter: &char| {
        let width = letter.width().unwrap_or(0);
        let fits = width <= room;
        room = room.saturating_sub(width);
        fits
    };
    let start: String = text.chars().take_while(fits).collect();
    format!("{start}…")
}

fn summary(history: &History, colors: Colors, to: &mut impl Write) -> io::Result<()> {
    let Some(time) = history.time() else { return writeln!(to, "no processes") };
    let lives = history.lives();
    let mut said = vec![format!(
        "{} in {}",
        count(lives.len(), "process", "processes"),
        span(time.end() - time.start())
    )];
    let failed = lives.iter().filter(|life| life.has_failed()).count();
    if failed > 0 {
        said.push(colors.paint(Color::Red, &format!("{failed} failed")));
    }
    let running = lives.iter().filter(|life| life.end == End::Runs).count();
    if running > 0 {
        said.push(format!("{running} still {}", if running == 1 { "runs" } else { "run" }));
    }
    writeln!(to, "{}", said.join(", "))?;
    for loss in history.losses().iter().take(MOST_LOSSES) {
        let after = span(loss.at.saturating_sub(*time.start()));
        let text = format!(
            "{} lost after {after}: the tree lacks what they would have told",
            lost(loss.count, &loss.kinds)
        );
        writeln!(to, "{}", colors.paint(Color::Red, &text))?;
    }
    match history.losses().len().saturating_sub(MOST_LOSSES) {
        0 => Ok(()),
        more => writeln!(to, "{}", colors.paint(Color::Red, &format!("and {more} more such losses"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ColorChoice;
    use proptest::prelude::*;

    use crate::cli::history::sample::{Event, build, history};

    fn look(width: Option<usize>, lines: Option<usize>, choice: ColorChoice) -> Look {
        Look { width, lines, pids: false, colors: Colors::choose(choice, &io::stdout()) }
    }

    fn drawn(history: &History, look: Look) -> String {
        let mut text = Vec::new();
        draw(history, look, &mut text).expect("memory takes it");
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn a_tree_has_a_line_for_each_process() {
        let text = drawn(&build(), look(None, None, ColorChoice::Never));
        let expected = [
            "    time      cpu   memory  status",
            ">11.0 ms                      runs     make all",
            " 5.00 ms  2.00 ms  3.0 MiB  ✗ 1        ├─ sh → cc a.c",
            " 1.00 ms  2.00 ms  3.0 MiB    0        │  └─ (cc)",
            " 2.00 ms  2.00 ms  3.0 MiB  ✗ SIGKILL  └─ ? (pid 13)",
            r"       ?                      runs     sleep $'<1> & \033[31m'",
            "5 processes in 11.0 ms, 2 failed, 2 still run",
            "4 events (forks) lost after 10.0 ms: the tree lacks what they would have told",
            "",
        ];
        assert_eq!(text, expected.join("\n"), "{text}");
        let narrow = drawn(&build(), look(Some(30), Some(1), ColorChoice::Always));
        let expected = [
            "    time  status",
            ">11.0 ms    runs  make all",
            "          \x1b[31m✗\x1b[0m       └─ … 2 more…",
            r"       ?    runs  sleep $'<1>…",
        ];
        assert!(narrow.starts_with(&expected.join("\n")), "{narrow}");
    }

    #[test]
    fn deep_levels_are_numbered() {
        let forks: Vec<_> = (0..100).map(|pid| Event::Fork(pid + 2, pid + 1, &["sh"])).collect();
        let text = drawn(&history(&forks), look(Some(80), None, ColorChoice::Never));
        assert!(text.contains("└─ (sh)\n") && text.contains("[100]") && !text.contains('…'), "{text}");
    }

    proptest! {
        #[test]
        fn any_tree_fits_its_terminal_and_obeys_nothing(
            words in prop::collection::vec("\\PC{0,9}|[\\x00-\\x1f\u{301}字]{0,9}", 1..12), width in 20..100usize
        ) {
            let lines: Vec<_> = words.iter().map(|word| [word.as_str(); 3]).collect();
            let events: Vec<_> = lines
                .iter()
                .zip(10..)
                .flat_map(|(line, pid)| [Event::Fork(pid, pid / 2, line), Event::Exec(pid, line)])
                .collect();
            let history = history(&events);
            let text = drawn(&history, look(Some(width), Some(8), ColorChoice::Never));
            // What stands below the tree is not cut.
            let lines: Vec<_> = text.lines().take_while(|line| !line.contains(" in ")).collect();
            prop_assert!(lines.len() > 1, "{}", text);
            for line in lines {
                prop_assert!(line.width() <= width.max(36), "{} in {}:\n{}", line.width(), width, text);
            }
            prop_assert!(!text.chars().any(|letter| letter.is_control() && letter != '\n'), "{:?}", text);
        }
    }
}
