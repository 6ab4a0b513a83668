//! What an experiment asked and found, in sentences.

use super::{confidence, estimate, statistic, trials};
use crate::experiment::{Experiment, Question, Step};
use crate::metric::Unit;
use crate::report::{Report, ScenarioReport, format};
use crate::sample::Subject;
use crate::trial::{TrialRecord, TrialStatus};

/// An experiment as a heading.
pub fn experiment_title(experiment: &Experiment) -> String {
    match experiment.question {
        Question::CpuLimit { cores, .. } => format!("What {} sustain", cpus(cores)),
        Question::MemoryLimit => "How little memory is survived".to_owned(),
        Question::Saturation { .. } => "Up to saturation".to_owned(),
    }
}

/// What each trial searched for, and how sure it was.
pub fn searched(report: &Report, experiment: &Experiment) -> String {
    let within = format::level(experiment.search.resolution_ratio);
    let window = format::duration(report.measure_seconds);
    let what = match experiment.question {
        Question::CpuLimit {
            cores,
            latency_bound_seconds,
        } => format!(
            "the highest rate that a target with {} sustains: {}",
            cpus(cores),
            sustained(latency_bound_seconds)
        ),
        Question::Saturation {
            latency_bound_seconds,
        } => format!(
            "the highest rate that the target sustains: {}",
            sustained(latency_bound_seconds)
        ),
        Question::MemoryLimit => format!(
            "the smallest memory limit under which a fresh target answers {} requests per second: at least 99 % of them, without a failure, and without the kernel ending one of its processes",
            format::number(report.request_rate, 0)
        ),
    };
    let whose = match experiment.question {
        Question::Saturation { .. } => "",
        _ => " The limit is the target's alone; an agent beside it keeps to none.",
    };
    format!(
        "Every trial searched for {what}. Steps of {window}; what failed was tried again before it counted; found within {within}.{whose}"
    )
}

fn sustained(latency_bound_seconds: f64) -> String {
    format!(
        "at least 99 % answered, no failure, p99 at most {}",
        format::quantity(Unit::Seconds, latency_bound_seconds)
    )
}

/// `0.5 CPUs`, `1 CPU`.
fn cpus(cores: f64) -> String {
    if cores == 1.0 {
        "1 CPU".to_owned()
    } else {
        format!("{cores} CPUs")
    }
}

/// What an arm's searches found, for arms that are compared with nothing.
pub fn found(report: &Report, scenario: &ScenarioReport) -> Option<String> {
    let experiment = report.experiment.as_ref()?;
    let found = statistic(scenario, experiment.metric(), Subject::Target)?;
    let estimate = estimate(found);
    let counted = trials(scenario.trials);
    let basis = match estimate.interval {
        Some(interval) => format!("{interval}, {}, {counted}", confidence(report)),
        None => format!("{counted}, so no interval"),
    };
    let (name, point) = (&scenario.name, estimate.point);
    Some(match experiment.question {
        Question::CpuLimit { cores, .. } => {
            format!(
                "{name}: the target sustains {point} with {} ({basis})",
                cpus(cores)
            )
        }
        Question::Saturation { .. } => format!("{name}: the target sustains {point} ({basis})"),
        Question::MemoryLimit => {
            format!("{name}: the target survives the load with {point} ({basis})")
        }
    })
}

/// What became of the target just beyond what it held, in each arm's last trial that counts.
pub fn beyond(report: &Report) -> Vec<String> {
    let Some(experiment) = &report.experiment else {
        return Vec::new();
    };
    let arms = report.scenarios.iter();
    let last = arms.filter_map(|scenario| {
        let own =
            |trial: &&TrialRecord| trial.arm == scenario.name && trial.status == TrialStatus::Valid;
        report.trials.iter().rev().find(own)
    });
    last.filter_map(|trial| beyond_in(experiment, trial))
        .collect()
}

fn beyond_in(experiment: &Experiment, trial: &TrialRecord) -> Option<String> {
    let metric = experiment.metric();
    let held = trial.analysis.value(metric, Subject::Target)?;
    let away = |step: &Step| (step.value / held).ln().abs();
    let steps = &trial.analysis.steps;
    // What failed once and then passed was noise.
    let passed = |value| steps.iter().any(|step| step.passed && step.value == value);
    let failed = steps.iter().filter(|step| !passed(step.value));
    // The last of equals: the one that decided.
    let nearest = failed.min_by(|a, b| away(a).total_cmp(&away(b)).then(b.step.cmp(&a.step)))?;
    Some(format!(
        "{}, trial {}: {} was held, {} was not: {}",
        trial.arm,
        trial.trial,
        format::value(metric, held),
        format::value(metric, nearest.value),
        nearest
            .reason
            .as_deref()
            .unwrap_or("no reason was recorded")
    ))
}
