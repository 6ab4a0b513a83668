//! Bencher Metric Format: `{benchmark: {measure: {value, lower_value, upper_value}}}`.
//!
//! A benchmark is a scenario and whose figure it is, a measure is a metric, so
//! that one threshold holds for a metric wherever it occurs.
//! <https://bencher.dev/docs/reference/bencher-metric-format>

use std::collections::BTreeMap;

use serde::Serialize;

use super::{figures, name};
use crate::report::Report;

/// Every benchmark's measures.
pub type Benchmarks = BTreeMap<String, BTreeMap<String, Measure>>;

/// A value, and its interval where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measure {
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lower_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upper_value: Option<f64>,
}

/// The value of the JSON file.
pub fn benchmarks(report: &Report) -> Benchmarks {
    let mut benchmarks = Benchmarks::new();
    for figure in figures(report) {
        let statistic = figure.statistic;
        let benchmark = format!("{}/{}", figure.scenario.name, statistic.subject);
        let measures = benchmarks.entry(benchmark).or_default();
        // Their names are kebab case, and a quantile's point would part it.
        let name = name(statistic.metric, statistic.quantile).replace(['_', '.'], "-");
        if let Some(comparison) = figure.comparison {
            let overhead = measure(comparison.overhead_ratio, comparison.low, comparison.high);
            measures.insert(format!("{name}-overhead-ratio"), overhead);
        }
        let plain = measure(statistic.estimate, statistic.low, statistic.high);
        measures.insert(name, plain);
    }
    benchmarks
}

fn measure(value: f64, low: Option<f64>, high: Option<f64>) -> Measure {
    Measure {
        value,
        lower_value: low.filter(|v| v.is_finite()),
        upper_value: high.filter(|v| v.is_finite()),
    }
}
