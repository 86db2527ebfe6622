//! Datagrams of the proc connector, which [`decode`] takes apart.

use std::os::unix::process::ExitStatusExt;

use crate::event::{Event, Kind};
use crate::source::{Malformed, Message, decode};

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of the shortest message that tells anything: an ack, of headers and one word.
const SHORTEST: usize = HEADER + 20 + 16 + 4;

/// Any bytes as one datagram.
pub fn datagram(bytes: &[u8]) {
    let (found, result) = decoded(bytes);
    assert!(found.len() * SHORTEST <= bytes.len(), "more messages than there is room for");
    for message in &found {
        sensible(message);
        assert_eq!(decoded(&encoded(message)), (vec![*message], Ok(())), "not the same a second time");
    }
    let mut in_parts = Vec::new();
    let mut start = 0;
    while let Some(end) = end_of_message(bytes, start) {
        let (before, _) = decoded(&bytes[..start]);
        assert_eq!(before, in_parts, "what follows a message must not change what was told");
        let cut = decoded(&bytes[..end - 1]);
        assert_eq!(cut, (before, Err(Malformed)), "a truncated message tells nothing");
        let (alone, whole) = decoded(&bytes[start..end]);
        let expected = usize::from(whole.is_ok() && is_news(&bytes[start..end]));
        assert_eq!(alone.len(), expected, "a message tells one thing, or it is none of ours");
        in_parts.extend(alone);
        if whole.is_err() {
            break;
        }
        start = end.next_multiple_of(4).min(bytes.len());
    }
    assert_eq!(found, in_parts, "together the messages tell what each tells alone");
    assert_eq!(result.is_ok(), start == bytes.len(), "an error, or everything read");
}

fn decoded(bytes: &[u8]) -> (Vec<Message>, Result<(), Malformed>) {
    let mut found = Vec::new();
    let result = decode(bytes, |message| found.push(message));
    (found, result)
}

/// Where the message that begins here ends, by its own word; `None` if it is not all there.
fn end_of_message(bytes: &[u8], start: usize) -> Option<usize> {
    let len = bytes.get(start..start + 4)?;
    let len = u32::from_ne_bytes(len.try_into().ok()?) as usize;
    (len >= HEADER && len <= bytes.len() - start).then_some(start + len)
}

/// NLMSG_DONE of CN_IDX_PROC and CN_VAL_PROC, about one of the six things that we want to know.
fn is_news(message: &[u8]) -> bool {
    let word = |at| message.get(at..at + 4).map(|word| u32::from_ne_bytes(word.try_into().expect("four")));
    let kind = message[4..6] == 3u16.to_ne_bytes();
    let what = word(36).is_some_and(|what| [0, 0x1, 0x2, 0x4, 0x200, 0x8000_0000].contains(&what));
    kind && (word(16), word(20)) == (Some(1), Some(1)) && what
}

/// What the rest of the daemon relies on.
fn sensible(message: &Message) {
    let Message::Event(Event { kind, target, subject, tgid, status, .. }) = *message else { return };
    let is_main = target == tgid.leader();
    match kind {
        Kind::ProcessFork => assert_eq!(status, None),
        Kind::ThreadCreate => assert!(is_main && subject != target && status.is_none()),
        Kind::ProcessExec => assert!(subject == target && status.is_none()),
        Kind::ProcessExit => assert!(is_main && subject == target && status.is_some()),
        Kind::ThreadExit => assert!(!is_main && subject == target && status.is_some()),
    }
}

/// The message as the kernel would send it: written from linux/cn_proc.h, not from the decoder.
fn encoded(message: &Message) -> Vec<u8> {
    let (what, at, ack, data) = match *message {
        Message::Ack { ack, error } => (0, 0, ack, [error, 0, 0, 0]),
        Message::Comm { tid } => (0x200, 0, 0, [tid.0 as u32, 0, 0, 0]),
        Message::Uid { tid, real, at } => (0x4, at.0, 0, [tid.0 as u32, 0, real.0, 0]),
        Message::Event(Event { kind, target, subject, tgid, uid, status, at }) => {
            assert_eq!(uid, None, "no message of an event names a uid");
            let (target, subject, tgid) = (target.0 as u32, subject.0 as u32, tgid.0 as u32);
            let (what, data) = match kind {
                Kind::ProcessFork => (0x1, [target, tgid, subject, subject]),
                Kind::ThreadCreate => (0x1, [0, 0, subject, tgid]),
                Kind::ProcessExec => (0x2, [target, tgid, 0, 0]),
                Kind::ProcessExit | Kind::ThreadExit => {
                    let code = status.map_or(0, |status| status.into_raw() as u32);
                    (0x8000_0000, [target, tgid, code, 0])
                }
            };
            (what, at.0, 0, data)
        }
    };
    let mut bytes = Vec::new();
    // struct nlmsghdr: length, NLMSG_DONE, flags, sequence number, sender.
    bytes.extend(76u32.to_ne_bytes());
    bytes.extend([3u16.to_ne_bytes(), [0; 2]].concat());
    bytes.extend([0; 8]);
    // struct cn_msg: CN_IDX_PROC, CN_VAL_PROC, sequence number, ack, length, flags.
    bytes.extend([1, 1, 0, ack].iter().flat_map(|word: &u32| word.to_ne_bytes()));
    bytes.extend([40u16.to_ne_bytes(), [0; 2]].concat());
    // struct proc_event: what, processor, time, and the union of 24 bytes.
    bytes.extend([what, 0].iter().flat_map(|word: &u32| word.to_ne_bytes()));
    bytes.extend(at.to_ne_bytes());
    bytes.extend(data.iter().flat_map(|word| word.to_ne_bytes()));
    bytes.extend([0; 8]);
    bytes
}
