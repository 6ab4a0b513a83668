//! `Report` → CSV in long form: one row per figure of a scenario, per
//! comparison, and per entry of the noise floor.
//!
//! # Columns
//! - `run`, `scenario`, `status`: whose figure it is, and whether it can be used
//! - `metric`, `subject`, `quantile`: what it is; `quantile` is empty where there is none
//! - `unit`: `seconds`, `bytes`, `ratio` (0–1), `per_second` or `per_request`
//! - `estimate`, `low`, `high`: the figure and its interval, in `unit`, unrounded
//! - `confidence`: level of the interval, 0–1
//! - `coefficient_of_variation`: standard deviation over trials ÷ mean
//! - `trials`: trials that count
//! - `kind`: what `estimate` is: `statistic`, the mean over trials; `comparison`,
//!   what the scenario adds to `baseline`; `noise_floor`, empty, as the twin
//!   of the baseline is told as a ratio only; `telemetry_yield`, the share of the
//!   requests served that the agent's own output accounts for; `amplification`,
//!   what one copy of the agent's programs adds to a request, by who pays; `delivered`,
//!   what the scenario sent to the intake for each request served: spans, points of
//!   metrics, log records, hits in statistics, bytes, and bodies that were refused
//! - `baseline`, `headline`, `blocks`: what it is compared with, whether that
//!   was fixed in advance, in how many blocks
//! - `overhead_ratio`, `ratio_low`, `ratio_high`: scenario ÷ baseline − 1 and its interval
//! - `p_value`, `adjusted_p_value`, `detectable_ratio`, `margin_ratio`, `verdict`, `reason`:
//!   as in `report.json`
//! - `injected`: what the scenario is known to add, in `unit`
//!
//! What is not known, or belongs to another kind, is an empty field. Values of
//! single trials are in `trials.jsonl` and in `report.json`.

use super::{
    Amplification, Comparison, NoiseFloor, Report, ScenarioReport, Slope, Statistic, Verdict, words,
};
use crate::metric::{Metric, Unit};
use crate::sample::Subject;
use crate::scenario::{BASELINE, TWIN};
use crate::trial::Delivered;

/// The first line.
pub const HEADER: &str = "run,scenario,status,metric,subject,quantile,unit,estimate,low,high,\
                          confidence,coefficient_of_variation,trials,kind,baseline,headline,\
                          blocks,overhead_ratio,ratio_low,ratio_high,p_value,adjusted_p_value,\
                          detectable_ratio,margin_ratio,verdict,reason,injected";

/// The text of `report.csv`, with the line breaks that RFC 4180 allows everywhere (`\n`).
pub fn render(report: &Report) -> String {
    let mut rows: Vec<Row> = Vec::new();
    for scenario in &report.scenarios {
        let statistics = scenario.statistics.iter();
        rows.extend(statistics.map(|statistic| of_statistic(scenario, statistic)));
    }
    rows.extend(report.comparisons.iter().map(|c| of_comparison(report, c)));
    rows.extend(report.noise_floor.iter().map(|f| of_noise(report, f)));
    for scenario in &report.scenarios {
        let ratio = scenario.telemetry_yield_ratio;
        rows.extend(ratio.map(|ratio| of_yield(scenario, ratio)));
    }
    for scenario in &report.scenarios {
        let delivered = scenario.delivered.iter();
        rows.extend(delivered.flat_map(|delivered| of_delivered(scenario, delivered)));
    }
    if let Some(amplification) = &report.amplification {
        let slopes = amplification.slopes.iter();
        rows.extend(slopes.map(|slope| of_slope(report, amplification, slope)));
    }
    let lines = rows.into_iter().map(|row| row.line(report));
    std::iter::once(format!("{HEADER}\n"))
        .chain(lines)
        .collect()
}

