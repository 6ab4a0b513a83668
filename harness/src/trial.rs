//! What one trial came to: its record, its ledger, the checks that let it count.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::experiment::Step;
use crate::metric::Metric;
use crate::sample::{Phase, Subject};

/// A line of `trials.jsonl`, written when the trial ends, failed ones too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrialRecord {
    /// Counted from 1.
    pub trial: u32,
    /// The block it belongs to.
    pub block: u32,
    /// The arm (scenario) that it measured.
    pub arm: String,
    /// Whether it counts.
    pub status: TrialStatus,
    /// Why it failed, when it did, with the last output of what failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When each phase began and ended, in seconds since the run began.
    pub phases: Vec<PhaseSpan>,
    /// The window, in seconds since the epoch, for queries of time series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_unix: Option<(f64, f64)>,
    /// The node that the target ran on, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What was computed from the trial's samples.
    #[serde(flatten)]
    pub analysis: TrialAnalysis,
}

/// Everything that the analysis computes from one trial's samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialAnalysis {
    /// Complete answers in the window.
    pub requests: u64,
    /// One value per metric, subject and quantile.
    pub statistics: Vec<TrialStatistic>,
    /// Where the machine's CPU time went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Ledger>,
    /// What the agent's own output accounts for, where the scenario says how to ask it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<TelemetryCount>,
    /// What was sent to the intake, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Delivered>,
    /// What each step of its search came to, in an experiment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Every rule that decides whether the trial counts.
    pub checks: Vec<Check>,
}

/// What was sent to the intake between two moments at which no request was
/// under way: before the load, and when nothing more came after it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delivered {
    /// Requests of the measured route that the target served meanwhile.
    pub served: u64,
    /// Spans of every kind.
    pub spans: u64,
    /// Spans that have an attribute, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub span_attributes: BTreeMap<String, u64>,
    /// Points of metrics, by the metric's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metric_points: BTreeMap<String, u64>,
    /// Log records.
    pub log_records: u64,
    /// Requests that Datadog's statistics account for, of every kind of span.
    pub stats_hits: u64,
    /// Bodies and datagrams that were counted.
    pub requests: u64,
    /// Their bytes, as they were sent.
    pub bytes: u64,
    /// What was sent and not counted, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rejected: BTreeMap<String, u64>,
}

impl Delivered {
    /// What several trials were sent together; none without any.
    pub fn sum<'d>(all: impl Iterator<Item = &'d Delivered>) -> Option<Delivered> {
        let add = |names: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>| {
            for (name, count) in more {
                *names.entry(name.clone()).or_default() += count;
            }
        };
        all.fold(None, |sum: Option<Delivered>, one| {
            let mut sum = sum.unwrap_or_default();
            sum.served += one.served;
            sum.spans += one.spans;
            add(&mut sum.span_attributes, &one.span_attributes);
            add(&mut sum.metric_points, &one.metric_points);
            sum.log_records += one.log_records;
            sum.stats_hits += one.stats_hits;
            sum.requests += one.requests;
            sum.bytes += one.bytes;
            add(&mut sum.rejected, &one.rejected);
            Some(sum)
        })
    }
}

/// Requests of the measured route between two moments at which none was under
/// way: after the warm-up where arms take turns, else before it, and after the
/// last answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TelemetryCount {
    /// Those that the agent's output accounts for.
    pub accounted: u64,
    /// Those that the target served.
    pub served: u64,
}

impl TelemetryCount {
    /// Accounted ÷ served; none when nothing was served.
    pub fn ratio(self) -> Option<f64> {
        (self.served > 0).then(|| self.accounted as f64 / self.served as f64)
    }

    /// Both counts of several trials added up; none without any.
    pub fn sum(counts: impl Iterator<Item = TelemetryCount>) -> Option<TelemetryCount> {
        counts.reduce(|a, b| TelemetryCount {
            accounted: a.accounted + b.accounted,
            served: a.served + b.served,
        })
    }
}

