//! Budgets: how much of a cost is allowed, and whether a run keeps to it.
//!
//! # Layout
//! - [`Budget`], [`Limit`]: what is allowed
//! - [`wire`]: budgets files and `--max`, strict
//! - [`mod@judge`]: budgets and a [`Report`](crate::report::Report) → [`Gate`], pure
//! - [`console`], [`markdown`], [`junit`], [`github`]: `Gate` → text

use schemars::JsonSchema;
use serde::Serialize;

use crate::metric::Metric;
use crate::sample::Subject;

pub mod console;
pub mod github;
pub mod judge;
pub mod junit;
pub mod limit;
pub mod markdown;
pub mod wire;
mod words;

pub use judge::{GateError, judge};
pub use limit::Limit;

/// Version of what `gate --format json` prints.
pub const SCHEMA_VERSION: u32 = 1;

/// What a budget limits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Key {
    /// What.
    pub metric: Metric,
    /// Of whom.
    pub subject: Subject,
    /// For durations: which quantile, 0–1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
}

impl Key {
    /// Whether it means this figure. Quantiles come from decimal text on both sides, or nearly so.
    pub fn is(&self, metric: Metric, subject: Subject, quantile: Option<f64>) -> bool {
        let same = match (self.quantile, quantile) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-9,
            (a, b) => a == b,
        };
        self.metric == metric && self.subject == subject && same
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.metric.as_str(), self.subject.as_str())?;
        match self.quantile {
            Some(quantile) => write!(f, " {quantile}"),
            None => Ok(()),
        }
    }
}

/// How much of a cost is allowed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Budget {
    /// What it limits.
    #[serde(flatten)]
    pub key: Key,
    /// How much.
    pub limit: Limit,
    /// For this arm only; otherwise for every one but the baseline and its twin.
    #[serde(skip)]
    pub scenario: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where it stands, for messages: `budgets.yaml:3`, `--max startup_seconds=0.1`.
    #[serde(skip)]
    pub place: String,
}

/// What came of a budget, or of all of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole interval keeps to the limit.
    Within,
    /// The whole interval lies beyond the limit.
    Over,
    /// The arm or its baseline could not be measured.
    Invalid,
    /// The interval reaches across the limit, or there is none.
    Inconclusive,
}

impl Outcome {
    /// The one that decides: over, then invalid, then inconclusive.
    pub fn worst(outcomes: impl IntoIterator<Item = Outcome>) -> Outcome {
        let rank = |outcome: &Outcome| match outcome {
            Outcome::Within => 0,
            Outcome::Inconclusive => 1,
            Outcome::Invalid => 2,
            Outcome::Over => 3,
        };
        outcomes
            .into_iter()
            .max_by_key(rank)
            .unwrap_or(Outcome::Within)
    }

    /// The name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Within => "within",
            Outcome::Over => "over",
            Outcome::Invalid => "invalid",
            Outcome::Inconclusive => "inconclusive",
        }
    }
}

/// A point and its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The point.
    pub point: f64,
    /// Lower end of the interval; none where one block or trial is all there is.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
}

impl Estimate {
    /// Both ends.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.low.zip(self.high)
    }
}

/// One budget, judged for one arm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// The budget.
    #[serde(flatten)]
    pub budget: Budget,
    /// The arm.
    pub scenario: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Why it is invalid or inconclusive.
    pub reason: Option<String>,
    /// Blocks (of a change) or trials (of a figure) that it rests on.
    pub blocks: Option<u32>,
    /// The change as a ratio; none for a figure.
    pub change_ratio: Option<Estimate>,
    /// The change in the metric's unit; none for a figure.
    pub change: Option<Estimate>,
    /// The figure itself in the metric's unit; none for a change.
    pub figure: Option<Estimate>,
    /// About how many blocks would decide an inconclusive one, if the estimate stays.
    pub blocks_needed: Option<u32>,
}

impl Judgement {
    /// The estimate that the limit is held against.
    pub fn estimate(&self) -> Option<Estimate> {
        match self.budget.limit {
            Limit::Ratio(_) => self.change_ratio,
            Limit::Change(_) => self.change,
            Limit::Figure(_) => self.figure,
        }
    }
}

/// What separates two identical baselines, where a budget is concerned.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Noise {
    /// What, of whom.
    #[serde(flatten)]
    pub key: Key,
    /// Twin ÷ baseline − 1.
    pub overhead_ratio: Estimate,
    /// The smallest change that this pair could have seen.
    pub detectable_ratio: Option<f64>,
}

/// A run, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gate {
    /// Version of this form.
    pub schema_version: u32,
    /// The run.
    pub run: String,
    /// The outcome that decides.
    pub outcome: Outcome,
    /// Level of every interval, 0–1.
    pub confidence: f64,
    /// Offered rate, in requests per second.
    pub request_rate: f64,
    /// Blocks that were planned.
    pub blocks: u32,
    /// Every budget for every arm that it concerns.
    pub judgements: Vec<Judgement>,
    /// What separates two identical baselines.
    pub noise_floor: Vec<Noise>,
}

impl Gate {
    /// How many came out so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.of(outcome).count()
    }

    /// Those that came out so.
    pub fn of(&self, outcome: Outcome) -> impl Iterator<Item = &Judgement> {
        self.judgements
            .iter()
            .filter(move |judgement| judgement.outcome == outcome)
    }

    /// The verdict in one sentence.
    pub fn sentence(&self) -> String {
        words::verdict(self)
    }
}
