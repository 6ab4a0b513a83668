//! The run as it went: which scenario was measured when, CPU of each role, memory of the target.

use super::axis::Axis;
use super::font;
use super::palette::{AXIS, GRID, INK, INVALID, MUTED, WINDOW, look};
use super::scene::{Anchor, MARGIN, Point, Scene, TEXT};
use super::series::{self, Join, Pieces};
use super::stroke::stroke;
use crate::metric::Unit;
use crate::report::{Report, format, words};
use crate::sample::{Phase, Sample, Subject};
use crate::trial::{TrialRecord, TrialStatus};

/// Whose CPU is drawn, from back to front.
const SUBJECTS: [Subject; 7] = [
    Subject::Node,
    Subject::Harness,
    Subject::VictoriaMetrics,
    Subject::Intake,
    Subject::Load,
    Subject::Agent,
    Subject::Target,
];
/// Height of a strip.
const STRIP: f64 = 150.0;
/// Height of a scenario's lane.
const LANE: f64 = 14.0;

/// Draws the chart.
pub fn draw(report: &Report, samples: &[Sample], width: f64) -> Scene {
    // Trials that live side by side have one machine: what they use adds up.
    let side_by_side = report.slices > 1;
    let subtitle = if side_by_side {
        "CPU of each role and memory, all arms of a block together, for they live side by side; \
         shaded: the measured windows, in which they take turns"
    } else {
        "CPU of each role and memory of the target; shaded: the measured windows"
    };
    let (mut scene, y) = Scene::new(width, "Timeline of the run", subtitle);
    let end = end(report, samples);
    if end <= 0.0 {
        scene.text(
            (MARGIN, y + 14.0),
            Anchor::Start,
            "No reading was recorded.",
            TEXT,
            false,
            MUTED,
        );
        return scene.finish(y + 30.0);
    }
    let pixels = (MARGIN + 46.0, width - MARGIN - 4.0);
    let time = Time { end, pixels };
    // Two readings in one pixel can't be told apart.
    let step = (end / (pixels.1 - pixels.0)).max(0.5);
    let joined = |pieces: Pieces, join| {
        if side_by_side {
            // Turns are shorter than a second; a mean over some of them shows the level.
            series::together(&pieces, join, step.max(1.0))
        } else {
            pieces
        }
    };
    let cpu: Vec<(Subject, Pieces)> = SUBJECTS
        .iter()
        .map(|subject| (*subject, series::cores(samples, *subject, step)))
        .map(|(subject, pieces)| {
            let join = match subject {
                Subject::Node | Subject::Harness | Subject::VictoriaMetrics => Join::Mean,
                _ => Join::Sum,
            };
            (subject, joined(pieces, join))
        })
        .filter(|(_, pieces)| !pieces.is_empty())
        .collect();
    let memory: Vec<(Subject, Pieces)> = [Subject::Agent, Subject::Target]
        .iter()
        .map(|subject| (*subject, series::working_set(samples, *subject, step)))
        .map(|(subject, pieces)| (subject, joined(pieces, Join::Sum)))
        .filter(|(_, pieces)| !pieces.is_empty())
        .collect();

    let mut y = lanes(&mut scene, report, &time, y);
    y = legend(&mut scene, &cpu, y + 14.0);
    y = strip(
        &mut scene,
        report,
        &time,
        Strip {
            name: "CPU",
            unit: None,
            curves: &cpu,
        },
        y,
    );
    y = strip(
        &mut scene,
        report,
        &time,
        Strip {
            name: "working set",
            unit: Some(Unit::Bytes),
            curves: &memory,
        },
        y + 16.0,
    );
    time_axis(scene, &time, y)
}

/// Seconds since the run began → pixels.
struct Time {
    end: f64,
    pixels: (f64, f64),
}

impl Time {
    fn at(&self, seconds: f64) -> f64 {
        let share = (seconds / self.end).clamp(0.0, 1.0);
        self.pixels.0 + if share.is_nan() { 0.0 } else { share } * (self.pixels.1 - self.pixels.0)
    }
}

fn end(report: &Report, samples: &[Sample]) -> f64 {
    let phases = report
        .trials
        .iter()
        .flat_map(|t| &t.phases)
        .map(|span| span.end);
    phases
        .chain(samples.iter().map(|s| s.time))
        .filter(|t| t.is_finite())
        .fold(0.0, f64::max)
}

fn windows(trial: &TrialRecord) -> impl Iterator<Item = (f64, f64)> {
    let measured = trial
        .phases
        .iter()
        .filter(|span| span.phase == Phase::Measure);
    measured.map(|span| (span.start, span.end))
}

