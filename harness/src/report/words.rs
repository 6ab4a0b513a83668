//! The words of a report: names of things, and the sentences that every output repeats.

use std::collections::BTreeMap;

use super::claims::Claim;
use super::format::{self, Estimate};
use super::{Comparison, Report, ScenarioReport, ScenarioStatus, Statistic, Verdict};
use crate::metric::Metric;
use crate::plan::LoadDriver;
use crate::sample::Subject;

mod again;
mod amplified;
mod experiment;
mod findings;
mod validity;

pub use again::{command, rate_source};
pub use amplified::{amount, amplified, payer};
pub use experiment::{beyond, experiment_title, found, searched};
pub use findings::{caution, drifts, findings, headlines, no_figures, noise_floor, noise_warnings};
pub use validity::{counted, ledger, not_counted, warnings};

/// What a reader calls a subject.
pub fn subject(subject: Subject) -> &'static str {
    subject.called()
}

/// What a reader calls a metric.
pub fn metric(metric: Metric, quantile: Option<f64>) -> String {
    let name = match metric {
        Metric::CpuSecondsPerRequest => "CPU per request",
        Metric::MemoryWorkingSetBytes => "Memory, working set",
        Metric::MemoryPeakBytes => "Memory, peak",
        Metric::RequestDurationSeconds => "Latency",
        Metric::RequestsPerSecond => "Answers per second",
        Metric::ErrorRatio => "Errors",
        Metric::CpuThrottledSeconds => "CPU throttled",
        Metric::StartupSeconds => "Startup",
        Metric::SustainedRequestsPerSecond => "Sustained rate",
        Metric::MemoryLimitBytes => "Smallest memory limit",
        Metric::CpuThrottledPeriodsRatio => "Throttled periods",
    };
    match quantile {
        Some(quantile) => format!("{name} {}", format::quantile(quantile)),
        None => name.to_owned(),
    }
}

/// What a claim is about, within a sentence: `target CPU per request`.
pub fn claim(claim: Claim) -> String {
    let figure = match claim.metric {
        Metric::CpuSecondsPerRequest => "CPU per request",
        Metric::MemoryWorkingSetBytes => "memory (working set)",
        Metric::MemoryPeakBytes => "memory (peak)",
        Metric::RequestDurationSeconds => "latency",
        Metric::RequestsPerSecond => "answers per second",
        Metric::ErrorRatio => "errors",
        Metric::CpuThrottledSeconds => "throttled CPU time",
        Metric::StartupSeconds => "startup time",
        Metric::SustainedRequestsPerSecond => "sustained rate",
        Metric::MemoryLimitBytes => "memory limit",
        Metric::CpuThrottledPeriodsRatio => "throttled periods",
    };
    let quantile = claim
        .quantile
        .map_or(String::new(), |q| format!(" {}", format::quantile(q)));
    format!("{} {figure}{quantile}", subject(claim.subject))
}

/// A claim as a heading: `CPU per request, target`.
pub fn claim_title(claim: Claim) -> String {
    let figure = metric(claim.metric, claim.quantile);
    format!("{figure}, {}", subject(claim.subject))
}

/// What a reader calls a verdict.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Higher => "higher",
        Verdict::Lower => "lower",
        Verdict::NoDifference => "no difference",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// What a reader calls a scenario's status.
pub fn status(status: ScenarioStatus) -> &'static str {
    match status {
        ScenarioStatus::Ok => "ok",
        ScenarioStatus::Invalid => "invalid",
        ScenarioStatus::Failed => "failed",
        ScenarioStatus::Unsupported => "unsupported",
    }
}

/// What a reader calls a load driver.
pub fn driver(driver: LoadDriver) -> &'static str {
    match driver {
        LoadDriver::Builtin => "builtin",
        LoadDriver::K6 => "k6",
    }
}

/// `1 trial`, `6 trials`.
pub fn trials(count: u32) -> String {
    if count == 1 {
        "1 trial".to_owned()
    } else {
        format!("{count} trials")
    }
}

