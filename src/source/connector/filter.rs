//! The socket filter that keeps the events of strangers from waking us: a classic BPF program that
//! the kernel runs on each event before it queues it.
//!
//! Classic, not extended, BPF: it needs no privilege beyond the socket's and works in every kernel.

use crate::ids::Tid;
use crate::sys::netlink::FilterInsn;

use super::decode::{EVENT, EVENT_HEADER, what};

/// More task ids than this are not put into a filter: the kernel takes 4096 instructions, and three
/// searches of about 765 of them fit. Every event is let through then.
pub const MOST_TASKS: usize = 512;

/// Ids in a leaf of the search, which is linear there.
const LEAF: usize = 8;

const WHAT: u32 = EVENT as u32;
const DATA: u32 = (EVENT + EVENT_HEADER) as u32;
const FORK_CHILD: u32 = DATA + 8;
const FORK_CHILD_TGID: u32 = DATA + 12;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const JUMP_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const JUMP_GREATER: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// The program that lets through answers to our requests, name changes of `own`, and the events in
/// which one of `tasks` acts or is born. Without `tasks`: all events but other tasks' name changes.
pub fn program(own: Tid, tasks: Option<&[Tid]>) -> Vec<FilterInsn> {
    let mut code = vec![
        insn(LOAD, WHAT),
        // An answer, or a name change that is ours?
        branch(JUMP_EQUAL, what::NONE, 0, 1),
        accept(),
        branch(JUMP_EQUAL, loaded(what::COMM), 0, 4),
        insn(LOAD, DATA),
        branch(JUMP_EQUAL, loaded(own.0 as u32), 1, 0),
        drop_it(),
        accept(),
    ];
    match tasks {
        None => code.push(accept()),
        Some(tasks) => {
            let mut words: Vec<u32> = tasks.iter().map(|tid| loaded(tid.0 as u32)).collect();
            words.sort_unstable();
            words.dedup();
            let search = search(&words);
            let fork_len = 2 * (search.len() + 1) + 2;
            code.push(branch(JUMP_EQUAL, loaded(what::FORK), 1, 0));
            code.push(insn(JUMP, fork_len as u32));
            // A fork: its parent, its child, or, of a new thread, the process.
            code.push(insn(LOAD, DATA));
            code.extend_from_slice(&search);
            code.push(insn(LOAD, FORK_CHILD));
            code.extend_from_slice(&search);
            code.push(insn(LOAD, FORK_CHILD_TGID));
            code.push(insn(JUMP, 1));
            // Anything else: the task that acts. The search is shared.
            code.push(insn(LOAD, DATA));
            code.extend_from_slice(&search);
            code.push(drop_it());
        }
    }
    code
}

/// The program that lets everything through, or nothing.
pub fn everything(through: bool) -> [FilterInsn; 1] {
    [if through { accept() } else { drop_it() }]
}

/// Instructions that accept the message if the accumulator is one of the sorted `words`, and else
/// run off their end.
fn search(words: &[u32]) -> Vec<FilterInsn> {
    if words.len() <= LEAF {
        let mut code: Vec<_> = (0u8..)
            .zip(words)
            .map(|(at, word)| {
                let left = words.len() as u8 - at - 1;
                branch(JUMP_EQUAL, *word, left, u8::from(left == 0))
            })
            .collect();
        if !code.is_empty() {
            code.push(accept());
        }
        return code;
    }
    let (low, high) = words.split_at(words.len() / 2);
    let (in_low, in_high) = (search(low), search(high));
    let mut code = vec![branch(JUMP_GREATER, low[low.len() - 1], 0, 1), insn(JUMP, in_low.len() as u32 + 1)];
    code.extend(in_low);
    code.push(insn(JUMP, in_high.len() as u32));
    code.extend(in_high);
    code
}

/// A word of the message as the filter loads it: in network order.
fn loaded(word: u32) -> u32 {
    u32::from_be_bytes(word.to_ne_bytes())
}

fn insn(code: u32, k: u32) -> FilterInsn {
    FilterInsn { code: code as u16, jt: 0, jf: 0, k }
}

fn branch(code: u32, k: u32, jt: u8, jf: u8) -> FilterInsn {
    FilterInsn { code: code as u16, jt, jf, k }
}

fn accept() -> FilterInsn {
    insn(RETURN, u32::MAX)
}

fn drop_it() -> FilterInsn {
    insn(RETURN, 0)
}

#[cfg(test)]
mod tests {
    use super::super::decode::tests::datagram;
    use super::*;

    /// Runs a program as the kernel would.
    fn accepts(program: &[FilterInsn], message: &[u8]) -> bool {
        let (mut pc, mut accumulator) = (0, 0);
        loop {
            let FilterInsn { code, jt, jf, k } = program[pc];
            pc += 1;
            match u32::from(code) {
                LOAD => {
                    let at = k as usize;
                    accumulator = u32::from_be_bytes(message[at..at + 4].try_into().expect("4 bytes"));
                }
                JUMP_EQUAL => pc += usize::from(if accumulator == k { jt } else { jf }),
                JUMP_GREATER => pc += usize::from(if accumulator > k { jt } else { jf }),
                JUMP => pc += k as usize,
                RETURN => return k != 0,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn events_pass_exactly_when_a_watched_task_acts_or_is_born() {
        for count in [0, 1, 8, 9, 17, 100, MOST_TASKS as i32] {
            let watched: Vec<Tid> = (0..count).map(|n| Tid(300 + 7 * n)).collect();
            let program = program(Tid(5), Some(&watched));
            assert!(program.len() <= 4096);
            for tid in 290..300 + 7 * count + 10 {
                let hit = watched.contains(&Tid(tid));
                let tid = tid as u32;
                for what in [what::EXIT, what::EXEC, what::UID] {
                    assert_eq!(accepts(&program, &datagram(what, 0, &[tid, tid])), hit, "{count} {tid}");
                }
                for fork in [[tid, tid, 1, 1], [1, 1, tid, 2], [1, 1, 2, tid]] {
                    assert_eq!(accepts(&program, &datagram(what::FORK, 0, &fork)), hit, "{count} {fork:?}");
                }
                assert!(!accepts(&program, &datagram(what::FORK, 0, &[1, tid, 2, 3])));
            }
        }
    }

    #[test]
    fn answers_and_our_own_heartbeat_always_pass() {
        for program in [program(Tid(5), Some(&[])), program(Tid(5), None)] {
            assert!(accepts(&program, &datagram(what::NONE, 0, &[0])));
            assert!(accepts(&program, &datagram(what::COMM, 0, &[5, 5])));
            assert!(!accepts(&program, &datagram(what::COMM, 0, &[6, 5])));
        }
        assert!(accepts(&program(Tid(5), None), &datagram(what::EXIT, 0, &[77, 77])));
        assert!(!accepts(&program(Tid(5), Some(&[])), &datagram(what::EXIT, 0, &[77, 77])));
    }
}
