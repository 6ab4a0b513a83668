//! The words of a report: names of things, and the sentences that every output repeats.

use super::format::{self, Estimate};
use super::{Comparison, Report, ScenarioReport, ScenarioStatus, Statistic, Verdict};
use crate::metric::Metric;
use crate::plan::{LoadDriver, RateSource};
use crate::sample::Subject;
use crate::trial::{Check, Ledger, Severity, TrialRecord, TrialStatus};

/// What a reader calls a subject.
pub fn subject(subject: Subject) -> &'static str {
    match subject {
        Subject::Load => "load driver",
        Subject::VictoriaMetrics => "VictoriaMetrics",
        other => other.as_str(),
    }
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
    };
    match quantile {
        Some(quantile) => format!("{name} {}", format::quantile(quantile)),
        None => name.to_owned(),
    }
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

/// An interval with its level and the number of trials behind it.
fn basis(report: &Report, interval: Option<String>, trials: u32) -> String {
    match interval {
        Some(interval) => {
            format!(
                "{interval}, {}, {}",
                confidence(report),
                self::trials(trials)
            )
        }
        None => format!("{}, so no interval", self::trials(trials)),
    }
}

/// The level of the intervals: `95 %`.
pub fn confidence(report: &Report) -> String {
    format!("{} %", (report.confidence * 1e4).round() / 1e2)
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
    if let Some(ratio) = scenario.telemetry_yield_ratio {
        text += &format!(
            " · telemetry accounts for {} of them",
            format::percent(ratio)
        );
    }
    text
}

/// What the noise floor says, a sentence per entry.
pub fn noise_floor(report: &Report) -> Vec<String> {
    let sentence = |floor: &super::NoiseFloor| {
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

/// Whether a ledger closes, and what is left over.
pub fn ledger(ledger: &Ledger) -> String {
    let rest = share(ledger.remainder_ratio);
    if ledger.closes() {
        let roles = share(1.0 - ledger.remainder_ratio);
        format!(
            "The ledger closes: {roles} of the machine's busy time belongs to a role; {rest} \
             (kernel threads, other processes, interrupts) belongs to none."
        )
    } else {
        format!(
            "The ledger does not close: the roles and the remainder ({rest}) do not add up to the \
             machine's busy time."
        )
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

/// How many trials of the run count: `5 of 6 trials count.`
pub fn counted(report: &Report) -> String {
    let all = report.trials.len();
    let valid = report
        .trials
        .iter()
        .filter(|t| t.status == TrialStatus::Valid)
        .count();
    format!(
        "{valid} of {} {}.",
        trials(all as u32),
        if valid == 1 { "counts" } else { "count" }
    )
}

/// Why a trial does not count; none when it does.
pub fn not_counted(trial: &TrialRecord) -> Option<String> {
    let (arm, number, block) = (&trial.arm, trial.trial, trial.block);
    let what = match trial.status {
        TrialStatus::Valid => return None,
        TrialStatus::Invalid => "does not count",
        TrialStatus::Failed => "failed",
    };
    let failed = trial
        .analysis
        .checks
        .iter()
        .filter(|c| !c.passed && c.severity == Severity::Invalidates);
    let mut reasons: Vec<String> = failed.map(check).collect();
    reasons.extend(trial.error.clone());
    let reasons = if reasons.is_empty() {
        "no reason was recorded".to_owned()
    } else {
        reasons.join("; ")
    };
    Some(format!(
        "trial {number} ({arm}, block {block}) {what}: {reasons}"
    ))
}

/// A trial's failed checks that only warn.
pub fn warnings(trial: &TrialRecord) -> impl Iterator<Item = String> {
    let warns = |c: &&Check| !c.passed && c.severity == Severity::Warns;
    trial
        .analysis
        .checks
        .iter()
        .filter(warns)
        .map(|c| format!("trial {} ({}): {}", trial.trial, trial.arm, check(c)))
}

fn check(check: &Check) -> String {
    format!("{}: {}", check.name, check.detail)
}

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
    for scenario in &report.scenarios {
        command += &format!(" {}", quote(&scenario.name));
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

/// A word that a POSIX shell reads back as it is.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
