//! What a run found, in sentences: the finding and its interval first, then what to bear in mind.

use super::{confidence, estimate, metric, statistic, subject};
use crate::metric::Metric;
use crate::report::{
    Comparison, NoiseFloor, Report, ScenarioReport, ScenarioStatus, Verdict, format,
};
use crate::sample::Subject;

/// What the run found, most important first: a sentence each.
pub fn headlines(report: &Report) -> Vec<String> {
    let usable = || {
        let ok = |s: &&ScenarioReport| s.status == ScenarioStatus::Ok;
        report.scenarios.iter().filter(ok)
    };
    let costs = usable()
        .filter(|s| main_comparison(report, &s.name).is_none())
        .filter_map(|s| cost(report, s));
    let changes = usable()
        .filter_map(|s| main_comparison(report, &s.name))
        .map(|comparison| overhead(report, comparison));
    let unusable = report
        .scenarios
        .iter()
        .filter(|s| s.status != ScenarioStatus::Ok)
        .map(|s| format!("{}: {}", s.name, no_figures(s)));
    let found: Vec<String> = costs.chain(changes).chain(unusable).collect();
    if found.is_empty() {
        vec!["This run has no figures.".to_owned()]
    } else {
        found
    }
}

/// Why a scenario has no figures that can be used.
pub fn no_figures(scenario: &ScenarioReport) -> String {
    let what = match scenario.status {
        ScenarioStatus::Ok => "measured",
        ScenarioStatus::Invalid => "the figures can't be used",
        ScenarioStatus::Failed => "no trial could be carried out",
        ScenarioStatus::Unsupported => "it can't run here",
    };
    match &scenario.reason {
        Some(reason) => format!("{what} ({reason})"),
        None => what.to_owned(),
    }
}

/// An interval with its level and the number of trials behind it.
fn basis(report: &Report, interval: Option<String>, trials: u32) -> String {
    match interval {
        Some(interval) => {
            format!(
                "{interval}, {}, {}",
                confidence(report),
                super::trials(trials)
            )
        }
        None => format!("{}, so no interval", super::trials(trials)),
    }
}

fn cost(report: &Report, scenario: &ScenarioReport) -> Option<String> {
    let target = estimate(statistic(
        scenario,
        Metric::CpuSecondsPerRequest,
        Subject::Target,
    )?);
    let whose = if report.scenarios.len() > 1 {
        format!("{}: one", scenario.name)
    } else {
        "One".to_owned()
    };
    let agent = statistic(scenario, Metric::CpuSecondsPerRequest, Subject::Agent).map(estimate);
    let agent = agent.map_or(String::new(), |a| {
        format!(
            ", and the agent {} ({})",
            a.point,
            basis(report, a.interval, scenario.trials)
        )
    });
    Some(format!(
        "{whose} request costs the target {} of CPU ({}){agent}",
        target.point,
        basis(report, target.interval, scenario.trials)
    ))
}

/// The comparison that says what a scenario costs: target and agent together, or the target alone.
fn main_comparison<'a>(report: &'a Report, scenario: &str) -> Option<&'a Comparison> {
    let of = |subject| {
        report.comparisons.iter().find(move |c| {
            c.scenario == scenario
                && c.metric == Metric::CpuSecondsPerRequest
                && c.subject == subject
        })
    };
    of(Subject::Total).or_else(|| of(Subject::Target))
}

fn overhead(report: &Report, comparison: &Comparison) -> String {
    let Comparison {
        scenario,
        baseline,
        metric,
        subject,
        ..
    } = comparison;
    let change = format::change(comparison.overhead_ratio, comparison.low, comparison.high);
    let point = |name: &str| {
        let of = |subject| {
            let scenario = report.scenarios.iter().find(|s| s.name == name)?;
            Some(statistic(scenario, *metric, subject)?.estimate)
        };
        // Without an agent, the target is all there is.
        of(*subject).or_else(|| of(Subject::Target))
    };
    let trials = report
        .scenarios
        .iter()
        .find(|s| s.name == *scenario)
        .map_or(0, |s| s.trials);
    let basis = basis(report, change.interval.clone(), trials);
    let added = point(scenario)
        .zip(point(baseline))
        .map(|(with, without)| with - without);
    let amount = added.map_or(change.point.clone(), |added| {
        format!("{}, {}", format::value(*metric, added.abs()), change.point)
    });
    match comparison.verdict {
        Verdict::Higher => {
            format!("{scenario} costs more CPU per request than {baseline}: {amount} ({basis})")
        }
        Verdict::Lower => {
            format!("{scenario} costs less CPU per request than {baseline}: {amount} ({basis})")
        }
        Verdict::NoDifference => {
            format!(
                "{scenario} costs as much CPU per request as {baseline}: {} ({basis})",
                change.point
            )
        }
        Verdict::Inconclusive => format!(
            "{scenario} against {baseline}: too noisy to tell, CPU per request {} ({basis})",
            change.point
        ),
    }
}

/// What a reader must bear in mind before quoting a figure.
pub fn caution(report: &Report) -> String {
    let mut text = format!(
        "These figures hold for this machine, this target and {} requests per second; another \
         machine or a request with more or less work in it costs something else.",
        format::number(
            report.request_rate,
            if report.request_rate < 10.0 { 1 } else { 0 }
        )
    );
    if report.fingerprint.machine.virtualised {
        text += " It is a virtual machine, so neighbours may have taken part.";
    }
    if report
        .scenarios
        .iter()
        .any(|s| s.status == ScenarioStatus::Ok && s.trials < 2)
    {
        text +=
            " A single trial has no interval: it says nothing about how far the next one may lie.";
    }
    text
}

/// What the noise floor says, a sentence per entry.
pub fn noise_floor(report: &Report) -> Vec<String> {
    let sentence = |floor: &NoiseFloor| {
        let change = format::change(floor.overhead_ratio, floor.low, floor.high);
        let interval = change.interval.map_or(String::new(), |i| format!(" ({i})"));
        let detectable = floor.detectable_ratio.map_or(String::new(), |ratio| {
            format!(
                "; this run can't see changes below {}",
                format::change(ratio, None, None)
                    .point
                    .trim_start_matches('+')
            )
        });
        format!(
            "Two identical baselines differ by {}{interval} in {} of the {}{detectable}",
            change.point.trim_start_matches('+'),
            lower_first(&metric(floor.metric, None)),
            subject(floor.subject)
        )
    };
    report.noise_floor.iter().map(sentence).collect()
}

fn lower_first(text: &str) -> String {
    // Abbreviations such as CPU stay as they are.
    if text.starts_with("CPU") {
        text.to_owned()
    } else {
        text.to_lowercase()
    }
}
