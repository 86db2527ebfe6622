//! Which source delivers the events.

use std::io;

use crate::observe::Observer;
use crate::remedy;

use super::bpf::{self, BpfEvents, BpfSource, Refusal};
use super::{Connector, ProcConnector, Source, SourceError};

/// What the owner wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The programs in the kernel, where it takes them; else the proc connector.
    Auto,
    /// The programs in the kernel.
    Bpf,
    /// The proc connector.
    Connector,
}

/// Why the wanted source cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The programs in the kernel.
    #[error("{0}; or use --source connector")]
    Bpf(#[from] Refusal),
    /// The proc connector.
    #[error(transparent)]
    Connector(#[from] SourceError),
    /// A resource of our own.
    #[error("cannot open the source of events: {error}: {}", remedy::of(error))]
    Resources {
        /// Why not.
        #[from]
        error: io::Error,
    },
}

/// A source, and a sentence that says which one and why. `event_buffer` is the size of the proc connector's
/// queue in bytes; with `with_cause`, exits come with the signal that caused them.
pub fn open(
    choice: Choice,
    event_buffer: usize,
    with_cause: bool,
    observer: &Observer,
) -> Result<(Box<dyn Source + Send>, String), OpenError> {
    let reason = match choice {
        Choice::Connector => "as asked for".to_owned(),
        Choice::Bpf => return Ok((bpf(observer)?, "BPF programs in the kernel, as asked for".to_owned())),
        Choice::Auto => match bpf(observer) {
            Ok(source) => return Ok((source, "BPF programs in the kernel".to_owned())),
            Err(refusal) => format!("since {refusal}"),
        },
    };
    let source = connector(event_buffer, with_cause, observer)?;
    Ok((source, format!("the proc connector, {reason}")))
}

fn bpf(observer: &Observer) -> Result<Box<dyn Source + Send>, Refusal> {
    let source = BpfSource::new(bpf::Options::default())?;
    Ok(Box::new(BpfEvents::new(source, observer.clone())))
}

fn connector(
    event_buffer: usize,
    with_cause: bool,
    observer: &Observer,
) -> Result<Box<dyn Source + Send>, OpenError> {
    let mut socket = ProcConnector::new(event_buffer);
    for warning in socket.check()? {
        observer.say(warning);
    }
    Ok(Box::new(Connector::new(socket, with_cause, observer.clone())?))
}
