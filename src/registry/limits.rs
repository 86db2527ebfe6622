//! How many registrations there may be.

use crate::ids::Uid;
use crate::memory;

/// How many registrations there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// In all.
    pub total: usize,
    /// Of one monitor task.
    pub per_monitor: usize,
    /// Of one user, by the real uid; root has no such limit.
    pub per_user: usize,
    /// Of all, these are kept for root.
    pub for_root: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::of(1 << 20)
    }
}

impl Limits {
    /// So many in all; nobody but root has them all.
    pub fn of(total: usize) -> Limits {
        Limits { total, per_monitor: total.min(1 << 18), per_user: total.div_ceil(2), for_root: total / 16 }
    }

    /// As many as usual, or as may take half of so many bytes.
    pub fn within(memory: u64) -> Limits {
        let fitting = usize::try_from(memory / 2 / BYTES_EACH as u64).unwrap_or(usize::MAX);
        Limits::of(Limits::default().total.min(fitting))
    }
}

impl Limits {
    /// Whether there may be one more than so many, for a user with this real uid.
    pub(super) fn allow(
        &self,
        all: usize,
        of_monitor: impl FnOnce() -> usize,
        of_user: impl FnOnce() -> usize,
        real_uid: Uid,
    ) -> Result<(), Full> {
        let Limits { total, per_monitor, per_user, for_root } = *self;
        let (total, per_user) = match real_uid {
            Uid::ROOT => (total, usize::MAX),
            _ => (total.saturating_sub(for_root), per_user),
        };
        if all >= total || of_monitor() >= per_monitor || of_user() >= per_user {
            return Err(Full);
        }
        // A table that is full doubles, and the old half goes afterwards.
        let looks = all % LOOK_EVERY == LOOK_EVERY - 1;
        if looks && !memory::can_be_had((all + LOOK_EVERY) * GROWTH) { Err(Full) } else { Ok(()) }
    }
}

/// What a registration takes at most, of a target and a monitor of its own: entries in all tables, and two
/// pidfds in the kernel, which its memory cgroup counts.
const BYTES_EACH: usize = 2048;

/// What the tables may ask for, of each registration that they have, before one more is in them.
const GROWTH: usize = 512;

/// How many new registrations come between two looks whether there is memory for more.
const LOOK_EVERY: usize = 256;

/// The table would grow past its [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;
