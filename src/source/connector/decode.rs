//! The messages of the proc connector: netlink header, connector header, `struct proc_event`
//! (linux/netlink.h, linux/connector.h, linux/cn_proc.h). Pure: bytes in, values out.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::event::{Event, Kind};
use crate::ids::{Stamp, Tgid, Tid, Uid};

/// Length of `struct nlmsghdr`.
const NLMSG_HEADER: usize = 16;
/// Length of `struct cn_msg` before its data.
const CN_HEADER: usize = 20;
/// Where `struct proc_event` begins in a datagram of one message.
pub(super) const EVENT: usize = NLMSG_HEADER + CN_HEADER;
/// Length of `what`, `cpu` and `timestamp_ns`, which precede the event's own data.
pub(super) const EVENT_HEADER: usize = 16;

/// `CN_IDX_PROC`, which is also the multicast group.
pub(super) const CN_IDX_PROC: u32 = 1;
/// `CN_VAL_PROC`
pub(super) const CN_VAL_PROC: u32 = 1;

/// Values of `proc_event.what`.
pub(super) mod what {
    pub const NONE: u32 = 0;
    pub const FORK: u32 = 0x1;
    pub const EXEC: u32 = 0x2;
    pub const UID: u32 = 0x4;
    pub const COMM: u32 = 0x200;
    pub const EXIT: u32 = 0x8000_0000;
}

/// One message of the proc connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A task did something.
    Event(Event),
    /// A task changed its real or effective uid.
    Uid {
        /// The task.
        tid: Tid,
        /// Its real uid now.
        real: Uid,
        /// When.
        at: Stamp,
    },
    /// A task changed its name.
    Comm {
        /// The task.
        tid: Tid,
    },
    /// The answer to LISTEN or IGNORE.
    Ack {
        /// `cn_msg.ack` of the request, plus one.
        ack: u32,
        /// 0 or an errno.
        error: u32,
    },
}

/// The bytes are not what the kernel sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Decodes one datagram, which may hold several messages, and calls `found` for each that is of use.
/// What came before a malformed part has been handed over.
pub fn decode(datagram: &[u8], mut found: impl FnMut(Message)) -> Result<(), Malformed> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let len = u32_at(rest, 0)? as usize;
        let message = rest.get(NLMSG_HEADER..len).ok_or(Malformed)?;
        // The connector sends its messages with type NLMSG_DONE (3); 1 and 2 are NOOP and ERROR.
        if u16_at(rest, 4)? == libc::NLMSG_DONE as u16
            && let Some(message) = connector(message)?
        {
            found(message);
        }
        // Messages are aligned to four bytes; the last may lack its padding.
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}

fn connector(message: &[u8]) -> Result<Option<Message>, Malformed> {
    if (u32_at(message, 0)?, u32_at(message, 4)?) != (CN_IDX_PROC, CN_VAL_PROC) {
        return Ok(None);
    }
    let ack = u32_at(message, 12)?;
    let len = u16_at(message, 16)? as usize;
    let event = message.get(CN_HEADER..).and_then(|m| m.get(..len)).ok_or(Malformed)?;
    let at = Stamp(u64::from(u32_at(event, 8)?) << LOW_WORD | u64::from(u32_at(event, 12)?) << HIGH_WORD);
    let data = event.get(EVENT_HEADER..).ok_or(Malformed)?;
    let id = |index: usize| u32_at(data, 4 * index).map(|id| id as i32);
    Ok(Some(match u32_at(event, 0)? {
        what::NONE => Message::Ack { ack, error: u32_at(data, 0)? },
        what::FORK => Message::Event(fork(Tid(id(0)?), Tgid(id(1)?), Tid(id(2)?), Tgid(id(3)?), at)),
        what::EXEC => Message::Event(own(Kind::ProcessExec, Tid(id(0)?), Tgid(id(1)?), None, at)),
        what::EXIT => {
            let (tid, tgid) = (Tid(id(0)?), Tgid(id(1)?));
            let kind = if tid == tgid.leader() { Kind::ProcessExit } else { Kind::ThreadExit };
            Message::Event(own(kind, tid, tgid, Some(ExitStatus::from_raw(id(2)?)), at))
        }
        what::UID => Message::Uid { tid: Tid(id(0)?), real: Uid(u32_at(data, 8)?), at },
        what::COMM => Message::Comm { tid: Tid(id(0)?) },
        _ => return Ok(None),
    }))
}

/// For a new thread the kernel names the process's parent, not the creator, which is taken to be
/// the main thread (docs/kernel-facts.md#creators).
fn fork(parent: Tid, parent_tgid: Tgid, child: Tid, child_tgid: Tgid, at: Stamp) -> Event {
    let (kind, target, tgid) = if child == child_tgid.leader() {
        (Kind::ProcessFork, parent, parent_tgid)
    } else {
        (Kind::ThreadCreate, child_tgid.leader(), child_tgid)
    };
    Event { kind, target, subject: child, tgid, uid: None, status: None, at }
}

fn own(kind: Kind, tid: Tid, tgid: Tgid, status: Option<ExitStatus>, at: Stamp) -> Event {
    Event { kind, target: tid, subject: tid, tgid, uid: None, status, at }
}

