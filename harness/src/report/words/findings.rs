//! What a run found, in sentences: the verdicts and their intervals first, then what to bear in mind.

use super::{claim, confidence, estimate, statistic};
use crate::metric::Metric;
use crate::report::claims::{self, Claim};
use crate::report::{
    Comparison, DriftReport, NoiseFloor, Report, ScenarioReport, ScenarioStatus, Verdict, format,
};
use crate::sample::{Phase, Subject};
use crate::scenario::TWIN;

/// A drift that chance alone explains less often than this is told.
const DRIFT_P_MAX: f64 = 0.05;

/// What the run found of one arm.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The sentence that says most.
    pub main: String,
    /// Further sentences about the same arm.
    pub further: Vec<String>,
    /// Whether it is a verdict; if not, it is what surrounds them.
    pub verdict: bool,
}

/// What the run found, most important first: an arm's verdicts, then arms without figures, then the
/// baseline's own cost.
pub fn findings(report: &Report) -> Vec<Finding> {
    let alone = |main: String| Finding {
        main,
        further: Vec::new(),
        verdict: false,
    };
    let usable = |s: &&ScenarioReport| s.status == ScenarioStatus::Ok;
    let compared = |s: &ScenarioReport| !claims::of_scenario(report, s).is_empty();
    let used = |s: &&ScenarioReport| !s.is_amplified();
    let arms = report.scenarios.iter().filter(usable).filter(used);
    let verdicts = arms.filter_map(|s| {
        let mut sentences = claims::of_scenario(report, s)
            .into_iter()
            .map(|comparison| verdict(report, comparison))
            // A cost is only half of what a reader must know of an agent.
            .chain(
                super::accounted(s)
                    .map(|accounted| format!("{}: its telemetry accounts for {accounted}", s.name)),
            );
        Some(Finding {
            main: sentences.next()?,
            further: sentences.collect(),
            verdict: true,
        })
    });
    let unusable = report
        .scenarios
        .iter()
        .filter(|s| s.status != ScenarioStatus::Ok)
        .map(|s| alone(format!("{}: {}", s.name, no_figures(s))));
    let costs = report
        .scenarios
        .iter()
        .filter(usable)
        .filter(|s| s.name != TWIN && !compared(s) && !s.is_amplified())
        .filter_map(|s| super::found(report, s).or_else(|| cost(report, s)))
        .map(alone);
    // Who amplifies asks for this, and the ordinary comparison stands beside it.
    let amplified = report.amplification.iter().filter_map(|amplification| {
        let mut sentences = super::amplified(report, amplification).into_iter();
        Some(Finding {
            main: sentences.next()?,
            further: sentences.collect(),
            verdict: true,
        })
    });
    let found: Vec<Finding> = amplified
        .chain(verdicts)
        .chain(unusable)
        .chain(costs)
        .collect();
    if found.is_empty() {
        vec![alone("This run has no figures.".to_owned())]
    } else {
        found
    }
}

