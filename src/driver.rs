//! The rules of the 2004 driver's open, ioctl and release (docs/behaviour.md, facts 1-34), in terms of the registry.
//! Rules R1 to R4 (DIFFERENCES.md) mend its defects.

use std::collections::HashSet;
use std::sync::Arc;

use nix::errno::Errno;

use crate::abi::{COMMAND_SIZE, Command, DEREGISTER, EventMask, REGISTER};
use crate::ids::{HandleId, MonitorId, Tid};
use crate::registry::{Credentials, Deregistered, Key, Keys, Registered, Registry};

/// An ioctl that the device knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Add events of a target.
    Register(Command),
    /// Take events of a target away.
    Deregister(Command),
}

impl Call {
    /// Decodes an ioctl. The argument is fetched first, whatever the command: EFAULT if that failed;
    /// then EINVAL for a command that is not the device's (docs/behaviour.md, facts 9, 12).
    pub fn decode(command: u32, argument: Result<[u8; COMMAND_SIZE], Errno>) -> Result<Call, Errno> {
        let argument = Command::from_bytes(argument?);
        match command {
            REGISTER => Ok(Call::Register(argument)),
            DEREGISTER => Ok(Call::Deregister(argument)),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// The device, as its clients know it.
#[derive(Debug)]
pub struct Driver {
    registry: Arc<Registry>,
    open: HashSet<HandleId>,
    last: u64,
    most_open: usize,
}

impl Driver {
    /// A device that nobody has open; at most `most_open` files may be.
    pub fn new(registry: Arc<Registry>, most_open: usize) -> Driver {
        Driver { registry, open: HashSet::new(), last: 0, most_open }
    }

    /// `open(2)`: every open is a new, independent one (docs/behaviour.md, fact 4). ENOMEM: too many are open.
    pub fn open(&mut self) -> Result<HandleId, Errno> {
        if self.open.len() >= self.most_open {
            return Err(Errno::ENOMEM);
        }
        self.last += 1;
        let handle = HandleId(self.last);
        self.open.insert(handle);
        Ok(handle)
    }

    /// REGISTER: nothing of it is validated (docs/behaviour.md, facts 16-18). ENOMEM: the table is full.
    pub fn register(
        &self,
        handle: HandleId,
        monitor: MonitorId,
        credentials: Credentials,
        command: Command,
    ) -> Result<Registered, Errno> {
        let key = Key { monitor, target: Tid(command.pid) };
        self.registry
            .register(key, command.events, command.signal, credentials, handle)
            .map_err(|_| Errno::ENOMEM)
    }

    /// DEREGISTER: through whichever open file (docs/behaviour.md, fact 15). EINVAL: the caller has no registration for
    /// that pid (docs/behaviour.md, fact 19).
    pub fn deregister(&self, key: Key, events: EventMask) -> Result<Deregistered, Errno> {
        self.registry.deregister(key, events).ok_or(Errno::EINVAL)
    }

    /// The last descriptor of an open file is gone, and with it the registrations that
    /// [`leave`](Registry::leave) tells of, each when it is asked.
    pub fn release(&mut self, handle: HandleId) -> Keys {
        self.open.remove(&handle);
        self.registry.release(handle)
    }

    /// Number of open files.
    pub fn open_files(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Instance, Uid};

    const ROOT: Credentials = Credentials { real: Uid::ROOT, effective: Uid::ROOT };
    const FORK: EventMask = EventMask::PROCESS_FORK;
    const EXIT: EventMask = EventMask::PROCESS_EXIT;

    fn monitor(tid: i32) -> MonitorId {
        MonitorId { instance: Instance(1), tid: Tid(tid) }
    }

    fn command(pid: i32, events: EventMask) -> Command {
        Command { pid, events, signal: 34 }
    }

    fn key(monitor: MonitorId, target: i32) -> Key {
        Key { monitor, target: Tid(target) }
    }

    fn device() -> (Driver, Arc<Registry>) {
        let registry = Arc::new(Registry::default());
        (Driver::new(registry.clone(), 16), registry)
    }

    fn wanted(registry: &Registry, target: i32, events: EventMask) -> Vec<(i32, i32)> {
        let mut found = Vec::new();
        registry.for_each_match(Tid(target), events, |r| found.push((r.monitor.tid.0, r.signal)));
        found
    }

    /// The monitors whose registrations go with an open file.
    fn released(device: &mut Driver, registry: &Registry, handle: HandleId) -> Vec<i32> {
        let gone = device.release(handle).filter(|key| registry.leave(*key, handle));
        let mut monitors: Vec<i32> = gone.map(|key| key.monitor.tid.0).collect();
        monitors.sort_unstable();
        monitors
    }

    #[test]
    fn a_bad_pointer_comes_before_a_bad_command() {
        assert_eq!(Call::decode(0, Err(Errno::EFAULT)), Err(Errno::EFAULT));
        assert_eq!(Call::decode(REGISTER, Err(Errno::EFAULT)), Err(Errno::EFAULT));
        for command in [0, 0x5401, REGISTER | 0x8000_0000, REGISTER + (4 << 16), REGISTER + 2] {
            assert_eq!(Call::decode(command, Ok([0; 12])), Err(Errno::EINVAL), "{command:#x}");
        }
        let zero = Command::from_bytes([0; 12]);
        assert_eq!(Call::decode(DEREGISTER, Ok([0; 12])), Ok(Call::Deregister(zero)));
    }

    #[test]
    fn registering_again_adds_events_and_replaces_the_signal() {
        let (mut device, registry) = device();
        let handle = device.open().expect("open");
        assert_eq!(device.register(handle, monitor(1), ROOT, command(9, FORK)), Ok(Registered::New));
        let again = Command { signal: 40, ..command(9, EXIT) };
        assert_eq!(device.register(handle, monitor(1), ROOT, again), Ok(Registered::Changed));
        assert_eq!(wanted(&registry, 9, FORK), [(1, 40)]);
        assert_eq!(wanted(&registry, 9, EXIT), [(1, 40)]);
        assert_eq!(registry.len(), 1);
    }

    #[test]
    fn deregistering_takes_bits_and_then_the_registration() {
        let (mut device, registry) = device();
        let handle = device.open().expect("open");
        assert_eq!(device.deregister(key(monitor(1), 9), FORK), Err(Errno::EINVAL));
        device.register(handle, monitor(1), ROOT, command(9, FORK | EventMask(0x4000))).expect("register");
        assert_eq!(device.deregister(key(monitor(2), 9), FORK), Err(Errno::EINVAL));
        assert_eq!(device.deregister(key(monitor(1), 9), FORK), Ok(Deregistered::Kept));
        assert_eq!(device.deregister(key(monitor(1), 9), EventMask(0)), Ok(Deregistered::Kept));
        assert_eq!(device.deregister(key(monitor(1), 9), !EventMask(0)), Ok(Deregistered::Removed));
        assert_eq!(device.deregister(key(monitor(1), 9), FORK), Err(Errno::EINVAL));
        assert!(registry.is_empty());
    }

    #[test]
    fn an_inert_registration_goes_with_any_deregister() {
        let (mut device, _) = device();
        let handle = device.open().expect("open");
        device.register(handle, monitor(1), ROOT, command(9, EventMask(0))).expect("register");
        assert_eq!(device.deregister(key(monitor(1), 9), EventMask(0)), Ok(Deregistered::Removed));
    }

    #[test]
    fn a_registration_ends_with_the_last_open_file_it_was_made_through() {
        let (mut device, registry) = device();
        let (first, second) = (device.open().expect("open"), device.open().expect("open"));
        device.register(first, monitor(1), ROOT, command(9, FORK)).expect("register");
        device.register(second, monitor(1), ROOT, command(9, EXIT)).expect("register");
        device.register(second, monitor(2), ROOT, command(9, EXIT)).expect("register");
        assert_eq!(released(&mut device, &registry, first), [0; 0]);
        assert_eq!(released(&mut device, &registry, second), [1, 2]);
        assert!(registry.is_empty());
        assert_eq!(released(&mut device, &registry, second), [0; 0]);
    }

    #[test]
    fn another_life_of_the_same_number_shares_nothing() {
        let (mut device, registry) = device();
        let handle = device.open().expect("open");
        device.register(handle, monitor(1), ROOT, command(9, FORK)).expect("register");
        let reborn = MonitorId { instance: Instance(2), tid: Tid(1) };
        assert_eq!(device.deregister(key(reborn, 9), FORK), Err(Errno::EINVAL));
        device.register(handle, reborn, ROOT, command(9, EXIT)).expect("register");
        assert_eq!(registry.take_keys_of(monitor(1)).len(), 1);
        assert!(registry.remove(key(monitor(1), 9)));
        assert_eq!(wanted(&registry, 9, FORK), []);
        assert_eq!(wanted(&registry, 9, EXIT), [(1, 34)]);
    }

    #[test]
    fn limits_are_enomem() {
        let registry = Arc::new(Registry::new(crate::registry::Limits {
            total: 2,
            per_monitor: 1,
            ..Default::default()
        }));
        let mut device = Driver::new(registry, 1);
        let handle = device.open().expect("open");
        assert_eq!(device.open(), Err(Errno::ENOMEM));
        device.register(handle, monitor(1), ROOT, command(1, FORK)).expect("register");
        assert_eq!(device.register(handle, monitor(1), ROOT, command(2, FORK)), Err(Errno::ENOMEM));
        device.register(handle, monitor(1), ROOT, command(1, EXIT)).expect("no new one");
        device.register(handle, monitor(2), ROOT, command(1, EXIT)).expect("register");
        assert_eq!(device.register(handle, monitor(3), ROOT, command(1, EXIT)), Err(Errno::ENOMEM));
    }
}
