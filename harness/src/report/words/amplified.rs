//! What one copy of an agent's programs costs, in sentences.

use super::confidence;
use crate::metric::Unit;
use crate::report::{Amplification, Interval, Payer, Report, Slope, format};

/// What a reader calls whoever pays.
pub fn payer(payer: Payer) -> &'static str {
    match payer {
        Payer::Everyone => "target + agent + load driver",
        Payer::Machine => "whole machine",
        Payer::Target => "target",
        Payer::Load => "load driver",
        Payer::Agent => "agent",
        Payer::Total => "target + agent",
    }
}

/// What one copy costs, what it costs beside its copies, and how straight the line is.
pub fn amplified(report: &Report, amplification: &Amplification) -> Vec<String> {
    let Amplification {
        scenario, blocks, ..
    } = amplification;
    let counted = format!("{blocks} block{}", if *blocks == 1 { "" } else { "s" });
    let Some(slope) = amplification.slopes.first() else {
        return vec![format!(
            "{scenario}, amplified: no block in which every arm counts, so nothing can be said of one copy"
        )];
    };
    let mut sentences = vec![format!(
        "{scenario}, amplified {}: one copy costs {} of CPU per request ({}, {}, {counted}), whoever pays; two identical baselines as far apart: {}",
        times(&amplification.copies),
        format::unsigned(&amount(slope.per_copy).0),
        format::unsigned(&amount(slope.per_copy).1),
        confidence(report),
        amount(slope.two_baselines).1,
    )];
    sentences.push(format!(
        "{scenario}, amplified: beside its copies the agent costs {} ({})",
        format::unsigned(&amount(slope.beside_copies).0),
        format::unsigned(&amount(slope.beside_copies).1)
    ));
    sentences.extend(bent(slope).map(|bend| {
        format!(
            "{scenario}, amplified: the cost is no straight line over the copies; the middle lies {} ({}) off it, so the slope is only an average",
            format::unsigned(&amount(bend).0), amount(bend).1
        )
    }));
    sentences
}

/// The bend, where it can't be noise.
fn bent(slope: &Slope) -> Option<Interval> {
    let bend = slope.bend?;
    let (low, high) = (bend.low?, bend.high?);
    (low > 0.0 || high < 0.0).then_some(bend)
}

/// `1, 8 and 16 times`.
fn times(copies: &[u32]) -> String {
    let words: Vec<String> = copies.iter().map(u32::to_string).collect();
    match words.split_last() {
        Some((last, [])) => format!("{last} times"),
        Some((last, others)) => format!("{} and {last} times", others.join(", ")),
        None => "not at all".to_owned(),
    }
}

/// A time of one request and its interval.
pub fn amount(interval: Interval) -> (String, String) {
    let Interval {
        estimate,
        low,
        high,
    } = interval;
    let text = format::difference(Unit::Seconds, estimate, low, high);
    let none = || "one block, so no interval".to_owned();
    (text.point, text.interval.unwrap_or_else(none))
}
