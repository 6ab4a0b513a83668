//! What the steps of a search came to: throughput and the 99th percentile of
//! durations against the offered rate, a line for each arm, its knee marked.

use std::collections::BTreeMap;

use super::axis::Axis;
use super::font;
use super::legend::Key;
use super::palette::{AXIS, Color, GRID, INK, INVALID, MUTED, Series, series};
use super::rows::LINE;
use super::scene::{Anchor, MARGIN, Scene, TEXT};
use crate::experiment::Step;
use crate::metric::{Metric, Unit};
use crate::report::{Report, Statistic, format, words};
use crate::sample::Subject;
use crate::trial::TrialStatus;

/// Height of a panel.
const PANEL: f64 = 210.0;
/// Radius of a mark.
const MARK: f64 = 3.4;
/// What the 99th percentile may be.
const BOUND: Color = INVALID.faint(0.6);

/// Draws the chart.
pub fn draw(report: &Report, width: f64) -> Scene {
    let title = "Throughput and latency against the offered rate";
    let subtitle = "every rate that an arm was offered, mean over its trials";
    let (mut scene, y) = Scene::new(width, title, subtitle);
    let curves: Vec<Curve> = (0..)
        .zip(&report.scenarios)
        .map(|(n, s)| curve(report, n, &s.name))
        .collect();
    let y = key(&mut scene, report, &curves, y);
    let (left, right) = (MARGIN + 52.0, width - MARGIN - 14.0);
    let rates = curves.iter().flat_map(|curve| &curve.points);
    let rates = rates.map(|point| point.offered);
    let x = Axis::linear(Unit::PerSecond, rates, (left, right));
    let y = panel(&mut scene, &x, &curves, Figure::Answered, None, y + 6.0);
    let bound = report.experiment.and_then(|e| e.latency_bound_seconds());
    let y = panel(&mut scene, &x, &curves, Figure::P99, bound, y + 6.0);
    scene.finish(y + MARGIN)
}

/// What a panel shows.
#[derive(Clone, Copy, PartialEq)]
enum Figure {
    Answered,
    P99,
}

/// One arm's line.
struct Curve {
    look: Series,
    /// By offered rate.
    points: Vec<Mean>,
    /// The rate that it sustains.
    knee: Option<f64>,
}

/// What came of one offered rate, over the trials that tried it.
struct Mean {
    offered: f64,
    answered: Option<f64>,
    p99: Option<f64>,
    passed: bool,
}

impl Mean {
    fn value(&self, figure: Figure) -> Option<f64> {
        match figure {
            Figure::Answered => self.answered,
            Figure::P99 => self.p99,
        }
        .filter(|value| value.is_finite() && *value > 0.0)
    }
}

fn curve(report: &Report, number: usize, arm: &str) -> Curve {
    // Positive numbers are in the order of their bits.
    let mut rates: BTreeMap<u64, Vec<&Step>> = BTreeMap::new();
    let own = report.trials.iter();
    let own = own.filter(|trial| trial.arm == arm && trial.status == TrialStatus::Valid);
    for step in own.flat_map(|trial| &trial.analysis.steps) {
        let offered = step.offered_requests_per_second;
        if offered.is_finite() && offered > 0.0 {
            rates.entry(offered.to_bits()).or_default().push(step);
        }
    }
    let mean = |values: Vec<f64>| {
        let count = values.len() as f64;
        (count > 0.0).then(|| values.into_iter().sum::<f64>() / count)
    };
    let points = rates.into_iter().map(|(offered, steps)| {
        let answered = steps.iter().filter_map(|step| step.requests_per_second);
        let p99 = steps.iter().filter_map(|step| step.p99_seconds);
        let passed = steps.iter().filter(|step| step.passed).count();
        Mean {
            offered: f64::from_bits(offered),
            answered: mean(answered.collect()),
            // Durations are spread by factors.
            p99: mean(p99.map(f64::ln).collect()).map(f64::exp),
            passed: passed * 2 >= steps.len(),
        }
    });
    Curve {
        look: series(number),
        points: points.collect(),
        knee: knee(report, arm).map(|knee| knee.estimate),
    }
}

fn knee<'r>(report: &'r Report, arm: &str) -> Option<&'r Statistic> {
    let scenario = report.scenarios.iter().find(|s| s.name == arm)?;
    words::statistic(
        scenario,
        Metric::SustainedRequestsPerSecond,
        Subject::Target,
    )
}