#[cfg(target_endian = "little")]
const LOW_WORD: u32 = 0;
#[cfg(target_endian = "big")]
const LOW_WORD: u32 = 32;
const HIGH_WORD: u32 = 32 - LOW_WORD;

fn u32_at(bytes: &[u8], offset: usize) -> Result<u32, Malformed> {
    let word = bytes.get(offset..).and_then(|rest| rest.first_chunk()).ok_or(Malformed)?;
    Ok(u32::from_ne_bytes(*word))
}

fn u16_at(bytes: &[u8], offset: usize) -> Result<u16, Malformed> {
    let word = bytes.get(offset..).and_then(|rest| rest.first_chunk()).ok_or(Malformed)?;
    Ok(u16::from_ne_bytes(*word))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ids::Signal;

    /// A datagram as the kernel sends it: the event's data padded to the union's 24 bytes.
    pub fn datagram(what: u32, at: u64, data: &[u32]) -> Vec<u8> {
        let mut event = Vec::new();
        event.extend(what.to_ne_bytes());
        event.extend(0u32.to_ne_bytes());
        event.extend(at.to_ne_bytes());
        event.extend(data.iter().flat_map(|word| word.to_ne_bytes()));
        event.resize(EVENT_HEADER + 24, 0);
        let mut bytes = Vec::new();
        bytes.extend(((EVENT + event.len()) as u32).to_ne_bytes());
        bytes.extend((libc::NLMSG_DONE as u16).to_ne_bytes());
        bytes.extend([0; 10]);
        for word in [CN_IDX_PROC, CN_VAL_PROC, 7, 8] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend((event.len() as u16).to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(event);
        bytes
    }

    fn all(bytes: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        decode(bytes, |m| messages.push(m)).expect("well-formed");
        messages
    }

    fn event(what: u32, data: &[u32]) -> Event {
        match all(&datagram(what, 5, data))[..] {
            [Message::Event(event)] => event,
            ref other => panic!("not one event: {other:?}"),
        }
    }

    #[test]
    fn a_fork_is_its_callers_and_about_the_child() {
        let e = event(what::FORK, &[11, 10, 20, 20]);
        assert_eq!((e.kind, e.target, e.subject, e.tgid), (Kind::ProcessFork, Tid(11), Tid(20), Tgid(10)));
        assert_eq!(e.at, Stamp(5));
    }

    #[test]
    fn a_new_thread_is_its_main_threads_whatever_the_parent_fields_say() {
        let e = event(what::FORK, &[1, 1, 21, 20]);
        assert_eq!((e.kind, e.target, e.subject, e.tgid), (Kind::ThreadCreate, Tid(20), Tid(21), Tgid(20)));
    }

    #[test]
    fn an_exit_is_a_process_exit_for_a_main_thread_alone() {
        assert_eq!(event(what::EXIT, &[20, 20, 9, 17]).kind, Kind::ProcessExit);
        let e = event(what::EXIT, &[21, 20, 0x300, 0]);
        assert_eq!((e.kind, e.target, e.tgid, e.killed_by()), (Kind::ThreadExit, Tid(21), Tgid(20), None));
    }

    #[test]
    fn a_death_by_signal_is_told_with_or_without_a_core() {
        for code in [11, 11 | 0x80] {
            assert_eq!(event(what::EXIT, &[20, 20, code]).killed_by(), Signal::new(11));
        }
    }

    #[test]
    fn uid_name_and_ack_messages_are_told_apart() {
        let uid = Message::Uid { tid: Tid(3), real: Uid(1000), at: Stamp(9) };
        assert_eq!(all(&datagram(what::UID, 9, &[3, 2, 1000, 0])), [uid]);
        assert_eq!(all(&datagram(what::COMM, 9, &[3, 2])), [Message::Comm { tid: Tid(3) }]);
        assert_eq!(all(&datagram(what::NONE, 9, &[22])), [Message::Ack { ack: 8, error: 22 }]);
        assert_eq!(all(&datagram(0x80, 9, &[3, 2])), []);
    }

    #[test]
    fn a_datagram_may_hold_several_messages_and_others_are_stepped_over() {
        let mut bytes = datagram(what::COMM, 0, &[1, 1]);
        let mut noop = datagram(what::COMM, 0, &[2, 2]);
        noop[4..6].copy_from_slice(&(libc::NLMSG_NOOP as u16).to_ne_bytes());
        bytes.extend(noop);
        bytes.extend(datagram(what::COMM, 0, &[3, 3]));
        assert_eq!(all(&bytes), [Message::Comm { tid: Tid(1) }, Message::Comm { tid: Tid(3) }]);
    }

    #[test]
    fn every_cut_and_every_wrong_length_is_an_error_and_not_a_panic() {
        let whole = datagram(what::EXIT, 1, &[20, 20, 0, 17]);
        for len in 1..whole.len() {
            assert_eq!(decode(&whole[..len], |_| ()), Err(Malformed), "cut to {len}");
        }
        for length in [0u32, 1, 15, 16, 35, u32::MAX] {
            let mut bytes = whole.clone();
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(decode(&bytes, |_| ()), Err(Malformed), "length {length}");
        }
    }
}