/// A statistic's point and interval.
pub fn estimate(statistic: &Statistic) -> Estimate {
    format::estimate(
        statistic.metric.unit(),
        statistic.estimate,
        statistic.low,
        statistic.high,
    )
}

/// What an arm adds, in the metric's unit.
pub fn added(comparison: &Comparison) -> Estimate {
    format::difference(
        comparison.metric.unit(),
        comparison.overhead,
        comparison.overhead_low,
        comparison.overhead_high,
    )
}

/// The statistic of a scenario that has no quantile.
pub fn statistic(
    scenario: &ScenarioReport,
    metric: Metric,
    subject: Subject,
) -> Option<&Statistic> {
    scenario
        .statistics
        .iter()
        .find(|s| s.metric == metric && s.subject == subject && s.quantile.is_none())
}

/// The level of the intervals: `95 %`.
pub fn confidence(report: &Report) -> String {
    format::level(report.confidence)
}

/// How many trials count, and over how many requests: `5 of 6 trials count · 40 000 requests`.
pub fn basis_of(scenario: &ScenarioReport) -> String {
    let ScenarioReport {
        trials,
        planned_trials,
        requests,
        ..
    } = scenario;
    let mut text = if trials == planned_trials {
        self::trials(*trials)
    } else {
        format!("{trials} of {} count", self::trials(*planned_trials))
    };
    text += &format!(" · {} requests", format::count(*requests));
    if let Some(accounted) = accounted(scenario) {
        text += &format!(" · telemetry accounts for {accounted}");
    }
    text
}

/// How much of what was served the agent's output accounts for. Counts rather
/// than a share where they are known: no share shows one request in a million.
pub fn accounted(scenario: &ScenarioReport) -> Option<String> {
    let ratio = scenario.telemetry_yield_ratio?;
    Some(match scenario.telemetry {
        Some(count) if count.accounted == count.served => {
            format!("all {} requests served", format::count(count.served))
        }
        Some(count) => format!(
            "{} of {} requests served ({})",
            format::count(count.accounted),
            format::count(count.served),
            self::yielded(ratio)
        ),
        None => format!("{} of the requests served", yielded(ratio)),
    })
}

/// What is in what each arm sent to the intake, in a sentence each.
pub fn delivered(report: &Report) -> Vec<String> {
    let list = |names: &BTreeMap<String, u64>| {
        let names: Vec<&str> = names.keys().map(String::as_str).collect();
        names.join(", ")
    };
    let mut sentences = Vec::new();
    for scenario in &report.scenarios {
        let Some(delivered) = &scenario.delivered else {
            continue;
        };
        let name = &scenario.name;
        if !delivered.span_attributes.is_empty() {
            let attributes = list(&delivered.span_attributes);
            sentences.push(format!("{name}: attributes of its spans: {attributes}"));
        }
        if !delivered.metric_points.is_empty() {
            let metrics = list(&delivered.metric_points);
            sentences.push(format!("{name}: its metrics: {metrics}"));
        }
    }
    sentences
}

/// A telemetry yield, with as many digits as it takes to tell it from all.
pub fn yielded(ratio: f64) -> String {
    if !ratio.is_finite() {
        return "n/a".to_owned();
    }
    let percent = ratio * 100.0;
    let digits = (1..=6).find(|digits| {
        let step = 10f64.powi(*digits);
        (percent * step).round() != 100.0 * step
    });
    match digits {
        _ if ratio == 1.0 => "100 %".to_owned(),
        Some(digits) => format!("{} %", format::number(percent, digits)),
        None => "not quite 100 %".to_owned(),
    }
}

/// A part of a whole, to a tenth of a percent.
pub fn share(ratio: f64) -> String {
    if ratio.is_finite() {
        format!("{} %", format::number(ratio * 100.0, 1))
    } else {
        "n/a".to_owned()
    }
}
