//! `Report` → formats that other tools read. Pure.
//!
//! # Layout
//! - [`go_bench`]: the Go benchmark format, for benchstat
//! - [`bencher`]: Bencher Metric Format
//! - [`github_action_benchmark`]: the custom format of that action
//! - [`otava`]: CSV for Apache Otava, a row a run
//! - [`prometheus`]: time series, for VictoriaMetrics and the dashboards
//!
//! What can't be used is not exported: arms that are not ok, trials that don't
//! count. `docs/FORMAT.md` describes every format.

use crate::metric::Metric;
use crate::report::{Comparison, Report, ScenarioReport, ScenarioStatus, Statistic, format};
use crate::sample::Subject;

pub mod bencher;
pub mod github_action_benchmark;
pub mod go_bench;
pub mod otava;
pub mod prometheus;

/// A figure that others may keep.
#[derive(Clone, Copy, Debug)]
pub struct Exported<'a> {
    /// The arm.
    pub scenario: &'a ScenarioReport,
    /// What it came to.
    pub statistic: &'a Statistic,
    /// The same against the baseline.
    pub comparison: Option<&'a Comparison>,
}

/// Every figure of a report that can be used, in its order.
pub fn figures(report: &Report) -> impl Iterator<Item = Exported<'_>> {
    let ok = |s: &&ScenarioReport| s.status == ScenarioStatus::Ok;
    report.scenarios.iter().filter(ok).flat_map(|scenario| {
        let kept = |s: &&Statistic| is_exported(scenario, s.metric, s.subject);
        let kept = scenario.statistics.iter().filter(kept);
        kept.filter(|s| s.estimate.is_finite())
            .map(|statistic| Exported {
                scenario,
                statistic,
                comparison: report.comparisons.iter().find(|c| {
                    c.scenario == scenario.name
                        && (c.metric, c.subject, c.quantile)
                            == (statistic.metric, statistic.subject, statistic.quantile)
                }),
            })
    })
}

/// Whether a figure is about the application or the agent; without an agent, the total is the
/// target once more.
fn is_exported(scenario: &ScenarioReport, metric: Metric, subject: Subject) -> bool {
    metric.is_compared()
        && Subject::RESULTS.contains(&subject)
        && (subject != Subject::Total || scenario.has_agent())
}

/// `cpu_seconds_per_request`, `request_duration_seconds_p99`.
pub fn name(metric: Metric, quantile: Option<f64>) -> String {
    match quantile {
        Some(quantile) => format!("{}_{}", metric.as_str(), format::quantile(quantile)),
        None => metric.as_str().to_owned(),
    }
}

/// A name in which nothing parts words or levels.
fn one_word(name: &str) -> String {
    let part = |c: char| c.is_whitespace() || c.is_control() || "/,;\"'=".contains(c);
    let word: String = name
        .chars()
        .map(|c| if part(c) { '_' } else { c })
        .collect();
    if word.is_empty() {
        "_".to_owned()
    } else {
        word
    }
}
