//! The timeline as a picture: a row a process, below its parent's; a bar from its birth to its end.

mod marks;

use std::io::{self, Write};

use kmonitor::history::{Birth, End, History, Life, Rest, Row, rows};

use crate::cli::words::{count, full_command, lifetime, lost, rest, size, span, status, title};
use marks::{BAR, Palette, Scale, bar, label, open_edge, step, text};

/// Pixels.
const WIDTH: f64 = 1280.0;
const MARGIN: f64 = 12.0;
/// Right of the last point in time, for text.
const GUTTER: f64 = 330.0;
const TOP: f64 = 78.0;
const ROW: f64 = 18.0;

/// So many lines divide the time, about.
const TICKS: u64 = 10;

const STYLE: &str = "\
text{font:12px system-ui,'DejaVu Sans',sans-serif;fill:#222}\
.h{font-size:16px;font-weight:bold}.a{fill:#666;font-size:11px}\
.g{stroke:#eee}.c{stroke:#d4d4d4;fill:none}\
.b{stroke:#0004;stroke-width:.7}.i{fill-opacity:.4;stroke-dasharray:2 2}\
.f{stroke:#d00000;stroke-width:1.5}.x{fill:#c00000}.o{stroke:#444;stroke-dasharray:1 3;stroke-width:3}\
.l{stroke:#d00000;stroke-dasharray:5 4}\
g:hover>.b{stroke:#000;stroke-width:1.5}";

/// Draws the picture. Processes are folded beyond about so many rows; `None`: none are.
pub fn write(history: &History, most: Option<usize>, to: &mut impl Write) -> io::Result<()> {
    Picture::new(history, rows(history, most)).write(to)
}

struct Picture<'a> {
    history: &'a History,
    rows: Vec<Row>,
    height: f64,
    scale: Scale,
    palette: Palette<'a>,
    /// Where the rows of processes are.
    y_of: Vec<Option<f64>>,
}