/// The same, every sentence in a row.
pub fn headlines(report: &Report) -> Vec<String> {
    let flat = |finding: Finding| std::iter::once(finding.main).chain(finding.further);
    findings(report).into_iter().flat_map(flat).collect()
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

/// The verdict on one arm and one figure, with everything that it rests on.
fn verdict(report: &Report, comparison: &Comparison) -> String {
    let Comparison {
        scenario, metric, ..
    } = comparison;
    let what = claim(Claim::of(comparison));
    let change = format::change(comparison.overhead_ratio, comparison.low, comparison.high);
    let size = comparison.overhead.abs();
    let ends = |low: Option<f64>, high: Option<f64>| match comparison.overhead < 0.0 {
        true => (high.map(|v| -v), low.map(|v| -v)),
        false => (low, high),
    };
    let (low, high) = ends(comparison.overhead_low, comparison.overhead_high);
    let amount = format::unsigned(&format::difference(metric.unit(), size, low, high).point);
    let basis = format!(
        "{}, {}",
        change.point,
        over_blocks(report, change.interval, comparison.blocks)
    );
    let mut seen = comparison.detectable_ratio.map_or(String::new(), |ratio| {
        format!("; this run could have seen {}", small(ratio))
    });
    if let Some(injected) = comparison.injected {
        let amount = format::difference(metric.unit(), injected, None, None).point;
        seen += &match injected {
            0.0 => "; nothing was injected".to_owned(),
            _ => format!("; {} were injected", format::unsigned(&amount)),
        };
    }
    let (more, less) = if metric.more_is_better() {
        ("gains", "loses")
    } else {
        ("adds", "saves")
    };
    match comparison.verdict {
        Verdict::Higher => format!("{scenario} {more} {amount} ({basis}) of {what}: higher{seen}"),
        Verdict::Lower => format!("{scenario} {less} {amount} ({basis}) of {what}: lower{seen}"),
        Verdict::NoDifference => format!(
            "{scenario}: no difference beyond ±{} in {what} ({basis}){seen}",
            small(comparison.margin_ratio)
        ),
        Verdict::Inconclusive => {
            let reason = comparison.reason.as_deref().unwrap_or("too noisy to tell");
            format!("{scenario}: inconclusive in {what} ({basis}): {reason}{seen}")
        }
    }
}

/// An interval with its level and the number of blocks behind it.
fn over_blocks(report: &Report, interval: Option<String>, blocks: u32) -> String {
    let counted = if blocks == 1 {
        "1 block".to_owned()
    } else {
        format!("{blocks} blocks")
    };
    match interval {
        Some(interval) => format!(
            "{}, {}, {counted}",
            format::unsigned(&interval),
            confidence(report)
        ),
        None => format!("{counted}, so no interval"),
    }
}

/// A ratio without its sign, and without digits that say nothing: `0.5 %`.
fn small(ratio: f64) -> String {
    let text = format::unsigned(&format::change(ratio, None, None).point);
    match text.strip_suffix(" %") {
        Some(number) if number.contains('.') => {
            let number = number.trim_end_matches('0').trim_end_matches('.');
            format!("{number} %")
        }
        _ => text,
    }
}

/// What a reader must bear in mind before quoting a figure.
pub fn caution(report: &Report) -> String {
    let rate = format!(
        "{} requests per second",
        format::number(
            report.request_rate,
            if report.request_rate < 10.0 { 1 } else { 0 }
        )
    );
    let load = match &report.experiment {
        Some(experiment) if experiment.is_of_rates() => "these limits".to_owned(),
        _ => rate,
    };
    let mut text = format!(
        "These figures hold for this machine, this target and {load}; another \
         machine or a request with more or less work in it costs something else."
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

/// What the noise floor says of the figures that matter most, a sentence per entry.
pub fn noise_floor(report: &Report) -> Vec<String> {
    let sentence = |floor: &NoiseFloor| {
        let change = format::change(floor.overhead_ratio, floor.low, floor.high);
        let detectable = floor.detectable_ratio.map_or(String::new(), |ratio| {
            format!("; a change of {} could have been seen", small(ratio))
        });
        format!(
            "Two identical baselines differ by {} ({}) in {}{detectable}",
            format::unsigned(&change.point),
            over_blocks(report, change.interval, floor.blocks),
            claim(Claim::of_noise(floor))
        )
    };
    main_floors(report).into_iter().map(sentence).collect()
}

/// Where two identical baselines are further apart than chance puts them, a sentence each.
pub fn noise_warnings(report: &Report) -> Vec<String> {
    let differs = |floor: &&NoiseFloor| {
        let ends = floor.low.zip(floor.high);
        ends.is_some_and(|(low, high)| low > 0.0 || high < 0.0)
    };
    let sentence = |floor: &NoiseFloor| {
        let change = format::change(floor.overhead_ratio, floor.low, floor.high);
        let interval = change.interval.unwrap_or_default();
        format!(
            "Two identical baselines differ themselves in {}: {} ({}). Overheads of this size may \
             be noise, whatever their intervals say.",
            claim(Claim::of_noise(floor)),
            change.point,
            format::unsigned(&interval),
        )
    };
    let floors = main_floors(report).into_iter().filter(differs);
    floors.map(sentence).collect()
}

/// The entries for metrics whose changes are claims fixed in advance.
fn main_floors(report: &Report) -> Vec<&NoiseFloor> {
    let main = |claim: &Claim| {
        let claimed = claims::claims(report, true);
        claimed.contains(claim) || (claimed.is_empty() && claim.metric.is_headline())
    };
    let claims = claims::noise_claims(report);
    let main = claims.into_iter().filter(main);
    main.filter_map(|claim| claims::noise(report, claim))
        .collect()
}

/// From the beginning of the first window to the end of the last.
fn run_hours(report: &Report) -> Option<f64> {
    let windows = || {
        let phases = report.trials.iter().flat_map(|trial| &trial.phases);
        phases.filter(|span| span.phase == Phase::Measure)
    };
    let start = windows().map(|span| span.start).reduce(f64::min)?;
    let end = windows().map(|span| span.end).reduce(f64::max)?;
    let hours = (end - start) / 3600.0;
    (hours.is_finite() && hours > 0.0).then_some(hours)
}

/// Costs that moved while the run went on, a sentence each.
pub fn drifts(report: &Report) -> Vec<String> {
    let told = |drift: &&DriftReport| drift.p_value < DRIFT_P_MAX;
    let sentence = |drift: &DriftReport| {
        let what = claim(Claim {
            metric: drift.metric,
            subject: drift.subject,
            quantile: None,
        });
        let went = if drift.per_hour_ratio < 0.0 {
            "fell"
        } else {
            "rose"
        };
        // A change per hour says little of a run that took minutes.
        let (change, time) = match run_hours(report) {
            Some(hours) => {
                let seconds = format::duration(hours * 3600.0);
                let ratio = (1.0 + drift.per_hour_ratio).powf(hours) - 1.0;
                (ratio, format!("in the {seconds} of the run"))
            }
            None => (drift.per_hour_ratio, "per hour".to_owned()),
        };
        format!(
            "While the run went on, {what} {went} in all arms by {} {time} (p {}). Arms are \
             compared within blocks, which takes it out of the comparisons.",
            small(change.abs()),
            format::p_value(drift.p_value)
        )
    };
    report.drifts.iter().filter(told).map(sentence).collect()
}
