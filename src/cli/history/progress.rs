//! The line that counts while the history grows.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use kmonitor::history::Builder;

use crate::cli::words::count;

/// A reader sees no more changes in a second.
const PAUSE: Duration = Duration::from_millis(100);

/// One line of a terminal, written again and again. Elsewhere nothing is written.
pub struct Progress<W: Write> {
    to: Option<W>,
    shown: Option<(Instant, String)>,
}

impl<W: Write + IsTerminal> Progress<W> {
    pub fn on(terminal: W) -> Progress<W> {
        Progress { to: terminal.is_terminal().then_some(terminal), shown: None }
    }
}

impl<W: Write> Progress<W> {
    /// Shows how many there are. Nothing comes soon, if it `is_last`.
    pub fn show(&mut self, builder: &Builder, is_last: bool) {
        let Some(to) = &mut self.to else { return };
        if !is_last && self.shown.as_ref().is_some_and(|(at, _)| at.elapsed() < PAUSE) {
            return;
        }
        let line = format!("{}, {} now", count(builder.all(), "process", "processes"), builder.now());
        if self.shown.as_ref().is_none_or(|(_, shown)| *shown != line) {
            // It is a remark: the tree matters.
            let _ = write!(to, "\r\x1b[K{line}").and_then(|()| to.flush());
            self.shown = Some((Instant::now(), line));
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if let (Some(to), Some(_)) = (&mut self.to, self.shown.take()) {
            let _ = write!(to, "\r\x1b[K").and_then(|()| to.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_over_and_taken_away() {
        let mut progress = Progress { to: Some(Vec::new()), shown: None };
        let builder = Builder::new();
        for _ in 0..3 {
            progress.show(&builder, true);
        }
        progress.clear();
        progress.clear();
        let written = progress.to.expect("it is a terminal");
        assert_eq!(String::from_utf8(written).expect("text"), "\r\x1b[K0 processes, 0 now\r\x1b[K");
    }
}