/// One lane per scenario, with a box and a number where one of its trials was measured.
fn lanes(scene: &mut Scene, report: &Report, time: &Time, mut y: f64) -> f64 {
    let (left, right) = time.pixels;
    let width = scene.width;
    for scenario in &report.scenarios {
        let trials = || report.trials.iter().filter(|t| t.arm == scenario.name);
        if trials().next().is_none() {
            continue;
        }
        let name = font::fit(&scenario.name, TEXT, false, width - 2.0 * MARGIN);
        scene.text((MARGIN, y + 11.0), Anchor::Start, &name, TEXT, false, INK);
        y += 16.0;
        scene.line(
            vec![(left, y + LANE / 2.0), (right, y + LANE / 2.0)],
            1.0,
            GRID,
        );
        for trial in trials() {
            let color = if trial.status == TrialStatus::Valid {
                look(Subject::Target).color
            } else {
                INVALID
            };
            for (start, end) in windows(trial) {
                let (x0, x1) = (time.at(start), time.at(end).max(time.at(start) + 1.0));
                scene.rect((x0, y), (x1, y + LANE), color.faint(0.25));
                let number = trial.trial.to_string();
                let middle = (x0 + x1) / 2.0;
                let room = x1 - x0 - 3.0;
                let number_width = font::width(&number, 10.5, false);
                let valid = trial.status == TrialStatus::Valid;
                // A cross takes the number's place where there is no room for both.
                let both = number_width + 14.0 <= room;
                let shift = if valid { 0.0 } else { 7.0 };
                if !valid {
                    let x = if both {
                        middle - number_width / 2.0
                    } else {
                        middle
                    };
                    let size = (room / 2.0).clamp(1.5, 4.0);
                    scene.cross((x, y + LANE / 2.0), size, INVALID);
                }
                if both || (valid && number_width <= room) {
                    let at = (middle + shift, y + LANE - 3.5);
                    scene.text(at, Anchor::Middle, &number, 10.5, false, INK);
                }
            }
        }
        y += LANE + 4.0;
    }
    let invalid = report.trials.iter().any(|t| t.status != TrialStatus::Valid);
    if invalid {
        scene.cross((MARGIN + 7.0, y + 9.0), 3.5, INVALID);
        scene.text(
            (MARGIN + 20.0, y + 13.0),
            Anchor::Start,
            "a trial that does not count",
            TEXT,
            false,
            MUTED,
        );
        y += 18.0;
    }
    y
}

fn legend(scene: &mut Scene, curves: &[(Subject, Pieces)], y: f64) -> f64 {
    let (mut x, mut y) = (MARGIN, y);
    for (subject, _) in curves.iter().rev() {
        let name = match subject {
            Subject::Node => "node, busy",
            other => words::subject(*other),
        };
        let width = 30.0 + font::width(name, TEXT, false);
        if x > MARGIN && x + width > scene.width - MARGIN {
            (x, y) = (MARGIN, y + 17.0);
        }
        stroke(scene, &[(x, y), (x + 24.0, y)], *subject);
        scene.text((x + 30.0, y + 4.0), Anchor::Start, name, TEXT, false, INK);
        x += width + 16.0;
    }
    y + 20.0
}

struct Strip<'a> {
    name: &'a str,
    /// Unit of its values; cores without one.
    unit: Option<Unit>,
    curves: &'a [(Subject, Pieces)],
}

fn strip(scene: &mut Scene, report: &Report, time: &Time, strip: Strip, y: f64) -> f64 {
    let (left, right) = time.pixels;
    let (top, bottom) = (y + 16.0, y + 16.0 + STRIP);
    let values = strip
        .curves
        .iter()
        .flat_map(|(_, pieces)| pieces.iter().flatten())
        .map(|point| point.1);
    let axis = Axis::linear(strip.unit.unwrap_or(Unit::PerSecond), values, (bottom, top));
    let unit = if strip.unit.is_some() {
        axis.unit()
    } else {
        "cores"
    };
    scene.text(
        (MARGIN, y + 9.0),
        Anchor::Start,
        &format!("{} ({unit})", strip.name),
        TEXT,
        false,
        MUTED,
    );
    for trial in &report.trials {
        let color = if trial.status == TrialStatus::Valid {
            WINDOW
        } else {
            INVALID.faint(0.12)
        };
        for (start, end) in windows(trial) {
            scene.rect((time.at(start), top), (time.at(end), bottom), color);
        }
    }
    for (y, label) in axis.ticks(8.0, false) {
        scene.line(vec![(left, y), (right, y)], 1.0, GRID);
        scene.text(
            (left - 6.0, y + 4.0),
            Anchor::End,
            &label,
            TEXT,
            false,
            MUTED,
        );
    }
    for (subject, pieces) in strip.curves {
        for piece in pieces {
            let points: Vec<Point> = piece
                .iter()
                .map(|(t, v)| (time.at(*t), axis.at(*v)))
                .collect();
            stroke(scene, &points, *subject);
        }
    }
    scene.line(vec![(left, bottom), (right, bottom)], 1.0, AXIS);
    bottom
}

fn time_axis(mut scene: Scene, time: &Time, y: f64) -> Scene {
    let (divisor, unit) = if time.end > 7200.0 {
        (3600.0, "h")
    } else if time.end > 300.0 {
        (60.0, "min")
    } else {
        (1.0, "s")
    };
    let finest = 10f64.powf((time.end / divisor / 10.0).log10().floor());
    // Every step leaves at least 60 pixels between labels.
    let room = (time.pixels.1 - time.pixels.0) / 60.0;
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0].map(|n| n * finest);
    let step = steps
        .into_iter()
        .find(|step| time.end / divisor / step <= room)
        .unwrap_or(time.end / divisor);
    let decimals = (-step.log10().floor() as i32).clamp(0, 6);
    for n in 0..=((time.end / divisor / step).floor() as u32).min(100) {
        let x = time.at(f64::from(n) * step * divisor);
        scene.line(vec![(x, y), (x, y + 4.0)], 1.0, AXIS);
        let label = format::number(f64::from(n) * step, decimals);
        let half = font::width(&label, TEXT, false) / 2.0;
        let x = x.min(scene.width - MARGIN / 2.0 - half);
        scene.text((x, y + 17.0), Anchor::Middle, &label, TEXT, false, MUTED);
    }
    let title = format!("time since the run began ({unit})");
    scene.text(
        (time.pixels.1, y + 36.0),
        Anchor::End,
        &title,
        TEXT,
        false,
        MUTED,
    );
    scene.finish(y + 36.0 + MARGIN)
}