/// The fields of a row, in the order of the columns; what is not set is empty.
#[derive(Default)]
struct Row {
    scenario: String,
    status: String,
    figure: Option<(Metric, Subject, Option<f64>)>,
    /// Metric, subject and unit of what is no figure of a trial.
    named: Option<(&'static str, &'static str, &'static str)>,
    /// Estimate and interval, in the metric's unit.
    value: [Option<f64>; 3],
    coefficient_of_variation: Option<f64>,
    trials: String,
    kind: &'static str,
    baseline: String,
    headline: String,
    blocks: String,
    /// Ratio and its interval.
    ratio: [Option<f64>; 3],
    /// Chance, corrected chance, detectable change, margin.
    basis: [Option<f64>; 4],
    verdict: &'static str,
    reason: String,
    injected: Option<f64>,
}

impl Row {
    fn line(self, report: &Report) -> String {
        let (metric, subject, unit) = self
            .figure
            .map(|f| (f.0.as_str(), f.1.as_str(), unit(f.0)))
            .or(self.named)
            .unwrap_or_default();
        let quantile = self.figure.and_then(|f| f.2);
        let mut fields = vec![
            quote(&report.run),
            quote(&self.scenario),
            self.status,
            metric.to_owned(),
            subject.to_owned(),
            number(quantile),
            unit.to_owned(),
        ];
        fields.extend(self.value.map(number));
        fields.push(number(Some(report.confidence)));
        fields.push(number(self.coefficient_of_variation));
        fields.extend([self.trials, self.kind.to_owned(), quote(&self.baseline)]);
        fields.extend([self.headline, self.blocks]);
        fields.extend(self.ratio.map(number));
        fields.extend(self.basis.map(number));
        fields.extend([self.verdict.to_owned(), quote(&self.reason)]);
        fields.push(number(self.injected));
        fields.join(",") + "\n"
    }
}

fn of_statistic(scenario: &ScenarioReport, statistic: &Statistic) -> Row {
    Row {
        scenario: scenario.name.clone(),
        status: words::status(scenario.status).to_owned(),
        figure: Some((statistic.metric, statistic.subject, statistic.quantile)),
        value: [Some(statistic.estimate), statistic.low, statistic.high],
        coefficient_of_variation: statistic.coefficient_of_variation,
        trials: scenario.trials.to_string(),
        kind: "statistic",
        ..Row::default()
    }
}

fn of_yield(scenario: &ScenarioReport, ratio: f64) -> Row {
    Row {
        scenario: scenario.name.clone(),
        status: words::status(scenario.status).to_owned(),
        named: Some(("telemetry_yield_ratio", Subject::Agent.as_str(), "ratio")),
        value: [Some(ratio), None, None],
        trials: scenario.trials.to_string(),
        kind: "telemetry_yield",
        ..Row::default()
    }
}

/// What was sent for each request; nothing can be said where none was served.
fn of_delivered(scenario: &ScenarioReport, delivered: &Delivered) -> Vec<Row> {
    let counts = [
        ("delivered_spans", delivered.spans),
        (
            "delivered_metric_points",
            delivered.metric_points.values().sum(),
        ),
        ("delivered_log_records", delivered.log_records),
        ("delivered_stats_hits", delivered.stats_hits),
        ("delivered_bytes", delivered.bytes),
        (
            "delivered_bodies_refused",
            delivered.rejected.values().sum(),
        ),
    ];
    let served = delivered.served as f64;
    let rows = counts.into_iter().map(|(name, count)| Row {
        scenario: scenario.name.clone(),
        status: words::status(scenario.status).to_owned(),
        named: Some((name, Subject::Agent.as_str(), "per_request")),
        value: [(served > 0.0).then(|| count as f64 / served), None, None],
        trials: scenario.trials.to_string(),
        kind: "delivered",
        ..Row::default()
    });
    rows.collect()
}

fn of_slope(report: &Report, amplification: &Amplification, slope: &Slope) -> Row {
    Row {
        scenario: amplification.scenario.clone(),
        status: status(report, &amplification.scenario),
        named: Some((
            "cpu_seconds_per_request_and_copy",
            slope.of.as_str(),
            "seconds",
        )),
        value: [
            Some(slope.per_copy.estimate),
            slope.per_copy.low,
            slope.per_copy.high,
        ],
        kind: "amplification",
        blocks: amplification.blocks.to_string(),
        ..Row::default()
    }
}

fn of_comparison(report: &Report, comparison: &Comparison) -> Row {
    Row {
        scenario: comparison.scenario.clone(),
        status: status(report, &comparison.scenario),
        figure: Some((comparison.metric, comparison.subject, comparison.quantile)),
        value: [
            Some(comparison.overhead),
            comparison.overhead_low,
            comparison.overhead_high,
        ],
        kind: "comparison",
        baseline: comparison.baseline.clone(),
        headline: comparison.headline.to_string(),
        blocks: comparison.blocks.to_string(),
        ratio: [
            Some(comparison.overhead_ratio),
            comparison.low,
            comparison.high,
        ],
        basis: [
            comparison.p_value,
            comparison.adjusted_p_value,
            comparison.detectable_ratio,
            Some(comparison.margin_ratio),
        ],
        verdict: verdict(comparison.verdict),
        reason: comparison.reason.clone().unwrap_or_default(),
        injected: comparison.injected,
        ..Row::default()
    }
}

fn of_noise(report: &Report, floor: &NoiseFloor) -> Row {
    Row {
        scenario: TWIN.to_owned(),
        status: status(report, TWIN),
        figure: Some((floor.metric, floor.subject, floor.quantile)),
        kind: "noise_floor",
        baseline: BASELINE.to_owned(),
        blocks: floor.blocks.to_string(),
        ratio: [Some(floor.overhead_ratio), floor.low, floor.high],
        basis: [
            floor.p_value,
            floor.adjusted_p_value,
            floor.detectable_ratio,
            None,
        ],
        verdict: verdict(floor.verdict),
        ..Row::default()
    }
}

fn status(report: &Report, name: &str) -> String {
    let scenario = report.scenarios.iter().find(|s| s.name == name);
    scenario.map_or(String::new(), |s| words::status(s.status).to_owned())
}

/// The name in files, without spaces.
fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Higher => "higher",
        Verdict::Lower => "lower",
        Verdict::NoDifference => "no_difference",
        Verdict::Inconclusive => "inconclusive",
    }
}

fn unit(metric: Metric) -> &'static str {
    match metric.unit() {
        Unit::Seconds => "seconds",
        Unit::Bytes => "bytes",
        Unit::Ratio => "ratio",
        Unit::PerSecond => "per_second",
    }
}

pub(crate) fn number(value: Option<f64>) -> String {
    value
        .filter(|v| v.is_finite())
        .map_or(String::new(), |v| v.to_string())
}

/// A text as a field: in quotes where RFC 4180 asks for them, and with a `'` before what a
/// spreadsheet would carry out as a formula, as names may come from elsewhere.
pub(crate) fn quote(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let field = &match formula {
        true => format!("'{field}"),
        false => field.to_owned(),
    };
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn texts_are_quoted_and_no_formulas() {
        assert_eq!(quote("opentelemetry-full"), "opentelemetry-full");
        assert_eq!(quote("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(quote("=HYPERLINK(1,2)"), "\"'=HYPERLINK(1,2)\"");
        for start in ["+", "-", "@", "\t"] {
            assert!(quote(&format!("{start}1")).starts_with('\''));
        }
        assert_eq!(quote("\r1"), "\"'\r1\"");
    }
}
