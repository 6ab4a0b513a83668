//! The report: what a run says, as one value that every output renders.
//!
//! # Layout
//! - [`Report`] and its parts: the model, which is also `report.json`
//! - [`mod@build`]: records → `Report`, pure
//! - `claims`: which comparisons come first, and in which order
//! - [`chart`]: `Report` and time series → SVG and PNG
//! - [`nodes`]: what a node adds, where trials ran on several
//! - [`console`], [`markdown`], [`csv`], [`html`]: `Report` → text
//! - [`render`]: all of it → the files of a run directory
//! - [`mod@format`]: numbers → text

pub mod build;
pub mod chart;
mod claims;
pub mod console;
pub mod csv;
pub mod format;
pub mod html;
pub mod markdown;
pub mod nodes;
mod output;
pub(crate) mod table;
mod tables;
pub(crate) mod words;

pub use claims::{Claim, claims};
pub use output::{RenderError, render, schema};

/// What a reader calls a metric.
pub fn metric_name(metric: Metric) -> String {
    words::metric(metric, None)
}

/// What a reader calls a verdict.
pub fn verdict_name(verdict: Verdict) -> &'static str {
    words::verdict(verdict)
}

/// Rows of cells in columns, the first row their names.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |text: &str| text.chars().count();
    let widths: Vec<usize> = (0..N)
        .map(|n| rows.iter().map(|row| width(&row[n])).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, &widest)| format!("{cell}{}", " ".repeat(widest - width(cell))))
            .collect();
        text += line.join("  ").trim_end();
        text.push('\n');
    }
    text
}

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::experiment::Experiment;
use crate::fingerprint::Fingerprint;
use crate::metric::Metric;
use crate::plan::{LoadDriver, RateSource};
use crate::sample::Subject;
use crate::trial::{Delivered, Ledger, TelemetryCount, TrialRecord};

/// Version of `report.json`'s form.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything that a run says. This is `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Version of this form.
    pub schema_version: u32,
    /// The run's name, which is also its directory's.
    pub run: String,
    /// When the run began (RFC 3339, UTC).
    pub started: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// Level of every interval, 0–1.
    pub confidence: f64,
    /// Offered rate, in requests per second.
    pub request_rate: f64,
    /// How the load was made.
    pub load: LoadReport,
    /// Warm-up of each trial, in seconds.
    pub warmup_seconds: f64,
    /// Measured window of each trial, in seconds; in an experiment that of each step.
    pub measure_seconds: f64,
    /// Slices that each window is cut into, between which the arms of a block take turns; 1 when trials run one after another.
    pub slices: u32,
    /// One entry per arm.
    pub scenarios: Vec<ScenarioReport>,
    /// Each arm against the baseline.
    pub comparisons: Vec<Comparison>,
    /// What separates two identical baselines.
    pub noise_floor: Vec<NoiseFloor>,
    /// What one copy of an agent's programs costs, in a run that attached them several times over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amplification: Option<Amplification>,
    /// The search that each trial carried out in place of one window; `trials` have its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<Experiment>,
    /// How costs moved while the run went on.
    pub drifts: Vec<DriftReport>,
    /// What nodes add or save, where trials ran on several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<nodes::NodeReport>,
    /// The same figures by another way.
    pub cross_checks: Vec<CrossCheck>,
    /// What the run did without, and what a reader must know.
    pub notes: Vec<String>,
    /// Every trial, in the order in which they ran.
    pub trials: Vec<TrialRecord>,
    /// What was measured, where, with what.
    pub fingerprint: Fingerprint,
}

/// How the load was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadReport {
    /// The driver.
    pub driver: LoadDriver,
    /// Whether the rate was given or found.
    pub rate_source: RateSource,
    /// Requests per second that the baseline could answer, when that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<f64>,
}