/// Whether a trial counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrialStatus {
    /// Every check passed.
    Valid,
    /// It ran, but a check failed; it is kept and never averaged in.
    Invalid,
    /// It could not be carried out.
    Failed,
}

/// When a phase began and ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PhaseSpan {
    /// The phase.
    pub phase: Phase,
    /// Seconds since the run began.
    pub start: f64,
    /// Seconds since the run began.
    pub end: f64,
}

/// One number of one trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrialStatistic {
    /// What.
    pub metric: Metric,
    /// Of whom.
    pub subject: Subject,
    /// For durations: which quantile, 0–1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
    /// In the metric's unit.
    pub value: f64,
}

/// Where the machine's CPU time of one window went. It closes when the parts
/// add up to what the machine says it was busy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// CPU seconds in which the machine was busy (`/proc/stat`, steal apart).
    pub node_busy_seconds: f64,
    /// CPU seconds that the hypervisor took away.
    pub steal_seconds: f64,
    /// CPU seconds of each role.
    pub rows: Vec<LedgerRow>,
    /// What no role accounts for.
    pub remainder_seconds: f64,
    /// The part of the remainder that other processes and kernel threads used,
    /// where the kernel counts all tasks. The rest belongs to no task:
    /// interrupts that found a CPU idle, and waking up from idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_tasks_seconds: Option<f64>,
    /// Remainder ÷ node busy time.
    pub remainder_ratio: f64,
    /// Answers in the window, the divisor of everything per request.
    pub requests: u64,
}

impl Ledger {
    /// Share of the machine's busy time that may be left without an owner.
    pub const REMAINDER_MAX: f64 = 0.03;

    /// Whether the parts add up to what the machine says it was busy.
    pub fn closes(&self) -> bool {
        self.remainder_ratio.abs() <= Self::REMAINDER_MAX
    }

    /// What the remainder is made of, as far as the kernel tells; empty where it doesn't.
    pub fn missing(&self) -> String {
        let share = |seconds: f64| seconds / self.node_busy_seconds * 100.0;
        let parts = self
            .other_tasks_seconds
            .map(|others| (share(others), share(self.remainder_seconds - others)));
        match parts {
            Some((others, nobody)) if others.is_finite() && nobody.is_finite() => format!(
                ": {others:.1} % is other processes and kernel threads, {nobody:.1} % no task at all (waking from idle, interrupts that found a CPU idle)"
            ),
            _ => String::new(),
        }
    }

    /// CPU seconds of one role, if it took part.
    pub fn of(&self, subject: Subject) -> Option<f64> {
        self.rows
            .iter()
            .find(|row| row.subject == subject)
            .map(|row| row.cpu_seconds)
    }
}

impl TrialAnalysis {
    /// The value of a metric that has no quantile.
    pub fn value(&self, metric: Metric, subject: Subject) -> Option<f64> {
        self.statistics
            .iter()
            .find(|s| s.metric == metric && s.subject == subject && s.quantile.is_none())
            .map(|s| s.value)
    }

    /// The checks that make the trial invalid.
    pub fn broken(&self) -> impl Iterator<Item = &Check> {
        self.checks
            .iter()
            .filter(|check| !check.passed && check.severity == Severity::Invalidates)
    }

    /// Whether every check that can invalidate a trial passed.
    pub fn is_valid(&self) -> bool {
        !self.checks.is_empty() && self.broken().next().is_none()
    }
}

/// One role's part of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LedgerRow {
    /// Whose.
    pub subject: Subject,
    /// CPU seconds in the window.
    pub cpu_seconds: f64,
}

/// One rule that decides whether a trial counts, and how it came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// A short name, such as `offered_rate`.
    pub name: String,
    /// Whether it held.
    pub passed: bool,
    /// A check that only warns does not make the trial invalid.
    pub severity: Severity,
    /// What was measured and what was asked, in words.
    pub detail: String,
}

/// What a failed check does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The trial does not count.
    Invalidates,
    /// The report says so.
    Warns,
}
