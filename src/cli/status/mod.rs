//! `kmonitor status`

mod metrics;
mod text;

use std::io::{self, BufWriter, ErrorKind, Write};

use kmonitor::status::{Answer, AskError, DaemonStatus, Line, Question, ask};
use nix::sys::signal::Signal;

use super::Failure;
use super::exit::Exit;
use super::options::StatusOptions;

pub fn status(options: &StatusOptions) -> Result<Exit, Failure> {
    let question = if options.metrics { Question::Summary } else { Question::All };
    let mut answer = ask(&options.path, question).map_err(failure)?;
    let mut to = BufWriter::new(io::stdout().lock());
    let printed = if options.json {
        pass_on(&mut answer, &mut to)?
    } else {
        let daemon = first(&mut answer)?;
        if options.metrics {
            metrics::print(&daemon, &mut to)
        } else {
            text::print(&daemon, answer, &mut to)?
        }
    };
    match printed.and_then(|()| to.flush()) {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Signal(Signal::SIGPIPE)),
        Err(error) => Err(Failure::new(Exit::Error, format!("cannot print the status: {error}"))),
    }
}

/// The lines as they are, which a newer daemon may have more to say in.
fn pass_on(answer: &mut Answer, to: &mut impl Write) -> Result<io::Result<()>, Failure> {
    loop {
        let line = next(answer)?;
        let printed = writeln!(to, "{line}");
        if printed.is_err() || matches!(parse(&line)?, Line::End { .. }) {
            return Ok(printed);
        }
    }
}

fn first(answer: &mut Answer) -> Result<DaemonStatus, Failure> {
    match parse(&next(answer)?)? {
        Line::Daemon(daemon) => Ok(daemon),
        other => {
            Err(Failure::new(Exit::Error, format!("the daemon's answer begins with {other:?}: report this")))
        }
    }
}

/// The next line of an answer that is not over.
fn next(answer: &mut Answer) -> Result<String, Failure> {
    let why = match answer.next() {
        Some(Ok(line)) => return Ok(line),
        Some(Err(error)) => error.to_string(),
        None => "it has ended, or found us too slow".to_owned(),
    };
    Err(Failure::new(Exit::Error, format!("the daemon's answer is not whole ({why}): try again")))
}

fn parse(line: &str) -> Result<Line, Failure> {
    serde_json::from_str(line).map_err(|error| {
        let what = "the daemon's answer cannot be read, which may be of another version";
        Failure::new(Exit::Error, format!("{what}: {error}: restart the daemon after an update"))
    })
}

fn failure(error: AskError) -> Failure {
    let exit = match error {
        AskError::Io { .. } | AskError::Foreign(_) => Exit::Error,
        AskError::NotRoot | AskError::NotServed(_) | AskError::Silent(_) => Exit::Unavailable,
    };
    Failure::new(exit, error)
}