/// What one arm came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioReport {
    /// The scenario's name.
    pub name: String,
    /// What it asks, from its file.
    pub question: String,
    /// What its author says of the result, from its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<String>,
    /// Whether its figures can be used.
    pub status: ScenarioStatus,
    /// Why not, when not.
    pub reason: Option<String>,
    /// Trials that count.
    pub trials: u32,
    /// Trials that were planned.
    pub planned_trials: u32,
    /// Answers in the windows of the trials that count.
    pub requests: u64,
    /// One estimate per metric, subject and quantile.
    pub statistics: Vec<Statistic>,
    /// The ledger, added up over the trials that count.
    pub ledger: Option<Ledger>,
    /// Requests that the agent's output accounts for ÷ requests served; none without an agent that says.
    pub telemetry_yield_ratio: Option<f64>,
    /// The two counts behind it, added up over the trials that count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<TelemetryCount>,
    /// What was sent to the intake, added up over the trials that count; none without an intake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Delivered>,
    /// How many times the agent attached its programs, in a run that amplifies it; with more
    /// than one, the figures are those of an experiment and not of the agent as it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<u32>,
}

impl ScenarioReport {
    /// Whether the agent did several times what it does when it is used.
    pub fn is_amplified(&self) -> bool {
        self.copies.is_some_and(|copies| copies > 1)
    }

    /// Whether an agent was measured; without one, the total is the target once more.
    pub fn has_agent(&self) -> bool {
        let mut subjects = self.statistics.iter().map(|statistic| statistic.subject);
        subjects.any(|subject| subject == Subject::Agent)
    }
}

/// Whether an arm's figures can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScenarioStatus {
    /// Enough trials count.
    Ok,
    /// Trials ran, but too few of them count.
    Invalid,
    /// No trial could be carried out.
    Failed,
    /// It can't run here.
    Unsupported,
}

/// A point and an interval over the trials of one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Statistic {
    /// What.
    pub metric: Metric,
    /// Of whom.
    pub subject: Subject,
    /// For durations: which quantile, 0–1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
    /// Mean over trials, in the metric's unit: geometric where every trial's value is positive.
    pub estimate: f64,
    /// Lower end of the interval; none with fewer than two trials.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// Standard deviation over trials ÷ mean; none with fewer than two trials.
    pub coefficient_of_variation: Option<f64>,
}

/// An arm against the baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// The arm.
    pub scenario: String,
    /// What it is compared with; where its twin was measured too, with both.
    pub baseline: String,
    /// What.
    pub metric: Metric,
    /// Of whom.
    pub subject: Subject,
    /// For durations: which quantile, 0–1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
    /// Whether it is one of the claims that were fixed in advance; the others
    /// stand beside them and are corrected for their number among themselves.
    pub headline: bool,
    /// Blocks in which both sides count.
    pub blocks: u32,
    /// Scenario ÷ baseline − 1: mean over blocks of the log-ratio.
    pub overhead_ratio: f64,
    /// Lower end of the interval; none with one block.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// The same in the metric's unit: the ratio times the baseline's mean over these blocks.
    pub overhead: f64,
    /// Lower end of the interval, in the metric's unit.
    pub overhead_low: Option<f64>,
    /// Upper end of the interval, in the metric's unit.
    pub overhead_high: Option<f64>,
    /// What the arm is known to add, where that was injected, in the metric's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injected: Option<f64>,
    /// Chance of a difference at least as large between equals (paired t test over blocks, as the interval).
    pub p_value: Option<f64>,
    /// The same without asking anything of the shape of the noise (permutation test over blocks).
    pub permutation_p_value: Option<f64>,
    /// `p_value`, corrected for the number of claims (Holm).
    pub adjusted_p_value: Option<f64>,
    /// The smallest change that these blocks could have seen in four of five runs.
    pub detectable_ratio: Option<f64>,
    /// A change within ± this counts as none.
    pub margin_ratio: f64,
    /// What can be said.
    pub verdict: Verdict,
    /// Why it is inconclusive, when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Every block's own ratio.
    pub block_ratios: Vec<BlockRatio>,
}

/// What one block says of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockRatio {
    /// The block, counted from 1.
    pub block: u32,
    /// Scenario ÷ baseline − 1 in this block alone.
    pub ratio: f64,
}

/// What can be said of a difference.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The arm costs more.
    Higher,
    /// The arm costs less.
    Lower,
    /// The interval lies inside the margin.
    NoDifference,
    /// Too noisy to tell.
    Inconclusive,
}

