//! Prometheus text with timestamps: a run's readings and figures as time series.
//!
//! VictoriaMetrics takes it at `/api/v1/import/prometheus`; the dashboards of
//! `deploy/monitoring` ask for these names. Readings keep the names that the
//! exporter gives them, with the labels `run` and `arm`. Figures are
//! `flora_bench_…`, one value for each trial that counts, at the end of its
//! window; overheads stand at the end of the run.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use crate::export;
use crate::exporter::{self, Exposed};
use crate::record::Records;
use crate::report::Report;
use crate::sample::{Phase, Subject};
use crate::trial::{TrialRecord, TrialStatus};

/// Values of one series family: rendered labels, value, milliseconds since the epoch.
type Values = Vec<(String, f64, i64)>;

/// Everything of a run, and its report, that has a place in time.
pub fn render(records: &Records, report: &Report) -> String {
    let epoch = epoch(records, report);
    let mut text = exporter::render(&readings(records, &report.run, epoch));
    for (name, mut values) in figures(records, report, epoch) {
        // The order of a series is that of its values; the rest is for whoever reads it.
        values.sort_by(|a, b| (&a.0, a.2).cmp(&(&b.0, b.2)));
        let _ = writeln!(text, "# TYPE {name} gauge");
        for (labels, value, unix_ms) in values {
            let _ = writeln!(text, "{name}{{{labels}}} {value} {unix_ms}");
        }
    }
    text
}

/// The raw readings of every trial.
fn readings(records: &Records, run: &str, epoch: f64) -> Vec<Exposed> {
    let trials: HashMap<u32, &TrialRecord> = records
        .trials
        .iter()
        .map(|trial| (trial.trial, trial))
        .collect();
    let moments = records
        .samples
        .chunk_by(|a, b| (a.trial, a.subject) == (b.trial, b.subject) && a.time == b.time);
    let mut all = Vec::new();
    for moment in moments {
        let Some(trial) = trials.get(&moment[0].trial) else {
            continue;
        };
        let mut labels = vec![("run", run.to_owned())];
        // The machine's own readings are nobody's, though each trial has them.
        if is_of_an_arm(moment[0].subject) {
            labels.push(("arm", trial.arm.clone()));
        }
        all.extend(
            exporter::readings(moment, epoch)
                .into_iter()
                .map(|mut one| {
                    one.labels.extend(labels.iter().cloned());
                    one
                }),
        );
    }
    all
}

fn is_of_an_arm(subject: Subject) -> bool {
    matches!(
        subject,
        Subject::Target | Subject::Agent | Subject::Load | Subject::Intake
    )
}

/// Seconds since the epoch at which the run's clock stood at 0.
///
/// Trials that take turns have no window of their own; then it is the moment
/// that the run gives as its start, which is a whole second.
fn epoch(records: &Records, report: &Report) -> f64 {
    let exact = records.trials.iter().find_map(|trial| {
        let (opened, _) = trial.window_unix?;
        Some(opened - measured(trial)?.0)
    });
    exact.unwrap_or_else(|| {
        let started = humantime::parse_rfc3339(&report.started).ok();
        let since = started.and_then(|started| started.duration_since(UNIX_EPOCH).ok());
        since.map_or(0.0, |since| since.as_secs_f64())
    })
}

/// When a trial's window opened and closed, on the run's clock.
fn measured(trial: &TrialRecord) -> Option<(f64, f64)> {
    let mut spans = trial.phases.iter();
    let span = spans.find(|span| span.phase == Phase::Measure)?;
    Some((span.start, span.end))
}

/// The figures of trials, and of the whole run, by name.
fn figures(records: &Records, report: &Report, epoch: f64) -> BTreeMap<String, Values> {
    let run = &report.run;
    let mut families: BTreeMap<String, Values> = BTreeMap::new();
    let mut show = |name: String, labels: &[(&str, &str)], value: f64, at: f64| {
        if value.is_finite() {
            let unix_ms = (at * 1e3).round() as i64;
            families
                .entry(format!("flora_bench_{name}"))
                .or_default()
                .push((text(labels), value, unix_ms));
        }
    };
    let mut ended: f64 = 0.0;
    for trial in &records.trials {
        let Some((_, closed)) = measured(trial) else {
            continue;
        };
        let closed = epoch + closed;
        ended = ended.max(closed);
        let of = [("run", run.as_str()), ("arm", trial.arm.as_str())];
        let valid = trial.status == TrialStatus::Valid;
        show("trial_valid".into(), &of, f64::from(valid), closed);
        if !valid {
            continue;
        }
        for statistic in &trial.analysis.statistics {
            let quantile = statistic.quantile.map(|q| q.to_string());
            let mut labels = of.to_vec();
            labels.push(("subject", statistic.subject.as_str()));
            labels.extend(quantile.as_deref().map(|q| ("quantile", q)));
            show(
                statistic.metric.as_str().into(),
                &labels,
                statistic.value,
                closed,
            );
        }
        if let Some(ratio) = trial.analysis.telemetry.and_then(|t| t.ratio()) {
            show("telemetry_yield_ratio".into(), &of, ratio, closed);
        }
    }
    for comparison in &report.comparisons {
        let metric = export::name(comparison.metric, comparison.quantile);
        let bounds = [
            ("estimate", Some(comparison.overhead_ratio)),
            ("low", comparison.low),
            ("high", comparison.high),
        ];
        for (bound, value) in bounds {
            let labels = [
                ("run", run.as_str()),
                ("arm", comparison.scenario.as_str()),
                ("baseline", comparison.baseline.as_str()),
                ("metric", metric.as_str()),
                ("subject", comparison.subject.as_str()),
                ("bound", bound),
            ];
            if let Some(value) = value {
                show("overhead_ratio".into(), &labels, value, ended);
            }
        }
    }
    families
}

fn text(labels: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={}", exporter::label_value(value)))
        .collect();
    pairs.join(",")
}
