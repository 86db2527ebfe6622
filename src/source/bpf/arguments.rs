//! What tasks execute: file names and arguments, through a ring of their own.

use std::collections::VecDeque;

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::ids::{Stamp, Tid};
use crate::sys::bpf_memory::RingReader;

use super::BpfSource;
use super::event::TaskEvent;

/// So many bytes are kept for who asks; older ones go.
const MOST_WAITING: usize = 64 << 20;

/// `struct arguments` of `../programs/shared.h`, but for its text.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    stamp: u64,
    cgroup: u64,
    tid: i32,
    file: u32,
    kept: u32,
    whole: u32,
    parent: [u8; 16],
}

/// What a task executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecArguments {
    /// The file, as it was named to `execve(2)`.
    pub file: Vec<u8>,
    /// The arguments, the first of which is the program's name for itself.
    pub arguments: Vec<Vec<u8>>,
    /// There are more arguments, or the last one is longer: 16 KiB are kept.
    pub is_cut: bool,
    /// The name of the parent, as in /proc/PID/comm.
    pub parent: Vec<u8>,
    /// The cgroup, as `name_to_handle_at(2)` numbers its folder: there it is the inode's number too.
    pub cgroup: u64,
}

impl ExecArguments {
    /// Bytes of memory that it takes, about.
    fn size(&self) -> usize {
        let texts = self.arguments.iter().map(|argument| argument.len() + size_of::<Vec<u8>>());
        size_of::<(Tid, Stamp, ExecArguments)>() + self.file.len() + self.parent.len() + texts.sum::<usize>()
    }
}

/// Those that were read.
#[derive(Debug)]
pub(super) struct Arguments {
    ring: RingReader,
    waiting: VecDeque<(Tid, Stamp, ExecArguments)>,
    /// Bytes that these take.
    bytes: usize,
}

impl Arguments {
    pub fn new(ring: RingReader) -> Arguments {
        Arguments { ring, waiting: VecDeque::new(), bytes: 0 }
    }

    /// Reads all that there are.
    pub fn read(&mut self) {
        let written = self.ring.written();
        while let Some(record) = self.ring.next(written, parse) {
            let Some(found) = record else { continue };
            self.bytes += found.2.size();
            self.waiting.push_back(found);
            while self.bytes > MOST_WAITING {
                self.remove(0);
            }
        }
    }

    fn remove(&mut self, at: usize) -> Option<ExecArguments> {
        let (_, _, arguments) = self.waiting.remove(at)?;
        self.bytes -= arguments.size();
        Some(arguments)
    }

    fn take(&mut self, tid: Tid, at: Stamp) -> Option<ExecArguments> {
        let found = self.waiting.iter().position(|(whose, when, _)| (*whose, *when) == (tid, at))?;
        self.remove(found)
    }
}

impl BpfSource {
    /// What the task executes since this exec. `None`: that was not asked for, it is not known, or was
    /// taken.
    pub fn take_arguments(&mut self, exec: &TaskEvent) -> Option<ExecArguments> {
        self.arguments.as_mut()?.take(exec.subject, exec.at)
    }
}

fn parse(bytes: &[u8]) -> Option<(Tid, Stamp, ExecArguments)> {
    let (header, text) = Header::read_from_prefix(bytes).ok()?;
    let file = text.get(..header.file as usize)?;
    let kept = text.get(header.file as usize..)?.get(..header.kept as usize)?;
    let until_zero = |text: &[u8]| text.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    // Each ends with a zero, but for the last one if it is cut.
    let mut arguments: Vec<Vec<u8>> = kept.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    if kept.last().is_none_or(|last| *last == 0) {
        arguments.pop();
    }
    let is_cut = header.kept < header.whole;
    let found = ExecArguments {
        file: until_zero(file),
        arguments,
        is_cut,
        parent: until_zero(&header.parent),
        cgroup: header.cgroup,
    };
    Some((Tid(header.tid), Stamp(header.stamp), found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(file: &[u8], kept: &[u8], whole: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(5u64.to_ne_bytes());
        bytes.extend(6u64.to_ne_bytes());
        for word in [7, file.len() as u32, kept.len() as u32, whole] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(*b"sh\0xxxxxxxxxxxxx");
        bytes.extend(file);
        bytes.extend(kept);
        bytes
    }

    #[test]
    fn arguments_are_told_apart_and_a_cut_is_known() {
        let (tid, at, found) = parse(&record(b"/bin/a\0", b"a\0\0b c\0", 7)).expect("well-formed");
        assert_eq!((tid, at, found.cgroup, found.is_cut), (Tid(7), Stamp(5), 6, false));
        assert_eq!((&found.file[..], &found.parent[..]), (&b"/bin/a"[..], &b"sh"[..]));
        assert_eq!(found.arguments, [&b"a"[..], b"", b"b c"]);
        let (_, _, cut) = parse(&record(b"/bin/a\0", b"a\0b", 70)).expect("well-formed");
        assert_eq!((cut.arguments, cut.is_cut), (vec![b"a".to_vec(), b"b".to_vec()], true));
        let (_, _, none) = parse(&record(b"", b"", 0)).expect("well-formed");
        assert_eq!((none.arguments.len(), none.is_cut), (0, false));
    }

    #[test]
    fn a_short_record_is_none() {
        let whole = record(b"/bin/a\0", b"a\0", 2);
        assert!((0..whole.len()).all(|length| parse(&whole[..length]).is_none()));
    }
}
