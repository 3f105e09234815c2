//! Candidates that take turns, so that all share what else the machine does.

use std::time::{Duration, Instant};

use crate::figures::{Candidate, Figures, Scenario};

/// One run of the benchmark.
pub(crate) struct Bench {
    pub(crate) effort: Effort,
    pub(crate) figures: Figures,
    /// What could not be measured, and why.
    pub(crate) notes: Vec<String>,
    /// Of peers that no lock file names.
    pub(crate) versions: Vec<(String, String)>,
    only: Vec<String>,
    pub(crate) started: Instant,
}

/// How long it measures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// About how long one candidate measures one figure in one round.
    pub(crate) turn: Duration,
}

impl Bench {
    pub(crate) fn new(effort: Effort, only: Vec<String>) -> Self {
        Self {
            effort,
            figures: Figures::default(),
            notes: Vec::new(),
            versions: Vec::new(),
            only,
            started: Instant::now(),
        }
    }

    /// Whether a group of scenarios is among those that were asked for.
    pub(crate) fn wants(&self, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| group.contains(text))
    }

    /// As above, and says that it is next.
    pub(crate) fn begins(&self, group: &str) -> bool {
        let is_wanted = self.wants(group);
        if is_wanted {
            eprintln!("{:4.0} s: {group}", self.started.elapsed().as_secs_f64());
        }
        is_wanted
    }

    /// Gives each candidate its turn in every round: A B A B …
    pub(crate) async fn interleave<C>(
        &mut self,
        candidates: &[C],
        turn: impl AsyncFn(C) -> Vec<(Scenario, f64)>,
    ) where
        C: Copy + Into<Candidate>,
    {
        for _ in 0..self.effort.rounds {
            for &candidate in candidates {
                for (scenario, sample) in turn(candidate).await {
                    self.figures.add(scenario, candidate.into(), sample);
                }
            }
        }
    }
}
