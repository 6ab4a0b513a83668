//! The Go benchmark format: a line per trial that counts and per subject.
//!
//! The form is that of `go test -bench` with unit metadata
//! (<https://golang.org/design/14313-benchmark-format>), which benchstat reads.
//! Scenario and subject are sub-name keys, so that
//! `benchstat -col /scenario@(baseline flora) FILE` sets two arms side by side.

use std::fmt::Write;

use super::{is_exported, one_word};
use crate::metric::Metric;
use crate::report::{Report, ScenarioReport, ScenarioStatus, format};
use crate::sample::Subject;
use crate::trial::{TrialRecord, TrialStatistic, TrialStatus};

/// The text. benchstat computes its own medians and tests from it; its test
/// takes trials for independent, while blocks make them pairs.
pub fn render(report: &Report) -> String {
    let machine = &report.fingerprint.machine;
    // A comment: as a key it would keep benchstat from setting two runs side by side.
    let mut text = format!(
        "# flora-bench {}, {}\ngoos: linux\ngoarch: {}\npkg: flora-bench\ncpu: {}\n",
        line(&report.run),
        line(&report.started),
        architecture(),
        line(&machine.cpu_model),
    );
    let mut units: Vec<String> = Vec::new();
    let mut lines = String::new();
    for trial in &report.trials {
        let ok = |s: &&ScenarioReport| s.name == trial.arm && s.status == ScenarioStatus::Ok;
        let Some(scenario) = report.scenarios.iter().find(ok) else {
            continue;
        };
        if trial.status == TrialStatus::Valid {
            result_lines(report, scenario, trial, &mut lines, &mut units);
        }
    }
    for unit in units {
        let _ = writeln!(text, "Unit {unit} better=lower");
    }
    text + "\n" + &lines
}

fn result_lines(
    report: &Report,
    scenario: &ScenarioReport,
    trial: &TrialRecord,
    text: &mut String,
    units: &mut Vec<String>,
) {
    let cpus = report
        .fingerprint
        .cpu_sets
        .get("target")
        .map_or(1, Vec::len);
    for subject in Subject::RESULTS {
        let of_subject = trial
            .analysis
            .statistics
            .iter()
            .filter(|s| s.subject == subject && is_exported(scenario, s.metric, s.subject))
            .filter(|s| scaled(s).is_finite());
        let values: Vec<(f64, String)> = of_subject.map(|s| (scaled(s), unit(s))).collect();
        if values.is_empty() {
            continue;
        }
        let _ = write!(
            text,
            "BenchmarkScenario/scenario={}/of={subject}-{} {}",
            one_word(&scenario.name),
            cpus.max(1),
            trial.analysis.requests.max(1),
        );
        for (value, unit) in values {
            let _ = write!(text, " {value} {unit}");
            if !units.contains(&unit) {
                units.push(unit);
            }
        }
        text.push('\n');
    }
}

/// Times in nanoseconds, which benchstat prints with a prefix that fits.
fn scaled(statistic: &TrialStatistic) -> f64 {
    match statistic.metric.unit() {
        crate::metric::Unit::Seconds => statistic.value * 1e9,
        _ => statistic.value,
    }
}

fn unit(statistic: &TrialStatistic) -> String {
    match statistic.metric {
        Metric::CpuSecondsPerRequest => "cpu-ns/op".to_owned(),
        Metric::MemoryWorkingSetBytes => "working-set-bytes".to_owned(),
        Metric::MemoryPeakBytes => "peak-bytes".to_owned(),
        Metric::RequestDurationSeconds => {
            let quantile = statistic.quantile.unwrap_or(0.5);
            format!("{}-ns", format::quantile(quantile))
        }
        Metric::StartupSeconds => "startup-ns".to_owned(),
        other => other.as_str().to_owned(),
    }
}

fn line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Go's name of the architecture that this program was built for. The records
/// don't hold it; a program runs where it was built for.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
