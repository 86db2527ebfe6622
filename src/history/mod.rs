//! What processes did, from first to last: a stream of [records](crate::records) as a tree of lives.
//!
//! A process is one life of one pid. What the stream does not tell stays unknown: a birth, a parent, a program,
//! an end that nobody reported. Nothing is guessed to fill a gap.

mod builder;
mod fold;
mod life;
#[cfg(test)]
mod tests;

pub use builder::Builder;
pub use fold::{Rest, Row, rows};
pub use life::{Birth, Code, End, Exit, Life, Run};

use std::ops::RangeInclusive;

use jiff::Timestamp;

use crate::records::Kind;

/// Events that are missing in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When that was noticed, in nanoseconds of CLOCK_MONOTONIC.
    pub at: u64,
    /// How many. `None`: nobody knows.
    pub count: Option<u64>,
    /// What they were.
    pub kinds: Vec<Kind>,
}

/// All that a stream told. Processes are numbered from 0, in the order in which they became known.
#[derive(Debug, Default)]
pub struct History {
    lives: Vec<Life>,
    children: Vec<Vec<usize>>,
    roots: Vec<usize>,
    losses: Vec<Loss>,
    clock: Option<(u64, Timestamp)>,
    time: Option<(u64, u64)>,
}

impl History {
    /// The processes.
    pub fn lives(&self) -> &[Life] {
        &self.lives
    }

    /// The process of this number.
    pub fn life(&self, index: usize) -> &Life {
        &self.lives[index]
    }

    /// The children of a process, in the order in which they became known.
    pub fn children(&self, index: usize) -> &[usize] {
        &self.children[index]
    }

    /// Those without a parent that is known.
    pub fn roots(&self) -> &[usize] {
        &self.roots
    }

    /// What is missing.
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// The first record's time, by CLOCK_MONOTONIC and by the wall clock.
    pub fn clock(&self) -> Option<(u64, Timestamp)> {
        self.clock
    }

    /// From the first record to the last, in nanoseconds of CLOCK_MONOTONIC. `None`: there are no records.
    pub fn time(&self) -> Option<RangeInclusive<u64>> {
        self.time.map(|(first, last)| first..=last)
    }

    /// All processes, each after its parent, children in order.
    pub fn in_order(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.lives.len());
        let mut stack: Vec<usize> = self.roots.iter().rev().copied().collect();
        while let Some(index) = stack.pop() {
            order.push(index);
            stack.extend(self.children[index].iter().rev());
        }
        order
    }
}
