//! BPF programs in the kernel, and what their runs take.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use aya::programs::{ProgramInfo, loaded_programs};
use aya::sys::{Stats, enable_stats};

fn all() -> impl Iterator<Item = ProgramInfo> {
    // One that is gone meanwhile is an error.
    loaded_programs().flatten()
}

/// Those that are loaded now.
pub fn ids() -> HashSet<u32> {
    all().map(|program| program.id()).collect()
}

/// The kernel counts runs while this lives.
pub struct Counting(#[expect(dead_code, reason = "it is closed in the end")] OwnedFd);

impl Counting {
    pub fn start() -> Counting {
        Counting(enable_stats(Stats::RunTime).expect("count the runs of BPF programs: run this as root"))
    }
}

/// Runs of programs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Runs {
    pub count: u64,
    pub nanoseconds: u64,
}

impl Runs {
    /// All that were counted of those that are not among `others`.
    pub fn of_new(others: &HashSet<u32>) -> Runs {
        all().filter(|program| !others.contains(&program.id())).fold(Runs::default(), |sum, program| Runs {
            count: sum.count + program.run_count(),
            nanoseconds: sum.nanoseconds + program.run_time().as_nanos() as u64,
        })
    }

    pub fn since(self, earlier: Runs) -> Runs {
        Runs { count: self.count - earlier.count, nanoseconds: self.nanoseconds - earlier.nanoseconds }
    }

    pub fn each(self) -> Option<f64> {
        (self.count > 0).then(|| self.nanoseconds as f64 / self.count as f64)
    }
}

/// How many of the programs that are not among `others` have run.
pub fn that_ran(others: &HashSet<u32>) -> usize {
    all().filter(|program| !others.contains(&program.id()) && program.run_count() > 0).count()
}
