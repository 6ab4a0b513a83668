//! How to measure the same again.

use std::time::Duration;

use super::driver;
use crate::experiment::Question;
use crate::plan::RateSource;
use crate::report::{Report, ScenarioReport, ScenarioStatus, format};
use crate::scenario::TWIN;

/// Where the offered rate comes from.
pub fn rate_source(report: &Report) -> String {
    match (report.load.rate_source, report.load.capacity) {
        (RateSource::Given, _) => "given".to_owned(),
        (RateSource::Calibrated, Some(capacity)) => format!(
            "found from the baseline's capacity of {} requests per second",
            format::number(capacity, 0)
        ),
        (RateSource::Calibrated, None) => "found from the baseline's capacity".to_owned(),
    }
}

/// The command that measures the same again.
pub fn command(report: &Report) -> String {
    let blocks = report.trials.iter().map(|t| t.block).max();
    let planned = report.scenarios.iter().map(|s| s.planned_trials).max();
    let mut command = String::from("flora-bench scenario");
    // Its twin comes with the baseline, the arms with more copies from the option.
    let named = |s: &&ScenarioReport| {
        s.status != ScenarioStatus::Unsupported && s.name != TWIN && !s.is_amplified()
    };
    for scenario in report.scenarios.iter().filter(named) {
        command += &format!(" {}", quote(&scenario.name));
    }
    let copies = report.amplification.as_ref().and_then(|a| a.copies.last());
    if let Some(copies) = copies {
        command += &format!(" --amplify {copies}");
    }
    if let Some(experiment) = &report.experiment {
        command += &format!(" --experiment {}", experiment.question.as_str());
        if let Question::CpuLimit { cores, .. } = experiment.question {
            command += &format!(" --cpu-limit {cores}");
        }
        if let Some(bound) = experiment.latency_bound_seconds() {
            command += &format!(" --latency-bound {}", words(bound));
        }
    }
    if let Some(blocks) = planned.max(blocks).filter(|blocks| *blocks > 0) {
        command += &format!(" --blocks {blocks}");
    }
    for (option, value, unit) in [
        ("rate", report.request_rate, ""),
        ("warmup", report.warmup_seconds, "s"),
        ("measure", report.measure_seconds, "s"),
    ] {
        if value.is_finite() {
            command += &format!(" --{option} {value}{unit}");
        }
    }
    let driver = driver(report.load.driver);
    command + &format!(" --seed {} --load {driver}", report.seed)
}

/// A length of time as options take it.
fn words(seconds: f64) -> String {
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    humantime::format_duration(duration)
        .to_string()
        .replace(' ', "")
}

/// A word that a POSIX shell reads back as it is.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(
            quote("opentelemetry-full-traces"),
            "opentelemetry-full-traces"
        );
        assert_eq!(quote("it's; rm"), r"'it'\''s; rm'");
        assert_eq!(quote(""), "''");
    }
}
