//! How soon the calling thread gets a processor.

use std::time::{Duration, Instant};

use nix::errno::Errno;

/// The longest time that a thread stays ahead of all others without sleeping.
const LONGEST_RUN: Duration = Duration::from_millis(50);

/// The lowest real-time priority is enough: everything ordinary comes after it.
const FIFO_PRIORITY: i32 = 1;

const NICE: i32 = -20;

/// A sleep that is shorter leaves the others no time.
const PAUSE: Duration = Duration::from_micros(20);

/// A thread that goes before all ordinary ones (`SCHED_FIFO`) for as long as it sleeps often, and among
/// the first of them (nice -20) once it has been busy for [`LONGEST_RUN`]: a flood of work delays the
/// machine's programs, but does not stop them. Where the kernel does not permit it (CAP_SYS_NICE) the
/// thread is only slower.
#[derive(Debug)]
pub struct Priority {
    woken: Instant,
    ahead: bool,
    permitted: bool,
}

impl Priority {
    /// Puts the calling thread ahead. The value belongs to that thread.
    pub fn take() -> Priority {
        let _ = set_nice(NICE);
        let permitted = set_ahead(true).is_ok();
        Priority { woken: Instant::now(), ahead: permitted, permitted }
    }

    /// To be called now and then during long work.
    pub fn busy(&mut self) {
        if self.ahead && self.woken.elapsed() > LONGEST_RUN {
            self.step_back();
        }
    }

    /// To be called before work that is known to be long.
    pub fn step_back(&mut self) {
        self.ahead = self.ahead && set_ahead(false).is_err();
    }

    /// To be called after a sleep of this length.
    pub fn slept(&mut self, length: Duration) {
        if length >= PAUSE {
            self.woken = Instant::now();
            if self.permitted && !self.ahead {
                self.ahead = set_ahead(true).is_ok();
            }
        }
    }
}

fn set_nice(nice: i32) -> Result<(), Errno> {
    // SAFETY: no pointers. On Linux the call with 0 is about the calling thread alone.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }).map(drop)
}

fn set_ahead(ahead: bool) -> Result<(), Errno> {
    let (policy, sched_priority) =
        if ahead { (libc::SCHED_FIFO, FIFO_PRIORITY) } else { (libc::SCHED_OTHER, 0) };
    let parameters = libc::sched_param { sched_priority };
    // SAFETY: the call only reads `parameters`. On Linux 0 is the calling thread alone.
    let result =
        unsafe { libc::sched_setscheduler(0, policy | libc::SCHED_RESET_ON_FORK, &raw const parameters) };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> i32 {
        // SAFETY: no pointers.
        unsafe { libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK }
    }

    #[test]
    fn long_work_ends_the_precedence_until_a_real_sleep() {
        let mut priority = Priority::take();
        if !priority.permitted {
            // Nothing may change then.
            assert_eq!(policy(), libc::SCHED_OTHER);
            return;
        }
        // As if no time passed here, whatever else this machine does.
        priority.woken = Instant::now() + Duration::from_secs(60);
        priority.busy();
        assert_eq!(policy(), libc::SCHED_FIFO);
        priority.woken = Instant::now() - 2 * LONGEST_RUN;
        priority.busy();
        assert_eq!(policy(), libc::SCHED_OTHER);
        priority.slept(Duration::ZERO);
        assert_eq!(policy(), libc::SCHED_OTHER);
        let then = Instant::now();
        priority.slept(PAUSE);
        assert_eq!(policy(), libc::SCHED_FIFO);
        assert!(priority.woken >= then, "its run begins anew");
    }
}
