//! The choices of one run: from a seed, or read again from a tape, of which parts can be cut out.

/// Choices, one after another. What a tape does not hold is 0, the calmest choice.
#[derive(Clone, Debug)]
pub struct Tape {
    fresh: Option<fastrand::Rng>,
    choices: Vec<u32>,
    at: usize,
}

impl Tape {
    /// New choices.
    pub fn from_seed(seed: u64) -> Tape {
        Tape { fresh: Some(fastrand::Rng::with_seed(seed)), choices: Vec::new(), at: 0 }
    }

    /// The choices of an earlier run, or what is left of them.
    pub fn from_choices(choices: Vec<u32>) -> Tape {
        Tape { fresh: None, choices, at: 0 }
    }

    /// All choices that were made so far.
    pub fn into_choices(mut self) -> Vec<u32> {
        self.choices.truncate(self.at);
        self.choices
    }

    /// One of `among` numbers, from 0 on.
    pub fn choose(&mut self, among: usize) -> usize {
        if let Some(fresh) = &mut self.fresh {
            self.choices.push(fresh.u32(..));
        }
        let choice = self.choices.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        choice as usize % among.max(1)
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.choose(times) + 1 == times
    }
}
