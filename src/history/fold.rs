//! Which processes are shown, where not all can be.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::{History, Life};

/// One line of a picture: its depth below the roots, and what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// A process.
    Process {
        /// 0 is a root.
        depth: usize,
        /// Its number.
        index: usize,
    },
    /// Processes that are not shown one by one.
    Rest {
        /// 0: they are roots.
        depth: usize,
        /// What they are.
        rest: Rest,
    },
}

/// Siblings that are not shown, and what descends from them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// The siblings' numbers, in order.
    pub siblings: Vec<usize>,
    /// The names of their programs, the most frequent first, with how many have it. `None`: those whose program is not
    /// known.
    pub names: Vec<(Option<Vec<u8>>, usize)>,
    /// How many processes they are with their descendants.
    pub all: usize,
    /// How many of those have failed.
    pub failed: usize,
    /// Their time on processors, as far as it is known, in nanoseconds.
    pub cpu: Option<u64>,
    /// From the first that is known of any, to the last, in nanoseconds of CLOCK_MONOTONIC.
    pub time: (u64, u64),
}

impl Row {
    /// How deep it lies below the roots, which have 0.
    pub fn depth(&self) -> usize {
        match self {
            Row::Process { depth, .. } | Row::Rest { depth, .. } => *depth,
        }
    }
}

/// What a process and its descendants come to.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    all: usize,
    failed: usize,
    cpu: Option<u64>,
    time: Option<(u64, u64)>,
}

impl Sum {
    fn of(life: &Life) -> Sum {
        Sum {
            all: 1,
            failed: life.has_failed().into(),
            cpu: life.exit().and_then(|exit| exit.cpu),
            time: Some((life.first(), life.last)),
        }
    }

    fn add(&mut self, other: Sum) {
        self.all += other.all;
        self.failed += other.failed;
        self.cpu = match (self.cpu, other.cpu) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            (one, other) => one.or(other),
        };
        self.time = match (self.time, other.time) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
    }
}

/// The rows of a picture that shows about so many processes at most (`None`: all of them), each after its parent.
///
/// Wide branches are folded first: a sibling that comes later counts as much as a generation. Before its siblings
/// comes who has failed, or has a descendant that has; then who lived longer.
pub fn rows(history: &History, most: Option<usize>) -> Vec<Row> {
    let order = history.in_order();
    let mut sums: Vec<Sum> = history.lives.iter().map(Sum::of).collect();
    for index in order.iter().rev() {
        if let Some(parent) = history.lives[*index].parent {
            let sum = sums[*index];
            sums[parent].add(sum);
        }
    }
    let shown = match most {
        Some(most) if most < order.len() => choose(history, &sums, most),
        _ => vec![true; order.len()],
    };
    let mut rows = Vec::new();
    // A process, or with `None` the rest of its siblings.
    let mut stack = Vec::new();
    push(&mut stack, &history.roots, 0, &shown, &sums, history);
    while let Some(row) = stack.pop() {
        if let Row::Process { depth, index } = row {
            push(&mut stack, &history.children[index], depth + 1, &shown, &sums, history);
        }
        rows.push(row);
    }
    rows
}

/// Puts siblings on the stack, the last first.
fn push(
    stack: &mut Vec<Row>,
    siblings: &[usize],
    depth: usize,
    shown: &[bool],
    sums: &[Sum],
    history: &History,
) {
    let hidden: Vec<usize> = siblings.iter().filter(|index| !shown[**index]).copied().collect();
    if !hidden.is_empty() {
        stack.push(Row::Rest { depth, rest: rest(hidden, sums, history) });
    }
    let shown = siblings.iter().rev().filter(|index| shown[**index]);
    stack.extend(shown.map(|index| Row::Process { depth, index: *index }));
}

fn rest(siblings: Vec<usize>, sums: &[Sum], history: &History) -> Rest {
    let mut sum = Sum::default();
    let mut names: HashMap<Option<&[u8]>, usize> = HashMap::new();
    for index in &siblings {
        sum.add(sums[*index]);
        let name = history.lives[*index].program().and_then(|program| program.name());
        *names.entry(name).or_default() += 1;
    }
    let mut names: Vec<_> =
        names.into_iter().map(|(name, count)| (name.map(<[u8]>::to_vec), count)).collect();
    names.sort_unstable_by(|(a, many), (b, more)| more.cmp(many).then_with(|| a.cmp(b)));
    let Sum { all, failed, cpu, time } = sum;
    Rest { siblings, names, all, failed, cpu, time: time.unwrap_or_default() }
}

/// Those that are shown.
fn choose(history: &History, sums: &[Sum], most: usize) -> Vec<bool> {
    let mut shown = vec![false; history.lives.len()];
    let mut next = BinaryHeap::new();
    let add = |next: &mut BinaryHeap<_>, siblings: &[usize], cost: usize| {
        let mut ranked = siblings.to_vec();
        let life = |index: usize| &history.lives[index];
        ranked
            .sort_by_key(|index| (sums[*index].failed == 0, Reverse(life(*index).least_duration()), *index));
        next.extend(ranked.into_iter().enumerate().map(|(rank, index)| Reverse((cost + 1 + rank, index))));
    };
    add(&mut next, &history.roots, 0);
    for _ in 0..most {
        let Some(Reverse((cost, index))) = next.pop() else { break };
        shown[index] = true;
        add(&mut next, &history.children[index], cost);
    }
    // What stands for a single process takes as much room as that.
    for siblings in history.children.iter().chain([&history.roots]) {
        let is_reached = siblings
            .first()
            .is_some_and(|index| history.lives[*index].parent.is_none_or(|parent| shown[parent]));
        let mut hidden = siblings.iter().filter(|index| !shown[**index]);
        if let (true, Some(index), None) = (is_reached, hidden.next(), hidden.next())
            && history.children[*index].is_empty()
        {
            shown[*index] = true;
        }
    }
    shown
}
