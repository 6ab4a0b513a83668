//! The custom format of github-action-benchmark, with `tool: customSmallerIsBetter`.
//!
//! Units are fixed, because the action draws one line through all of history.
//! Overheads are in `extra` only: the action alerts when a value grows by a
//! factor, and a factor of something near zero means nothing.

use serde::Serialize;

use super::{figures, name};
use crate::metric::Unit;
use crate::report::{Report, format, words};

/// One point of the action's history.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    name: String,
    unit: &'static str,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<String>,
    extra: String,
}

/// The value of the JSON file.
pub fn points(report: &Report) -> Vec<Point> {
    figures(report)
        .map(|figure| {
            let statistic = figure.statistic;
            let (divisor, unit) = match statistic.metric.unit() {
                Unit::Seconds => (1e-6, "µs"),
                Unit::Bytes => (1024.0 * 1024.0, "MiB"),
                Unit::Ratio => (0.01, "%"),
                Unit::PerSecond => (1.0, "/s"),
            };
            let interval = statistic.low.zip(statistic.high);
            let range = interval.map(|(low, high)| {
                let (low, high) = (low / divisor, high / divisor);
                format!("{low:.4} to {high:.4}")
            });
            let mut extra = vec![
                format!("run: {}", report.run),
                format!("trials: {}", figure.scenario.trials),
                format!("range: {} interval", words::confidence(report)),
                format!("CPU: {}", report.fingerprint.machine.cpu_model),
            ];
            if let Some(c) = figure.comparison {
                let change = format::change(c.overhead_ratio, c.low, c.high);
                let interval = change.interval.map_or(String::new(), |i| format!(" ({i})"));
                extra.push(format!(
                    "over {}: {}{interval}, {}",
                    c.baseline,
                    change.point,
                    words::verdict(c.verdict)
                ));
            }
            Point {
                name: format!(
                    "{}/{} {}",
                    figure.scenario.name,
                    statistic.subject,
                    name(statistic.metric, statistic.quantile)
                ),
                unit,
                value: statistic.estimate / divisor,
                range,
                extra: extra.join("\n"),
            }
        })
        .filter(|point| point.value.is_finite())
        .collect()
}