impl<'a> Picture<'a> {
    fn new(history: &'a History, rows: Vec<Row>) -> Picture<'a> {
        let (first, last) = history.time().map_or((0, 0), |time| time.into_inner());
        let scale = Scale { first, last: last.max(first + 1), left: MARGIN, right: WIDTH - GUTTER };
        let mut y_of = vec![None; history.lives().len()];
        for (number, row) in rows.iter().enumerate() {
            if let Row::Process { index, .. } = row {
                y_of[*index] = Some(y(number));
            }
        }
        let height = y(rows.len()) + MARGIN;
        Picture { history, rows, height, scale, palette: Palette::of(history), y_of }
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let first = self.history.roots().first();
        let heading = first.map_or("no processes".to_owned(), |index| title(self.history.life(*index)));
        writeln!(
            to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">\n\
             <title>{}</title>\n<style>{STYLE}</style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>",
            text(&heading),
            height = self.height,
        )?;
        self.head(&heading, to)?;
        self.axis(to)?;
        self.connections(to)?;
        for (number, row) in self.rows.iter().enumerate() {
            match row {
                Row::Process { index, .. } => self.process(self.history.life(*index), y(number), to)?,
                Row::Rest { rest, .. } => self.rest(rest, y(number), to)?,
            }
        }
        self.losses(to)?;
        writeln!(to, "</svg>")
    }

    fn head(&self, heading: &str, to: &mut impl Write) -> io::Result<()> {
        writeln!(to, "<text class=\"h\" x=\"{MARGIN}\" y=\"22\">{}</text>", text(heading))?;
        let lives = self.history.lives();
        let mut said = count(lives.len(), "process", "processes");
        if let Some((_, began)) = self.history.clock() {
            said += &format!(" in {}, from {began:.3}", span(self.scale.last - self.scale.first));
        }
        let mut bad = String::new();
        let failed = lives.iter().filter(|life| life.has_failed()).count();
        if failed > 0 {
            bad += &format!(", {failed} failed");
        }
        let losses = self.history.losses().len();
        if losses > 0 {
            bad += &format!(", events were lost at {}", count(losses, "time", "times"));
        }
        writeln!(
            to,
            "<text x=\"{MARGIN}\" y=\"42\">{}<tspan class=\"x\">{}</tspan></text>",
            text(&said),
            text(&bad)
        )
    }

    /// Lines at round times.
    fn axis(&self, to: &mut impl Write) -> io::Result<()> {
        let length = self.scale.last - self.scale.first;
        let step = step(length / TICKS);
        for after in (0..=length / step).map(|number| number * step) {
            let x = self.scale.x(self.scale.first + after);
            writeln!(
                to,
                "<path class=\"g\" d=\"M{x:.1} {}V{}\"/><text class=\"a\" x=\"{:.1}\" y=\"{}\">{}</text>",
                TOP - 12.0,
                self.height,
                x + 3.0,
                TOP - 8.0,
                span(after)
            )?;
        }
        Ok(())
    }

    /// From each parent's row to those of its children.
    fn connections(&self, to: &mut impl Write) -> io::Result<()> {
        for (number, row) in self.rows.iter().enumerate() {
            let (index, at) = match row {
                Row::Process { index, .. } => (*index, self.history.life(*index).first()),
                Row::Rest { rest, .. } => (rest.siblings[0], rest.time.0),
            };
            let parent = self.history.life(index).parent.and_then(|parent| self.y_of[parent]);
            if let Some(parent) = parent {
                writeln!(
                    to,
                    "<path class=\"c\" d=\"M{:.1} {}V{}\"/>",
                    self.scale.x(at),
                    parent + BAR,
                    y(number)
                )?;
            }
        }
        Ok(())
    }

    fn process(&self, life: &Life, y: f64, to: &mut impl Write) -> io::Result<()> {
        let (x, end) = (self.scale.x(life.first()), self.scale.x(life.last));
        writeln!(to, "<g><title>{}</title>", text(&self.tooltip(life)))?;
        let mut bars: Vec<_> = life.runs.iter().map(|run| (self.scale.x(run.at), Some(run))).collect();
        if life.runs.first().is_none_or(|run| run.at > life.first()) {
            bars.insert(0, (x, None));
        }
        for (number, (from, run)) in bars.iter().enumerate() {
            let until = bars.get(number + 1).map_or(end, |(next, _)| *next);
            let is_own = run.is_some_and(|run| !run.is_inherited);
            let class = match (number + 1 == bars.len(), is_own) {
                (true, _) if life.has_failed() => "b f",
                (_, true) => "b",
                (_, false) => "b i",
            };
            let color = self.palette.color(run.and_then(|run| run.program.name()));
            bar(class, &color, *from, until, y, to)?;
        }
        if !matches!(life.birth, Birth::Fork(_)) {
            open_edge(x, y, to)?;
        }
        if !matches!(life.end, End::Exit(..)) {
            open_edge(end, y, to)?;
        }
        let state = status(life);
        let said = if state == "0" { title(life) } else { format!("{}  {state}", title(life)) };
        let class = if life.has_failed() { "x" } else { "" };
        label(&lifetime(life), &said, class, (x, end), y, to)?;
        writeln!(to, "</g>")
    }

    /// Siblings that have no rows of their own: when any of them lived.
    fn rest(&self, folded: &Rest, y: f64, to: &mut impl Write) -> io::Result<()> {
        let lives = folded.siblings.iter().map(|index| self.history.life(*index));
        let mut spans: Vec<_> =
            lives.map(|life| (self.scale.x(life.first()), self.scale.x(life.last))).collect();
        spans.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Those that touch in the picture are one.
        let mut merged: Vec<(f64, f64)> = Vec::new();
        for (from, until) in spans {
            match merged.last_mut() {
                Some(last) if from <= last.1 + 1.0 => last.1 = last.1.max(until),
                _ => merged.push((from, until)),
            }
        }
        let said = rest(folded);
        writeln!(to, "<g><title>{}</title>", text(&said))?;
        for (from, until) in merged {
            bar("b", "#ddd", from, until, y, to)?;
        }
        let class = if folded.failed > 0 { "x" } else { "" };
        let ends = (self.scale.x(folded.time.0), self.scale.x(folded.time.1));
        label("", &said, class, ends, y, to)?;
        writeln!(to, "</g>")
    }

    fn losses(&self, to: &mut impl Write) -> io::Result<()> {
        for loss in self.history.losses() {
            let said = format!(
                "{} lost: the picture lacks what they would have told",
                lost(loss.count, &loss.kinds)
            );
            let (x, top, height) = (self.scale.x(loss.at), TOP - 12.0, self.height);
            let said = text(&said);
            writeln!(to, "<path class=\"l\" d=\"M{x:.1} {top}V{height}\"><title>{said}</title></path>")?;
        }
        Ok(())
    }

    /// All there is to say of a process.
    fn tooltip(&self, life: &Life) -> String {
        let after = |at: u64| span(at.saturating_sub(self.scale.first));
        let mut about = format!("pid {}", life.pid);
        if let Some(ppid) = life.ppid {
            about += &format!(", parent {ppid}");
        }
        if let Some(uid) = life.uid {
            about += &format!(", uid {uid}");
        }
        let birth = match life.birth {
            Birth::Fork(at) => format!("began after {}", after(at)),
            Birth::Earlier(_) => "began before the recording".to_owned(),
            Birth::Unknown(at) => format!("first heard of after {} (its beginning was lost)", after(at)),
        };
        let end = match life.end {
            End::Runs => "still ran at the end".to_owned(),
            End::Exit(at, _) => format!("ended after {}", after(at)),
            End::Unknown => format!("last heard of after {} (its end was lost)", after(life.last)),
        };
        let mut lines = vec![about, format!("{birth}, {end}")];
        lines.push(format!("lived {}, status {}", lifetime(life), status(life)));
        if let Some(exit) = life.exit() {
            let cpu = exit.cpu.map(|cpu| format!("CPU time {}", span(cpu)));
            let memory = exit.peak_memory.map(|bytes| format!("at most {} of memory", size(bytes)));
            lines.extend(cpu.into_iter().chain(memory));
        }
        for run in life.runs.iter().filter(|run| !run.is_inherited) {
            lines.push(format!("from {} on: {}", after(run.at), full_command(&run.program)));
        }
        lines.join("\n")
    }
}

/// Where the row of this number begins.
fn y(row: usize) -> f64 {
    TOP + row as f64 * ROW
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quick_xml::events::Event as Xml;

    use crate::cli::history::sample::{Event, build, history};

    /// What stands in the elements of this name; the picture must be well-formed.
    fn texts(history: &History, most: Option<usize>, element: &str) -> Vec<String> {
        let mut picture = Vec::new();
        write(history, most, &mut picture).expect("memory takes it");
        let picture = String::from_utf8(picture).expect("text");
        let mut reader = quick_xml::Reader::from_str(&picture);
        let (mut open, mut found) = (Vec::new(), Vec::new());
        loop {
            match reader.read_event().unwrap_or_else(|error| panic!("{error} in {picture}")) {
                Xml::Start(start) => {
                    let name = start.name().as_ref().to_owned();
                    if name == element {
                        found.push(String::new());
                    }
                    open.push(name);
                }
                Xml::End(_) => drop(open.pop()),
                Xml::Text(text) if open.iter().any(|name| name == element) => {
                    found.last_mut().expect("it is open").push_str(&text);
                }
                Xml::GeneralRef(name) if open.iter().any(|name| name == element) => {
                    let letter = match &*name {
                        "lt" => '<',
                        "gt" => '>',
                        "amp" => '&',
                        "quot" => '"',
                        "apos" => '\'',
                        name => panic!("&{name};"),
                    };
                    found.last_mut().expect("it is open").push(letter);
                }
                Xml::Eof => return found,
                _ => {}
            }
        }
    }

    #[test]
    fn every_process_has_a_text_and_a_tooltip() {
        let all = texts(&build(), None, "text");
        for expected in [
            "make all",
            "5.00 ms sh → cc a.c  ✗ 1",
            "1.00 ms (cc)",
            "2.00 ms ? (pid 13)  ✗ SIGKILL",
            r"? sleep $'<1> & \033[31m'  runs",
        ] {
            assert!(all.iter().any(|text| text.ends_with(expected)), "{expected} is not in {all:#?}");
        }
        let tips = texts(&build(), None, "title").join("\n\n");
        for expected in [
            "pid 11, parent 10\nbegan after 1.00 ms, ended after 6.00 ms",
            "began before the recording, still ran at the end",
            "at most 3.0 MiB of memory",
            "from 3.00 ms on: /usr/bin/cc a.c",
            "4 events (forks) lost",
            "(its beginning was lost)",
        ] {
            assert!(tips.contains(expected), "{expected} is not in {tips}");
        }
    }

    #[test]
    fn rows_are_folded() {
        let forks: Vec<_> = (2..1000).map(|pid| Event::Fork(pid, 1, &["sh"])).collect();
        let all = texts(&history(&forks), Some(50), "text");
        assert!(all.len() < 80 && all.iter().any(|text| text.contains("… 949 more: 949 sh")), "{all:#?}");
    }

    proptest! {
        #[test]
        fn any_command_line_is_text(words in prop::collection::vec("\\PC{0,9}|[\\x00-\\x1f<&>'\"\u{fffe}]{0,9}", 1..6)) {
            let line: Vec<_> = words.iter().map(String::as_str).collect();
            let history = history(&[Event::Fork(2, 1, &["sh"]), Event::Exec(2, &line)]);
            let known = |letter: &char| !matches!(letter, '\u{fffe}' | '\u{ffff}');
            let expected: String = title(history.life(1)).chars().filter(known).collect();
            let all = texts(&history, None, "text");
            prop_assert!(all.iter().any(|text| text.contains(&expected)), "{} is not in {:#?}", expected, all);
        }
    }
}
