//! Figures of both sides → changes and verdicts.

use std::collections::BTreeMap;

use super::{Change, Figure, Side, Way};
use crate::metric::Metric;
use crate::report::{Comparison, Report, ScenarioReport, ScenarioStatus, Verdict};
use crate::sample::Subject;
use crate::scenario::{BASELINE, Scenario};
use crate::stats::{self, Pair};
use crate::trial::{TrialRecord, TrialStatus};

/// Whose figures are compared: the application's and the agent's, not the experiment's own.
const SUBJECTS: [Subject; 4] = [
    Subject::Target,
    Subject::Agent,
    Subject::Total,
    Subject::Node,
];

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Key {
    metric: Metric,
    subject: Subject,
    quantile: Option<f64>,
}

impl Key {
    fn is_headline(self, arm: &str) -> bool {
        arm != BASELINE && self.metric.is_headline() && self.subject != Subject::Node
    }
}

/// Every figure of one arm that both runs have.
pub fn between_runs(a: Side<'_>, b: Side<'_>, arm: &str) -> Vec<Change> {
    let agent = has_agent(a, arm) || has_agent(b, arm);
    keys(a.report, arm, agent)
        .into_iter()
        .filter_map(|key| {
            let plain = plain(a.report, b.report, arm, key);
            let base = plain.as_ref().map_or(0.0, |figure| figure.a);
            let overhead = overhead(a.report, b.report, arm, key);
            let figures: Vec<Figure> = overhead.into_iter().chain(plain).collect();
            let sides = [("A", a.report, arm), ("B", b.report, arm)];
            change(arm, key, figures, base, &sides)
        })
        .collect()
}

/// Every figure that two arms of a run have.
pub fn between_arms(run: Side<'_>, a: &str, b: &str) -> Vec<Change> {
    let agent = has_agent(run, a) || has_agent(run, b);
    keys(run.report, b, agent)
        .into_iter()
        .filter_map(|key| {
            let figure = paired(run.report, a, b, key)?;
            let base = figure.a;
            let sides = [("A", run.report, a), ("B", run.report, b)];
            change(b, key, vec![figure], base, &sides)
        })
        .collect()
}

/// Fills in the corrected chances, and with them the verdicts.
///
/// Claims that were fixed in advance share the error rate; everything that
/// merely stands beside them shares another, as within a run.
pub fn correct(changes: &mut [Change], confidence: f64) {
    for headline in [true, false] {
        let mut family: Vec<(&mut Change, f64)> = changes
            .iter_mut()
            .filter(|change| change.headline == headline)
            .filter_map(|change| {
                let p = change.figures[0].p_value?;
                Some((change, p))
            })
            .collect();
        let p_values: Vec<f64> = family.iter().map(|(_, p)| *p).collect();
        for ((change, _), adjusted) in family.iter_mut().zip(stats::holm(&p_values)) {
            change.adjusted_p_value = Some(adjusted);
        }
    }
    for change in changes {
        // A figure that can't be used has its reason already.
        if change.reason.is_none() {
            (change.verdict, change.reason) = verdict(change, confidence);
        }
    }
}

