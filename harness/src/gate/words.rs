//! The words of a judged run, which every output repeats.

use super::{Gate, Judgement, Key, Limit, Outcome};
use crate::report::format;
use crate::report::words;

/// `CPU per request (target + agent)`.
pub fn figure(judgement: &Judgement) -> String {
    self::key(&judgement.budget.key)
}

fn key(key: &Key) -> String {
    format!(
        "{} ({})",
        words::metric(key.metric, key.quantile),
        words::subject(key.subject)
    )
}

/// `+5 %`, or for a metric of which more is better `at least 900 /s`.
pub fn limit(judgement: &Judgement) -> String {
    let metric = judgement.budget.key.metric;
    let text = judgement.budget.limit.text(metric);
    if metric.more_is_better() {
        format!("at least {text}")
    } else {
        text
    }
}

/// Estimate and interval as text; both empty when nothing was measured.
pub struct Cells {
    /// `+7.9 µs, +5.4 %`.
    pub change: String,
    /// `+6.2 to +9.6 µs, +4.2 to +6.5 %`.
    pub interval: String,
}

/// What was measured, in the metric's unit first and in percent second.
pub fn cells(judgement: &Judgement) -> Cells {
    let unit = judgement.budget.key.metric.unit();
    let mut texts = Vec::new();
    if let Some(figure) = judgement.figure {
        texts.push(format::estimate(
            unit,
            figure.point,
            figure.low,
            figure.high,
        ));
    }
    if let Some(change) = judgement.change {
        texts.push(format::difference(
            unit,
            change.point,
            change.low,
            change.high,
        ));
    }
    if let Some(ratio) = judgement.change_ratio {
        texts.push(format::change(ratio.point, ratio.low, ratio.high));
    }
    cells_of(texts)
}

/// The same, only as the limit is given: in percent, or in the metric's unit.
pub fn judged(judgement: &Judgement) -> Cells {
    let unit = judgement.budget.key.metric.unit();
    let text = judgement
        .estimate()
        .map(|estimate| match judgement.budget.limit {
            Limit::Ratio(_) => format::change(estimate.point, estimate.low, estimate.high),
            Limit::Change(_) => {
                format::difference(unit, estimate.point, estimate.low, estimate.high)
            }
            Limit::Figure(_) => format::estimate(unit, estimate.point, estimate.low, estimate.high),
        });
    cells_of(text)
}

fn cells_of(texts: impl IntoIterator<Item = format::Estimate>) -> Cells {
    let (points, intervals): (Vec<String>, Vec<Option<String>>) = texts
        .into_iter()
        .map(|text| (text.point, text.interval))
        .unzip();
    let intervals: Vec<String> = intervals.into_iter().flatten().collect();
    Cells {
        change: points.join(", "),
        interval: intervals.join(", "),
    }
}

/// One judgement in a sentence: `CPU per request (target) of flora: +5.4 % (+4.2 to +6.5 %), +5 % is allowed`.
pub fn sentence(judgement: &Judgement) -> String {
    let Cells { change, interval } = judged(judgement);
    let mut text = format!("{} of {}", figure(judgement), judgement.scenario);
    if !change.is_empty() {
        text += &format!(": {change}");
    }
    if !interval.is_empty() {
        text += &format!(" ({interval})");
    }
    let allowed = if judgement.budget.key.metric.more_is_better() {
        "is asked"
    } else {
        "is allowed"
    };
    text + &format!(", {} {allowed}", limit(judgement))
}

/// Why outcomes are not certain, each reason once.
pub fn reasons(gate: &Gate) -> Vec<String> {
    let mut reasons = Vec::new();
    for judgement in &gate.judgements {
        let Some(reason) = &judgement.reason else {
            continue;
        };
        let text = match judgement.outcome {
            // What is wrong with an arm is wrong for all of its budgets.
            Outcome::Invalid => format!("{reason}."),
            _ => format!("{} of {}: {reason}.", figure(judgement), judgement.scenario),
        };
        if !reasons.contains(&text) {
            reasons.push(text);
        }
    }
    reasons
}

/// The verdict in one sentence.
pub fn verdict(gate: &Gate) -> String {
    let all = gate.judgements.len();
    let count = gate.count(gate.outcome);
    let of_all = format!("{count} of {}", budgets(all));
    // Of several, the first: the table has the others.
    let first = || {
        gate.of(gate.outcome)
            .next()
            .map(|judgement| {
                let mut text = sentence(judgement);
                if let Some(reason) = &judgement.reason {
                    text += &format!("; {reason}");
                }
                text
            })
            .unwrap_or_default()
    };
    let more = if count > 1 { "; and others" } else { "" };
    match gate.outcome {
        Outcome::Within if all == 1 => format!("Within budget: {}.", first()),
        Outcome::Within => format!("Within budget: all of {} hold.", budgets(all)),
        Outcome::Over => format!("Over budget in {of_all}: {}{more}.", first()),
        Outcome::Invalid => {
            let reason = gate.of(Outcome::Invalid).find_map(|j| j.reason.clone());
            format!(
                "Not valid, {of_all} can't be judged: {}.",
                reason.unwrap_or_default()
            )
        }
        Outcome::Inconclusive => {
            format!(
                "Inconclusive in {of_all}, too noisy to tell: {}{more}.",
                first()
            )
        }
    }
}

fn budgets(count: usize) -> String {
    if count == 1 {
        "1 budget".to_owned()
    } else {
        format!("{count} budgets")
    }
}

/// What the figures rest on, in one line without a full stop.
pub fn basis(gate: &Gate) -> String {
    let blocks = match gate.blocks {
        1 => "1 block".to_owned(),
        n => format!("{n} blocks"),
    };
    format!(
        "Run {}: {} requests per second, {blocks}, {} intervals",
        gate.run,
        format::number(gate.request_rate, 0),
        format::level(gate.confidence)
    )
}

/// What separates two identical baselines, a sentence a figure.
pub fn noise_floor(gate: &Gate) -> Vec<String> {
    gate.noise_floor
        .iter()
        .map(|noise| {
            let ratio = noise.overhead_ratio;
            let change = format::change(ratio.point, ratio.low, ratio.high);
            let figure = key(&noise.key);
            let mut text = format!("Noise floor of {figure}: {}", change.point);
            if let Some(interval) = change.interval {
                text += &format!(" ({interval})");
            }
            text += " between two identical baselines";
            if let Some(ratio) = noise.detectable_ratio {
                text += &format!(
                    "; the smallest change that they could have seen is {}",
                    format::percent(ratio)
                );
            }
            text + "."
        })
        .collect()
}
