//! Records of what processes do: what `kmonitor watch --json` prints, and what other commands are made of.
//!
//! A stream of records is an `Iterator<Item = Result<Record, RecordError>>`, wherever it comes from: a file
//! of JSON lines ([`read`]), or a source of events. It promises
//!
//! * **in order**: `seq` grows; a process's records come after the `fork` or `seen` that names it, and nothing
//!   of it after its `exit`;
//! * **honestly**: what is missing is said by [`What::Lost`], at its place; a number that is missing in `seq` is
//!   a record that such a one counts;
//! * **to the end**: the last record is [`What::End`], unless who made the stream was killed.
//!
//! docs/watch-schema.json is the same as a JSON schema.

mod lines;
mod process;
mod program;
mod record;
mod time;

pub use lines::{RecordError, read, write};
pub use process::{Ended, Process};
pub use program::{Program, base_name};
pub use record::{Kind, Record, SourceName, Totals, VERSION, What};