fn verdict(change: &Change, confidence: f64) -> (Verdict, Option<String>) {
    let inconclusive = |reason: String| (Verdict::Inconclusive, Some(reason));
    let figure = &change.figures[0];
    let Some((low, high)) = figure.low.zip(figure.high) else {
        let unit = match figure.way {
            Way::Plain => "trial",
            Way::PairedByBlock | Way::Overhead => "block",
        };
        return inconclusive(format!("a single {unit} gives no interval"));
    };
    let chance = change.adjusted_p_value.unwrap_or(1.0);
    let level = 1.0 - confidence;
    // With few blocks the permutation test knows few values; its smallest one
    // (two of 2ⁿ arrangements) is as much as it can say.
    let smallest = 2.0 / 2f64.powi(figure.count_a.min(1_000) as i32);
    let shapeless = figure
        .permutation_p_value
        .is_none_or(|p| p <= level.max(smallest));
    let seen = chance <= level && shapeless && figure.change_ratio.abs() >= change.resolution_ratio;
    let margin = change.margin_ratio;
    let percent = |ratio: f64| format!("{:.1} %", ratio * 100.0);
    if seen && low > 0.0 {
        (Verdict::Higher, None)
    } else if seen && high < 0.0 {
        (Verdict::Lower, None)
    } else if -margin <= low && high <= margin {
        (Verdict::NoDifference, None)
    } else if low > 0.0 || high < 0.0 {
        inconclusive(format!(
            "the interval leaves zero out, but corrected for the number of claims chance alone does this in {} of cases",
            percent(chance)
        ))
    } else {
        inconclusive(format!(
            "the interval holds zero and reaches beyond ±{}",
            percent(margin)
        ))
    }
}

fn change(
    arm: &str,
    key: Key,
    figures: Vec<Figure>,
    base: f64,
    sides: &[(&str, &Report, &str)],
) -> Option<Change> {
    if figures.is_empty() {
        return None;
    }
    let status = |report: &Report, arm: &str| scenario(report, arm).map(|s| s.status);
    let broken = sides
        .iter()
        .find(|(_, report, arm)| status(report, arm) != Some(ScenarioStatus::Ok));
    Some(Change {
        scenario: arm.to_owned(),
        metric: key.metric,
        subject: key.subject,
        quantile: key.quantile,
        headline: key.is_headline(arm),
        figures,
        adjusted_p_value: None,
        margin_ratio: key.metric.margin_ratio(base),
        resolution_ratio: if base > 0.0 {
            key.metric.resolution() / base
        } else {
            0.0
        },
        verdict: Verdict::Inconclusive,
        reason: broken.map(|(side, _, arm)| format!("too few trials of {arm} count in {side}")),
    })
}

/// Each run's arm against its own baseline, then one against the other.
fn overhead(a: &Report, b: &Report, arm: &str, key: Key) -> Option<Figure> {
    let of = |report: &'_ Report| {
        let is_it = |c: &&Comparison| {
            c.scenario == arm
                && (c.metric, c.subject, c.quantile) == (key.metric, key.subject, key.quantile)
        };
        let comparison = report.comparisons.iter().find(is_it)?;
        let logs = comparison.block_ratios.iter().map(|r| r.ratio.ln_1p());
        Some(logs.collect::<Vec<f64>>())
    };
    let (logs_a, logs_b) = (of(a)?, of(b)?);
    welch(Way::Overhead, &logs_a, &logs_b, a.confidence, f64::exp_m1)
}

/// One run's trials against the other's.
fn plain(a: &Report, b: &Report, arm: &str, key: Key) -> Option<Figure> {
    let logs = |report| -> Vec<f64> { values(report, arm, key).values().map(|v| v.ln()).collect() };
    welch(Way::Plain, &logs(a), &logs(b), a.confidence, f64::exp)
}

/// The difference of two groups of logarithms; `back` turns their means into figures.
fn welch(
    way: Way,
    a: &[f64],
    b: &[f64],
    confidence: f64,
    back: impl Fn(f64) -> f64,
) -> Option<Figure> {
    let welch = stats::welch(a, b, confidence)?;
    let mean = |logs: &[f64]| logs.iter().sum::<f64>() / logs.len() as f64;
    finite(Figure {
        way,
        a: back(mean(a)),
        b: back(mean(b)),
        change_ratio: welch.difference.exp_m1(),
        low: welch.interval.map(|(low, _)| low.exp_m1()),
        high: welch.interval.map(|(_, high)| high.exp_m1()),
        p_value: welch.p_value,
        permutation_p_value: None,
        count_a: a.len() as u32,
        count_b: b.len() as u32,
    })
}

