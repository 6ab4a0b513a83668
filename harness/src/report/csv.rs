//! `Report` → CSV in long form: one row per scenario, metric, subject and quantile.
//!
//! # Columns
//! - `run`, `scenario`, `status`: whose figure it is, and whether it can be used
//! - `metric`, `subject`, `quantile`: what it is; `quantile` is empty where there is none
//! - `unit`: `seconds`, `bytes`, `ratio` (0–1) or `per_second`
//! - `estimate`, `low`, `high`: mean over trials and its interval, in `unit`, unrounded
//! - `confidence`: level of the interval, 0–1
//! - `coefficient_of_variation`: standard deviation over trials ÷ mean
//! - `trials`: trials that count
//!
//! What is not known is an empty field. Values of single trials are in
//! `trials.jsonl` and in `report.json`.

use super::{Report, ScenarioReport, Statistic, words};
use crate::metric::Unit;

/// The first line.
pub const HEADER: &str = "run,scenario,status,metric,subject,quantile,unit,estimate,low,high,\
                          confidence,coefficient_of_variation,trials";

/// The text of `report.csv`, with the line breaks that RFC 4180 allows everywhere (`\n`).
pub fn render(report: &Report) -> String {
    let mut text = format!("{HEADER}\n");
    for scenario in &report.scenarios {
        for statistic in &scenario.statistics {
            text += &row(report, scenario, statistic);
        }
    }
    text
}

fn row(report: &Report, scenario: &ScenarioReport, statistic: &Statistic) -> String {
    let unit = match statistic.metric.unit() {
        Unit::Seconds => "seconds",
        Unit::Bytes => "bytes",
        Unit::Ratio => "ratio",
        Unit::PerSecond => "per_second",
    };
    let fields = [
        quote(&report.run),
        quote(&scenario.name),
        words::status(scenario.status).to_owned(),
        statistic.metric.as_str().to_owned(),
        statistic.subject.as_str().to_owned(),
        number(statistic.quantile),
        unit.to_owned(),
        number(Some(statistic.estimate)),
        number(statistic.low),
        number(statistic.high),
        number(Some(report.confidence)),
        number(statistic.coefficient_of_variation),
        scenario.trials.to_string(),
    ];
    fields.join(",") + "\n"
}

fn number(value: Option<f64>) -> String {
    value
        .filter(|v| v.is_finite())
        .map_or(String::new(), |v| v.to_string())
}

/// A field in quotes where RFC 4180 asks for them.
fn quote(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
