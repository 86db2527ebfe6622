//! `kmonitor timeline`

mod perfetto;
mod svg;

use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::exit::Exit;
use super::history::{self, Told};
use super::options::TimelineOptions;
use super::{Failure, say, words};

pub fn timeline(options: &TimelineOptions) -> Result<Exit, Failure> {
    history::of_command(&options.subject, draw(options))
}

fn draw(options: &TimelineOptions) -> Result<Exit, Failure> {
    let path = &options.output;
    let cannot_write =
        |error: io::Error| Failure::new(Exit::Error, format!("cannot write to {}: {error}", path.display()));
    // Before anything is run for nothing.
    let mut file = BufWriter::new(File::create(path).map_err(cannot_write)?);
    let Told { history, exit } = history::tell(&options.subject, None)?;
    let is_picture = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg"));
    let written = if is_picture {
        svg::write(&history, (options.lines > 0).then_some(options.lines), &mut file)
    } else {
        perfetto::write(&history, &mut file)
    };
    written.and_then(|()| file.flush()).map_err(cannot_write)?;
    for loss in history.losses() {
        say(format_args!(
            "{} lost: the timeline lacks what they would have told",
            words::lost(loss.count, &loss.kinds)
        ));
    }
    Ok(exit)
}