/// Block by block: every block holds both, so whatever moved between blocks cancels.
fn paired(report: &Report, a: &str, b: &str, key: Key) -> Option<Figure> {
    let (of_a, of_b) = (values(report, a, key), values(report, b, key));
    let pairs: Vec<Pair> = of_a
        .iter()
        .filter_map(|(block, reference)| {
            Some(Pair {
                block: *block,
                reference: vec![*reference],
                value: *of_b.get(block)?,
            })
        })
        .collect();
    let effect = stats::effect(&pairs, report.confidence)?;
    let mean = |values: &dyn Fn(&Pair) -> f64| {
        let logs: f64 = pairs.iter().map(|pair| values(pair).ln()).sum();
        (logs / pairs.len() as f64).exp()
    };
    finite(Figure {
        way: Way::PairedByBlock,
        a: mean(&|pair| pair.reference[0]),
        b: mean(&|pair| pair.value),
        change_ratio: effect.ratio,
        low: effect.interval.map(|(low, _)| low),
        high: effect.interval.map(|(_, high)| high),
        p_value: effect.p_value,
        permutation_p_value: stats::permutation_p(&pairs, report.seed),
        count_a: pairs.len() as u32,
        count_b: pairs.len() as u32,
    })
}

/// Nothing that a reader could take for a number may be none.
fn finite(mut figure: Figure) -> Option<Figure> {
    let Figure { low, high, .. } = figure;
    if !low
        .zip(high)
        .is_some_and(|(l, h)| l.is_finite() && h.is_finite())
    {
        (figure.low, figure.high) = (None, None);
    }
    for p_value in [&mut figure.p_value, &mut figure.permutation_p_value] {
        *p_value = p_value.filter(|p| p.is_finite());
    }
    let points = [figure.a, figure.b, figure.change_ratio];
    points.iter().all(|v| v.is_finite()).then_some(figure)
}

/// The values of an arm's trials that count, by block.
fn values(report: &Report, arm: &str, key: Key) -> BTreeMap<u32, f64> {
    let counted = |trial: &&TrialRecord| trial.arm == arm && trial.status == TrialStatus::Valid;
    report
        .trials
        .iter()
        .filter(counted)
        .filter_map(|trial| {
            let statistic = trial.analysis.statistics.iter().find(|s| {
                (s.metric, s.subject, s.quantile) == (key.metric, key.subject, key.quantile)
            })?;
            Some((trial.block, statistic.value))
        })
        .collect()
}

/// What an arm has figures of, in the order of reports.
fn keys(report: &Report, arm: &str, agent: bool) -> Vec<Key> {
    let statistics = scenario(report, arm).map_or(&[][..], |s| &s.statistics);
    // What else an experiment reads belongs to whatever its search ended at.
    let experiment = report.experiment.as_ref();
    let asked = |metric| experiment.is_none_or(|experiment| experiment.metric() == metric);
    let mut keys: Vec<Key> = statistics
        .iter()
        // Without an agent the total is the target once more.
        .filter(|s| agent || s.subject != Subject::Total)
        .filter(|s| s.metric.is_compared() && asked(s.metric) && SUBJECTS.contains(&s.subject))
        .map(|s| Key {
            metric: s.metric,
            subject: s.subject,
            quantile: s.quantile,
        })
        .collect();
    let rank = |subject| SUBJECTS.iter().position(|s| *s == subject);
    keys.sort_by(|a, b| {
        (a.metric, rank(a.subject))
            .cmp(&(b.metric, rank(b.subject)))
            .then(
                a.quantile
                    .unwrap_or(0.0)
                    .total_cmp(&b.quantile.unwrap_or(0.0)),
            )
    });
    keys
}

fn scenario<'a>(report: &'a Report, arm: &str) -> Option<&'a ScenarioReport> {
    report.scenarios.iter().find(|s| s.name == arm)
}

fn has_agent(side: Side<'_>, arm: &str) -> bool {
    let planned: Option<&Scenario> = side.plan.arm(arm);
    planned.is_some_and(|scenario| scenario.agent.is_some())
}
