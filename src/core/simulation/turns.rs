//! What has many registrations ends in turns, and counts for nothing from its end on.

use std::sync::Arc;

use crate::abi::{Command, EventMask};
use crate::event::{Event, Kind};
use crate::ids::{Instance, MonitorId, Stamp, Tgid, Tid, Uid};
use crate::node::Caller;
use crate::registry::{Credentials, Key, Registry};

use super::super::sweep::SLICE;
use super::super::{Core, Driver, Observer, Options};
use super::tape::Tape;
use super::toys::Toy;
use super::world::{INIT, World};

const MANY: i32 = 10 * SLICE as i32;
const EXIT: EventMask = EventMask::PROCESS_EXIT;
const ROOT: Credentials = Credentials { real: Uid::ROOT, effective: Uid::ROOT };

#[test]
fn a_released_files_registrations_go_in_turns() {
    let toy = Toy::new(World::new(Tape::from_choices(Vec::new()), 0));
    let registry = Arc::new(Registry::default());
    let driver = Driver::new(registry.clone(), 10);
    let (node, source, observer) = (toy.clone(), toy.clone(), Observer::silent());
    let mut core = Core::new(toy.clone(), node, source, driver, registry, observer, Options::default());
    let caller = Caller { tid: Tid(INIT), uid: Uid::ROOT };
    let monitor = core.monitors.enrol(caller).expect("it is there");
    assert_eq!(monitor, MonitorId { instance: Instance(1), tid: Tid(INIT) });
    let file = core.driver.open().expect("open");
    for pid in 1..=MANY {
        let command = Command { pid, events: EXIT, signal: 34 };
        core.driver.register(file, monitor, ROOT, command).expect("there is room");
        core.monitors.hold(monitor);
        core.watch(Key { monitor, target: Tid(pid) });
    }
    let left = |core: &Core<Toy, Toy, Toy>| core.registry.len();
    assert_eq!(left(&core), MANY as usize);

    core.release(file);
    assert_eq!(left(&core), MANY as usize, "nobody waits for that");
    let exit = |target| {
        let (kind, uid, status) = (Kind::ProcessExit, Some(Uid::ROOT), None);
        Event {
            kind,
            target: Tid(target),
            subject: Tid(target),
            tgid: Tgid(target),
            uid,
            status,
            at: Stamp(0),
        }
    };
    // Of which the model would say that it is owed to nobody.
    (1..=MANY).for_each(|target| core.tell(&exit(target)));
    assert_eq!(toy.world.borrow().fault, None);
    core.sweep_some();
    assert_eq!(left(&core), MANY as usize - SLICE);
    core.work().expect("it works");
    assert_eq!(left(&core), 0);
    assert_eq!(toy.world.borrow().source.watched.len(), 0);
}