fn key(scene: &mut Scene, report: &Report, curves: &[Curve], y: f64) -> f64 {
    let mut key = Key::new(y);
    for (scenario, curve) in report.scenarios.iter().zip(curves) {
        let text = match knee(report, &scenario.name).map(words::estimate) {
            Some(knee) => format!("{}: sustains {}", scenario.name, knee.point),
            None => scenario.name.clone(),
        };
        key.item(scene, &text, |scene, at| {
            scene.line(
                vec![(at.0 - 8.0, at.1), (at.0 + 8.0, at.1)],
                1.6,
                curve.look.color,
            );
            curve.look.mark(scene, at, MARK);
        });
    }
    key.item(scene, "the rate that it sustains", |scene, at| {
        scene.dashed((at.0, at.1 - 7.0), (at.0, at.1 + 7.0), 1.4, INK);
    });
    key.item(scene, "not sustained", |scene, at| {
        scene.cross(at, 3.2, INVALID)
    });
    if let Some(bound) = report.experiment.and_then(|e| e.latency_bound_seconds()) {
        let text = format!("p99 of {}", format::quantity(Unit::Seconds, bound));
        key.item(scene, &text, |scene, at| {
            scene.line(vec![(at.0 - 8.0, at.1), (at.0 + 8.0, at.1)], 1.2, BOUND);
        });
    }
    key.end()
}

fn panel(
    scene: &mut Scene,
    x: &Axis,
    curves: &[Curve],
    figure: Figure,
    bound: Option<f64>,
    y: f64,
) -> f64 {
    let width = scene.width;
    let (left, right) = (MARGIN + 52.0, width - MARGIN - 14.0);
    let (top, bottom) = (y + LINE + 8.0, y + LINE + 8.0 + PANEL);
    let values = curves.iter().flat_map(|curve| &curve.points);
    let values = values.filter_map(|point| point.value(figure)).chain(bound);
    let (name, axis) = match figure {
        Figure::Answered => {
            let axis = Axis::linear(Unit::PerSecond, values, (bottom, top));
            ("Answers", axis)
        }
        Figure::P99 => (
            "Latency p99",
            Axis::spread(Unit::Seconds, values, (bottom, top)),
        ),
    };
    let log = if axis.is_log() { ", logarithmic" } else { "" };
    let title = format!("{name} ({}{log})", axis.unit());
    let title = font::fit(&title, TEXT + 1.0, true, width - 2.0 * MARGIN);
    let at = (MARGIN, y + 14.0);
    scene.text(at, Anchor::Start, &title, TEXT + 1.0, true, INK);
    for (y, label) in axis.ticks(8.0, false) {
        scene.line(vec![(left, y), (right, y)], 1.0, GRID);
        let at = (left - 6.0, y + 4.0);
        scene.text(at, Anchor::End, &label, TEXT, false, MUTED);
    }
    scene.line(vec![(left, bottom), (right, bottom)], 1.0, AXIS);
    for (x, label) in x.ticks(14.0, true) {
        scene.line(vec![(x, bottom), (x, bottom + 4.0)], 1.0, AXIS);
        let at = (x, bottom + 17.0);
        scene.text(at, Anchor::Middle, &label, TEXT, false, MUTED);
    }
    let at = (right, bottom + 34.0);
    let text = "offered, requests per second";
    scene.text(at, Anchor::End, text, TEXT, false, MUTED);
    if let Some(bound) = bound {
        let y = axis.at(bound);
        scene.line(vec![(left, y), (right, y)], 1.2, BOUND);
    }
    for curve in curves {
        if let Some(knee) = curve.knee {
            let x = x.at(knee);
            scene.dashed((x, top), (x, bottom), 1.2, curve.look.color.faint(0.8));
        }
        let place = |point: &Mean| {
            let value = point.value(figure)?;
            Some((x.at(point.offered), axis.at(value)))
        };
        let line = curve.points.iter().filter_map(place).collect();
        scene.line(line, 1.6, curve.look.color);
        for point in &curve.points {
            match place(point) {
                Some(at) if point.passed => curve.look.mark(scene, at, MARK),
                Some(at) => scene.cross(at, 3.2, INVALID),
                None => {}
            }
        }
    }
    bottom + 42.0
}
