//! Ioctls: the 12-byte argument, the command's number, and what the device does with a run of them.

use nix::errno::Errno;

use crate::abi::{COMMAND_SIZE, Command, DEREGISTER, EventMask, REGISTER};
use crate::driver::Call;
use crate::ids::{Instance, MonitorId, Tid, Uid};
use crate::registry::{Credentials, Limits};

use super::model::{Operation, play};

/// What happens, to which file, whose life, whose task; the command; its argument. Native byte order.
const RECORD: usize = 4 + 4 + COMMAND_SIZE;

/// Any bytes as three limits and a run of operations.
pub fn command(bytes: &[u8]) {
    let Some((&[total, per_monitor, most_open], records)) = bytes.split_first_chunk() else { return };
    // The upper bits are for the limits that depend on the user; 0: none.
    let (for_root, per_user) = (usize::from(total >> 6), usize::from(per_monitor >> 3));
    let per_user = if per_user == 0 { usize::MAX } else { per_user };
    let (total, per_monitor) = (usize::from(total % 16), usize::from(per_monitor % 8));
    let operations = Vec::from_iter(records.chunks_exact(RECORD).filter_map(operation));
    play(Limits { total, per_monitor, per_user, for_root }, usize::from(most_open % 8), &operations);
}

fn operation(record: &[u8]) -> Option<Operation> {
    let [what, file, life, task, rest @ ..] = record else { unreachable!("records have a length") };
    let (word, argument) = rest.split_at(size_of::<u32>());
    let word = u32::from_ne_bytes(word.try_into().expect("four bytes"));
    let argument = argument.try_into().expect("twelve bytes");
    let Command { pid, events, signal } = Command::from_bytes(argument);
    let file = usize::from(*file);
    let monitor = MonitorId { instance: Instance(u64::from(life % 4)), tid: Tid(i32::from(task % 4)) };
    Some(match what {
        0 => Operation::Open,
        1 => Operation::Release { file },
        2 => Operation::MonitorEnds(monitor),
        3 => Operation::Event(Tid(pid), events),
        _ => {
            let credentials = Credentials { real: Uid(u32::from(*life)), effective: Uid(signal as u32) };
            Operation::Ioctl { file, monitor, credentials, call: call(word, argument)? }
        }
    })
}

fn call(word: u32, argument: [u8; COMMAND_SIZE]) -> Option<Call> {
    let command = Command::from_bytes(argument);
    let Command { pid, events: EventMask(events), signal } = command;
    let again = [pid, events, signal].map(i32::to_ne_bytes);
    assert_eq!(again.as_flattened(), argument, "nothing is lost");
    let expected = match word {
        REGISTER => Ok(Call::Register(command)),
        DEREGISTER => Ok(Call::Deregister(command)),
        _ => Err(Errno::EINVAL),
    };
    assert_eq!(Call::decode(word, Ok(argument)), expected);
    assert_eq!(Call::decode(word, Err(Errno::EFAULT)), Err(Errno::EFAULT), "the argument comes first");
    expected.ok()
}
