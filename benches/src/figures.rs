//! What was measured: samples by scenario and candidate.

use serde::{Deserialize, Serialize};

/// What takes part in a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// notify_json.
    Ours,
    /// What one would use instead.
    Peer,
    /// What nothing that does the work can reach, such as a plain INSERT.
    Limit,
}

impl Candidate {
    pub(crate) fn new(name: &str, role: Role) -> Self {
        Self { name: name.to_owned(), role }
    }
}

/// One cost or speed at one size of the problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scenario {
    /// What is plotted together, as `at` grows.
    pub(crate) family: String,
    pub(crate) axis: Axis,
    pub(crate) at: u64,
    pub(crate) unit: Unit,
}

impl Scenario {
    pub(crate) fn new(family: impl Into<String>, axis: Axis, at: u64, unit: Unit) -> Self {
        Self { family: family.into(), axis, at, unit }
    }

    pub(crate) fn name(&self) -> String {
        format!("{}, {}", self.family, self.axis.show(self.at))
    }
}

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Axis {
    Backlog,
    Bytes,
    Connections,
    PerSecond,
    Subscriptions,
    Writers,
}

impl Axis {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Backlog => "events to catch up",
            Self::Bytes => "bytes of a message",
            Self::Connections => "listening connections",
            Self::PerSecond => "messages a second",
            Self::Subscriptions => "subscriptions of one process",
            Self::Writers => "writers",
        }
    }

    /// A place on it, without the noun.
    pub(crate) fn short(self, at: u64) -> String {
        if self == Self::Bytes { bytes(at) } else { thousands(at) }
    }

    pub(crate) fn show(self, at: u64) -> String {
        let noun = match self {
            Self::Backlog => "event",
            Self::Bytes => return bytes(at),
            Self::PerSecond => return format!("{}/s", thousands(at)),
            Self::Connections => "connection",
            Self::Subscriptions => "subscription",
            Self::Writers => "writer",
        };
        let plural = if at == 1 { "" } else { "s" };
        format!("{} {noun}{plural}", thousands(at))
    }
}

/// `64 kB`.
fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{} kB", count / 1_000),
        _ => format!("{} MB", count / 1_000_000),
    }
}

/// `10,000`.
fn thousands(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        _ => format!("{},{:03}", thousands(count / 1_000), count % 1_000),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "messages/s")]
    MessagesPerSecond,
    #[serde(rename = "MB/s")]
    MegabytesPerSecond,
    #[serde(rename = "GB/s")]
    GigabytesPerSecond,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "bytes")]
    Bytes,
    #[serde(rename = "allocations")]
    Allocations,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MessagesPerSecond => "messages/s",
            Self::MegabytesPerSecond => "MB/s",
            Self::GigabytesPerSecond => "GB/s",
            Self::Milliseconds => "ms",
            Self::Bytes => "bytes",
            Self::Allocations => "allocations",
        }
    }

    pub(crate) fn more_is_better(self) -> bool {
        match self {
            Self::MessagesPerSecond | Self::MegabytesPerSecond | Self::GigabytesPerSecond => true,
            Self::Milliseconds | Self::Bytes | Self::Allocations => false,
        }
    }

    /// How many times as good `this` is as `other`: above 1 is better, be it more or less of it.
    fn ratio(self, this: f64, other: f64) -> f64 {
        if self.more_is_better() { this / other } else { other / this }
    }
}

/// All samples, in the order in which scenarios and candidates first came.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures(Vec<Figure>);

/// What one candidate showed in one scenario.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) scenario: Scenario,
    pub(crate) candidate: Candidate,
    /// One a round.
    samples: Vec<f64>,
}

impl Figure {
    pub(crate) fn median(&self) -> f64 {
        median(self.samples.iter().copied())
    }

    pub(crate) fn min(&self) -> f64 {
        self.samples.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn max(&self) -> f64 {
        self.samples.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// How many times as good it is as another candidate of its scenario: the median of the rounds'
    /// ratios, since what else the machine does changes from round to round.
    pub(crate) fn ratio_to(&self, other: &Self) -> f64 {
        let rounds = self.samples.iter().zip(&other.samples);
        median(rounds.map(|(this, other)| self.scenario.unit.ratio(*this, *other)))
    }
}

fn median(samples: impl Iterator<Item = f64>) -> f64 {
    let mut samples: Vec<f64> = samples.collect();
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

impl Figures {
    pub(crate) fn add(&mut self, scenario: Scenario, candidate: Candidate, sample: f64) {
        let same =
            |figure: &&mut Figure| figure.scenario == scenario && figure.candidate == candidate;
        let samples = match self.0.iter_mut().find(same) {
            Some(figure) => &mut figure.samples,
            None => {
                self.0.push(Figure { scenario, candidate, samples: Vec::new() });
                &mut self.0.last_mut().expect("just added").samples
            }
        };
        samples.push(sample);
    }

    pub(crate) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Figure> {
        self.0.iter()
    }

    /// Names of scenarios, each once.
    pub(crate) fn scenarios(&self) -> Vec<&Scenario> {
        let mut scenarios: Vec<&Scenario> = Vec::new();
        for figure in &self.0 {
            if !scenarios.contains(&&figure.scenario) {
                scenarios.push(&figure.scenario);
            }
        }
        scenarios
    }

    pub(crate) fn of<'a>(&'a self, scenario: &'a Scenario) -> impl Iterator<Item = &'a Figure> {
        self.0.iter().filter(move |figure| figure.scenario == *scenario)
    }

    pub(crate) fn best_peer<'a>(&'a self, scenario: &'a Scenario) -> Option<&'a Figure> {
        let peers = self.of(scenario).filter(|figure| figure.candidate.role == Role::Peer);
        peers.reduce(|best, other| if other.ratio_to(best) > 1.0 { other } else { best })
    }
}
