//! Random runs of operations, made small when one fails.

use proptest::prelude::*;
use proptest::sample::select;

use crate::abi::{Command, EventMask};
use crate::driver::Call;
use crate::ids::{Instance, MonitorId, Tid, Uid};
use crate::registry::{Credentials, Limits};

use super::model::{Operation, play};

fn monitors() -> impl Strategy<Value = MonitorId> {
    // Few, so that they meet; lives share task ids.
    (0..3u64, 1..4i32).prop_map(|(life, task)| MonitorId { instance: Instance(life), tid: Tid(task) })
}

fn credentials() -> impl Strategy<Value = Credentials> {
    (0..2u32, 0..2u32)
        .prop_map(|(real, effective)| Credentials { real: Uid(real), effective: Uid(effective) })
}

/// Ordinary ids, ids that no task has or will ever have, and those that look like a monitor's.
fn pids() -> impl Strategy<Value = i32> {
    select(&[1, 2, 3, 500_000, 0, -1, i32::MAX, i32::MIN][..])
}

/// None, the known ones, unknown ones, all.
fn masks() -> impl Strategy<Value = EventMask> {
    let usual = select(&[0, 0x08, 0x40, 0x48, 0x7f, 0x100, i32::MIN, !0][..]);
    prop_oneof![usual, any::<i32>()].prop_map(EventMask)
}

fn calls() -> impl Strategy<Value = Call> {
    let signals = select(&[34, 64, 0, -1, 65, i32::MAX][..]);
    let commands = (pids(), masks(), signals);
    let commands = commands.prop_map(|(pid, events, signal)| Command { pid, events, signal });
    (commands, any::<bool>()).prop_map(|(command, register)| {
        if register { Call::Register(command) } else { Call::Deregister(command) }
    })
}

fn operations() -> impl Strategy<Value = Operation> {
    let ioctls = (any::<usize>(), monitors(), credentials(), calls())
        .prop_map(|(file, monitor, credentials, call)| Operation::Ioctl { file, monitor, credentials, call });
    prop_oneof![
        3 => Just(Operation::Open),
        20 => ioctls,
        2 => any::<usize>().prop_map(|file| Operation::Release { file }),
        1 => monitors().prop_map(Operation::MonitorEnds),
        4 => (pids(), masks()).prop_map(|(pid, events)| Operation::Event(Tid(pid), events)),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let usual = Just(Limits::default());
    let tight =
        (0..12usize, 0..6usize, 0..8usize, 0..4usize).prop_map(|(total, per_monitor, per_user, for_root)| {
            Limits { total, per_monitor, per_user, for_root }
        });
    prop_oneof![usual, tight]
}

proptest! {
    // A failing run is printed whole; a file of seeds would be good for this strategy alone.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4096) })]

    #[test]
    #[cfg_attr(miri, ignore = "the kept runs of commands do the same, and Miri is slow")]
    fn the_device_does_what_the_plain_rules_say(
        limits in limits(),
        most_open in 0..6usize,
        operations in prop::collection::vec(operations(), 0..80),
    ) {
        play(limits, most_open, &operations);
    }
}