/// What separates two identical baselines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoiseFloor {
    /// What.
    pub metric: Metric,
    /// Of whom.
    pub subject: Subject,
    /// For durations: which quantile, 0–1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
    /// Blocks in which both count.
    pub blocks: u32,
    /// Twin ÷ baseline − 1.
    pub overhead_ratio: f64,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// Chance of a difference at least as large between equals (paired t test over blocks, as the interval).
    pub p_value: Option<f64>,
    /// The same without asking anything of the shape of the noise (permutation test over blocks).
    pub permutation_p_value: Option<f64>,
    /// `p_value`, corrected for the number of claims (Holm).
    pub adjusted_p_value: Option<f64>,
    /// The smallest change that this pair could have seen in four of five runs.
    pub detectable_ratio: Option<f64>,
    /// What would be said of it, were it not known that the two are the same.
    pub verdict: Verdict,
    /// Every block's own ratio.
    pub block_ratios: Vec<BlockRatio>,
}

/// What one copy of an agent's programs costs: a labelled experiment. The
/// programs were attached 1 to N times, and a line was fitted block by block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Amplification {
    /// The scenario whose agent it was.
    pub scenario: String,
    /// How many times the programs were attached, arm by arm.
    pub copies: Vec<u32>,
    /// Blocks in which every arm counts.
    pub blocks: u32,
    /// One line for each who may pay.
    pub slopes: Vec<Slope>,
}

/// How the CPU time of a request grows with the number of copies. All in
/// seconds per request; intervals are t intervals over blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slope {
    /// Whose CPU time.
    pub of: Payer,
    /// What one copy adds to a request: mean over blocks of the slope of least squares.
    pub per_copy: Interval,
    /// What it would be between two identical baselines as many copies apart: nothing but noise.
    pub two_baselines: Interval,
    /// What the agent costs a request beside its copies: the line at no copy, less the baselines.
    pub beside_copies: Interval,
    /// How far the middle lies above the straight line between the ends; none with two numbers of copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bend: Option<Interval>,
    /// Every block's own values.
    pub points: Vec<AmplifiedPoint>,
}

/// A point and its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// Mean over blocks.
    pub estimate: f64,
    /// Lower end of the interval; none with fewer than two blocks.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
}

/// What one arm of one block cost more than the block's baselines.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AmplifiedPoint {
    /// The block, counted from 1.
    pub block: u32,
    /// How many times the programs were attached.
    pub copies: u32,
    /// CPU seconds per request, less the mean of the block's two baselines.
    pub added: f64,
}

/// Who may pay for a program in the kernel: whoever's system call or interrupt
/// runs it, which on a loopback connection is both ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Payer {
    /// Target, agent and load driver together, from their own counters.
    Everyone,
    /// The whole machine: the same, the harness, and what no process was charged with.
    Machine,
    /// The application under load.
    Target,
    /// The load driver.
    Load,
    /// The agent's own processes.
    Agent,
    /// Target and agent together.
    Total,
}

impl Payer {
    /// All of them, in the order in which reports list them; the first is the answer.
    pub const ALL: [Payer; 6] = [
        Payer::Everyone,
        Payer::Machine,
        Payer::Target,
        Payer::Load,
        Payer::Agent,
        Payer::Total,
    ];

    /// The name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Payer::Everyone => "everyone",
            Payer::Machine => "machine",
            Payer::Target => "target",
            Payer::Load => "load",
            Payer::Agent => "agent",
            Payer::Total => "total",
        }
    }
}

/// How a cost moved while the run went on. Blocks take it out of comparisons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DriftReport {
    /// What.
    pub metric: Metric,
    /// Of whom.
    pub subject: Subject,
    /// Relative change per hour, from a straight line through all arms' trials, each arm's mean taken out.
    pub per_hour_ratio: f64,
    /// Chance of such a line without any drift.
    pub p_value: f64,
}

/// One figure by two ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CrossCheck {
    /// The arm.
    pub scenario: String,
    /// The trial.
    pub trial: u32,
    /// What.
    pub metric: Metric,
    /// Of whom.
    pub subject: Subject,
    /// Read by the harness.
    pub direct: f64,
    /// Answered by VictoriaMetrics.
    pub victoria_metrics: f64,
}
