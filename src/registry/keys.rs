//! Names of many registrations, one after another.

use std::collections::{BTreeSet, btree_set};

use crate::ids::{MonitorId, Tid};

use super::Key;

/// Names of registrations, monitor by monitor.
#[derive(Debug, Default)]
pub struct Keys {
    left: Vec<(MonitorId, btree_set::IntoIter<Tid>)>,
}

impl FromIterator<(MonitorId, BTreeSet<Tid>)> for Keys {
    fn from_iter<I: IntoIterator<Item = (MonitorId, BTreeSet<Tid>)>>(monitors: I) -> Keys {
        Keys { left: monitors.into_iter().map(|(monitor, targets)| (monitor, targets.into_iter())).collect() }
    }
}

impl Iterator for Keys {
    type Item = Key;

    fn next(&mut self) -> Option<Key> {
        loop {
            let (monitor, targets) = self.left.last_mut()?;
            if let Some(target) = targets.next() {
                return Some(Key { monitor: *monitor, target });
            }
            self.left.pop();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.left.iter().map(|(_, targets)| targets.len()).sum();
        (count, Some(count))
    }
}

impl ExactSizeIterator for Keys {}
