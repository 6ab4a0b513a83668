//! Every trial's own value, block by block: nothing is averaged, nothing is left out.

use super::axis::Axis;
use super::font;
use super::legend::Key;
use super::palette::{AXIS, GRID, INK, INVALID, MUTED, WINDOW, series};
use super::rows::LINE;
use super::scene::{Anchor, MARGIN, Scene, TEXT};
use crate::metric::Metric;
use crate::report::claims::{self, Claim};
use crate::report::{Report, words};
use crate::sample::Subject;
use crate::trial::{TrialRecord, TrialStatus};

/// Height of a panel.
const PANEL: f64 = 170.0;
/// Radius of a mark.
const MARK: f64 = 3.6;

/// Draws the chart.
pub fn draw(report: &Report, width: f64) -> Scene {
    let title = "Every trial, block by block";
    let subtitle = "values as measured; scales do not begin at zero";
    let (mut scene, y) = Scene::new(width, title, subtitle);
    let mut y = key(&mut scene, report, y);
    let claims: Vec<Claim> = shown(report)
        .into_iter()
        .filter(|claim| !values(report, *claim).is_empty())
        .collect();
    if claims.is_empty() {
        let text = "No trial has such a figure.";
        scene.text((MARGIN, y + 14.0), Anchor::Start, text, TEXT, false, MUTED);
        return scene.finish(y + 30.0);
    }
    for claim in claims {
        y = panel(&mut scene, report, claim, y + 6.0);
    }
    scene.finish(y + MARGIN)
}

/// The figures that were claimed; without a comparison, those that would have been.
fn shown(report: &Report) -> Vec<Claim> {
    let claims = claims::claims(report, true);
    if !claims.is_empty() {
        return claims;
    }
    let of_target = |metric| Claim {
        metric,
        subject: Subject::Target,
        quantile: None,
    };
    let headline = Metric::ALL.into_iter().filter(|m| m.is_headline());
    headline.map(of_target).collect()
}

fn key(scene: &mut Scene, report: &Report, y: f64) -> f64 {
    let mut key = Key::new(y);
    for (n, scenario) in report.scenarios.iter().enumerate() {
        let text = match scenario.planned_trials {
            0 => format!("{} ({})", scenario.name, words::status(scenario.status)),
            _ => scenario.name.clone(),
        };
        key.item(scene, &text, |scene, at| series(n).mark(scene, at, MARK));
    }
    let invalid = report.trials.iter().any(|t| t.status != TrialStatus::Valid);
    if invalid {
        key.item(scene, "a trial that does not count", |scene, at| {
            scene.cross(at, 3.2, INVALID)
        });
    }
    key.end()
}

/// The trials that have the figure, with its value. A total without an agent is the target's own.
fn values(report: &Report, claim: Claim) -> Vec<(&TrialRecord, f64)> {
    let of = |trial: &TrialRecord, subject| {
        let same = |s: &&crate::trial::TrialStatistic| {
            (s.metric, s.subject, s.quantile) == (claim.metric, subject, claim.quantile)
        };
        trial
            .analysis
            .statistics
            .iter()
            .find(same)
            .map(|s| s.value)
            .filter(|v| v.is_finite())
    };
    let alone = |trial: &TrialRecord| {
        let total = claim.subject == Subject::Total;
        let target = total.then(|| of(trial, Subject::Target)).flatten();
        target.filter(|_| of(trial, Subject::Agent).is_none())
    };
    let trials = report.trials.iter();
    trials
        .filter_map(|trial| Some((trial, of(trial, claim.subject).or_else(|| alone(trial))?)))
        .collect()
}

fn panel(scene: &mut Scene, report: &Report, claim: Claim, y: f64) -> f64 {
    let values = values(report, claim);
    let width = scene.width;
    let (left, right) = (MARGIN + 52.0, width - MARGIN - 4.0);
    let (top, bottom) = (y + LINE + 8.0, y + LINE + 8.0 + PANEL);
    // A trial that does not count may lie beyond the scale, unless there are no others.
    let counts = |trial: &TrialRecord| trial.status == TrialStatus::Valid;
    let counted: Vec<f64> = values
        .iter()
        .filter(|(trial, _)| counts(trial))
        .map(|(_, value)| *value)
        .collect();
    let all = if counted.is_empty() {
        values.iter().map(|(_, value)| *value).collect()
    } else {
        counted
    };
    let axis = scale(claim, all, (bottom, top));
    let log = if axis.is_log() { ", logarithmic" } else { "" };
    let title = format!("{} ({}{log})", words::claim_title(claim), axis.unit());
    let title = font::fit(&title, TEXT + 1.0, true, width - 2.0 * MARGIN);
    let at = (MARGIN, y + 14.0);
    scene.text(at, Anchor::Start, &title, TEXT + 1.0, true, INK);

    let blocks = report.trials.iter().map(|t| t.block).max().unwrap_or(1);
    let blocks = blocks.clamp(1, 100_000);
    let slot = (right - left) / f64::from(blocks);
    let start = |block: u32| left + slot * f64::from(block.clamp(1, blocks) - 1);
    // Stripes tell blocks apart where there is room for them.
    if slot >= 4.0 {
        for block in (2..=blocks).step_by(2) {
            let x = start(block);
            scene.rect((x, top), (x + slot, bottom), WINDOW);
        }
    }
    for (y, label) in axis.ticks(8.0, false) {
        scene.line(vec![(left, y), (right, y)], 1.0, GRID);
        let at = (left - 6.0, y + 4.0);
        scene.text(at, Anchor::End, &label, TEXT, false, MUTED);
    }
    scene.line(vec![(left, bottom), (right, bottom)], 1.0, AXIS);
    // Within a block each arm has a place of its own, so that equal values do not hide each other.
    let arms = report.scenarios.len().max(1) as f64;
    for (trial, value) in values {
        let arm = report.scenarios.iter().position(|s| s.name == trial.arm);
        let arm = arm.unwrap_or(0);
        let x = start(trial.block) + slot * (arm as f64 + 0.75) / (arms + 0.5);
        let at = (x, axis.at(value));
        if counts(trial) {
            series(arm).mark(scene, at, MARK);
        } else {
            scene.cross(at, 3.2, INVALID);
        }
    }
    // Every label needs about 22 pixels.
    let every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000]
        .into_iter()
        .find(|every| slot * f64::from(*every) >= 22.0)
        .unwrap_or(blocks);
    for block in (1..=blocks).filter(|b| *b == 1 || b % every == 0) {
        // The first label stays clear of the next.
        if block == 1 && every > 1 && every < 5 {
            continue;
        }
        let at = (start(block) + slot / 2.0, bottom + 15.0);
        let text = block.to_string();
        scene.text(at, Anchor::Middle, &text, TEXT, false, MUTED);
    }
    let at = (right, bottom + 32.0);
    scene.text(at, Anchor::End, "block", TEXT, false, MUTED);
    bottom + 40.0
}

/// Even, or logarithmic where arms are more than a tenfold apart.
fn scale(claim: Claim, values: Vec<f64>, pixels: (f64, f64)) -> Axis {
    let unit = claim.metric.unit();
    let axis = Axis::spread(unit, values.iter().copied(), pixels);
    if axis.is_log() {
        axis
    } else {
        Axis::between(unit, values, pixels)
    }
}
