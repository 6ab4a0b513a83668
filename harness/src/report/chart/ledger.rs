//! Where the machine's CPU time of one request went, part by part.

use super::axis::Axis;
use super::figures;
use super::font;
use super::legend::Key;
use super::palette::{AXIS, GRID, INK, INVALID, MUTED, Owner, PAPER, filling};
use super::rows::LINE;
use super::scene::{Anchor, MARGIN, Scene, TEXT};
use crate::metric::Unit;
use crate::report::{Report, ScenarioReport, format, words};

/// Height of a bar, and from a bar to the next.
const BAR: f64 = 26.0;
const ROW: f64 = 38.0;
const GAP: f64 = 10.0;

/// A scenario's bar.
struct Bar<'a> {
    scenario: &'a ScenarioReport,
    /// Whose time, in seconds per request.
    parts: Vec<(Owner, f64)>,
}

impl Bar<'_> {
    fn total(&self) -> f64 {
        self.parts.iter().map(|part| part.1).sum()
    }
}

/// Draws the chart.
pub fn draw(report: &Report, width: f64) -> Scene {
    let subtitle = "busy time of all CPUs, per request; every part is somebody's or nobody's";
    let title = "Where the CPU time of one request goes";
    let (mut scene, y) = Scene::new(width, title, subtitle);
    let bars: Vec<Bar> = report.scenarios.iter().filter_map(bar).collect();
    let mut y = key(&mut scene, &bars, y) + 4.0;
    if bars.is_empty() {
        let text = "No trial has a ledger.";
        scene.text((MARGIN, y + 14.0), Anchor::Start, text, TEXT, false, MUTED);
        y += 24.0;
    } else {
        y = self::bars(&mut scene, &bars, y);
    }
    for scenario in &report.scenarios {
        let Some(note) = figures::note(scenario) else {
            continue;
        };
        let room = width - 2.0 * MARGIN;
        // One with a bar is named there.
        if !bars.iter().any(|bar| bar.scenario.name == scenario.name) {
            let name = font::fit(&scenario.name, TEXT, true, room);
            scene.text((MARGIN, y + 13.0), Anchor::Start, &name, TEXT, true, INK);
            y += LINE;
        }
        let note = if bars.iter().any(|bar| bar.scenario.name == scenario.name) {
            format!("{}: {note}", scenario.name)
        } else {
            note
        };
        for line in font::wrap(&note, TEXT, false, room) {
            let at = (MARGIN, y + 12.0);
            scene.text(at, Anchor::Start, &line, TEXT, false, INVALID);
            y += LINE;
        }
    }
    scene.finish(y + MARGIN)
}

fn bar(scenario: &ScenarioReport) -> Option<Bar<'_>> {
    let ledger = scenario.ledger.as_ref().filter(|l| l.requests > 0)?;
    let mut parts: Vec<(Owner, f64)> = ledger
        .rows
        .iter()
        .map(|row| (Owner::Role(row.subject), row.cpu_seconds))
        .collect();
    match ledger.other_tasks_seconds {
        Some(others) => parts.extend([
            (Owner::OtherTasks, others),
            (Owner::NoTask, ledger.remainder_seconds - others),
        ]),
        None => parts.push((Owner::Remainder, ledger.remainder_seconds)),
    }
    for part in &mut parts {
        // Less than nothing is noise of the accounting; the table has it.
        let seconds = part.1 / ledger.requests as f64;
        part.1 = if seconds.is_finite() && seconds < 1e100 {
            seconds.max(0.0)
        } else {
            0.0
        };
    }
    Some(Bar { scenario, parts })
}

fn name(owner: Owner) -> &'static str {
    match owner {
        Owner::Role(subject) => words::subject(subject),
        Owner::OtherTasks => "other tasks",
        Owner::NoTask => "no task",
        Owner::Remainder => "nobody's",
    }
}

fn key(scene: &mut Scene, bars: &[Bar], y: f64) -> f64 {
    let mut owners: Vec<Owner> = Vec::new();
    for (owner, _) in bars.iter().flat_map(|bar| &bar.parts) {
        if !owners.contains(owner) {
            // A role that some arms lack stands where it stands in bars.
            let place = match owner {
                Owner::Role(subject) => owners
                    .iter()
                    .position(|o| !matches!(o, Owner::Role(other) if other < subject)),
                _ => None,
            };
            owners.insert(place.unwrap_or(owners.len()), *owner);
        }
    }
    let mut key = Key::new(y);
    for owner in owners {
        key.item(scene, name(owner), |scene, (x, y)| {
            fill(scene, (x - 9.0, x + 8.0), (y - 7.0, y + 7.0), owner);
        });
    }
    key.end()
}

fn fill(scene: &mut Scene, (x0, x1): (f64, f64), (y0, y1): (f64, f64), owner: Owner) {
    let (ground, pattern, lines) = filling(owner);
    scene.rect((x0, y0), (x1, y1), PAPER);
    scene.rect((x0, y0), (x1, y1), ground);
    scene.hatch((x0, y0), (x1, y1), pattern, lines);
    let corners = vec![(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)];
    scene.line(corners, 1.0, INK);
}

fn bars(scene: &mut Scene, bars: &[Bar], y: f64) -> f64 {
    let width = scene.width;
    let names = bars
        .iter()
        .map(|bar| font::width(&bar.scenario.name, TEXT, false))
        .fold(0.0, f64::max);
    let total = |bar: &Bar| format::quantity(Unit::Seconds, bar.total());
    let totals = bars
        .iter()
        .map(|bar| font::width(&total(bar), TEXT, true))
        .fold(0.0, f64::max);
    let above = names > width * 0.3;
    let pixels = if above {
        (MARGIN, width - MARGIN - 4.0)
    } else {
        (MARGIN + names + GAP, width - MARGIN - totals - GAP)
    };
    let axis = Axis::linear(Unit::Seconds, bars.iter().map(Bar::total), pixels);
    let (behind, top) = (scene.shapes.len(), y);
    let mut y = y;
    for bar in bars {
        if above {
            let value = font::width(&total(bar), TEXT, true) + GAP;
            let room = width - 2.0 * MARGIN - value;
            let name = font::fit(&bar.scenario.name, TEXT, false, room);
            scene.rect((0.0, y), (width, y + LINE), PAPER);
            scene.text((MARGIN, y + 13.0), Anchor::Start, &name, TEXT, false, INK);
            let at = (width - MARGIN, y + 13.0);
            scene.text(at, Anchor::End, &total(bar), TEXT, true, INK);
            y += LINE + 2.0;
        } else {
            let base = y + BAR / 2.0 + 4.5;
            let name = &bar.scenario.name;
            scene.text((pixels.0 - GAP, base), Anchor::End, name, TEXT, false, INK);
            let at = (width - MARGIN, base);
            scene.text(at, Anchor::End, &total(bar), TEXT, true, INK);
        }
        parts(scene, bar, &axis, y);
        y += if above { ROW - 4.0 } else { ROW };
    }
    let bottom = y - ROW + BAR + 8.0;
    let ticks = axis.ticks(10.0, true);
    let front = scene.shapes.split_off(behind);
    for (x, _) in &ticks {
        scene.line(vec![(*x, top), (*x, bottom)], 1.0, GRID);
    }
    scene.shapes.extend(front);
    scene.line(vec![(pixels.0, bottom), (pixels.1, bottom)], 1.0, AXIS);
    for (x, label) in ticks {
        scene.line(vec![(x, bottom), (x, bottom + 4.0)], 1.0, AXIS);
        let half = font::width(&label, TEXT, false) / 2.0;
        let x = x.clamp(MARGIN / 2.0 + half, width - MARGIN / 2.0 - half);
        let at = (x, bottom + 17.0);
        scene.text(at, Anchor::Middle, &label, TEXT, false, MUTED);
    }
    let title = format!("CPU time per request ({})", axis.unit());
    let at = (pixels.1, bottom + 36.0);
    scene.text(at, Anchor::End, &title, TEXT, false, MUTED);
    bottom + 44.0
}

fn parts(scene: &mut Scene, bar: &Bar, axis: &Axis, y: f64) {
    let mut before = 0.0;
    for (owner, seconds) in &bar.parts {
        let (x0, x1) = (axis.at(before), axis.at(before + seconds));
        before += seconds;
        if x1 - x0 < 0.5 {
            continue;
        }
        fill(scene, (x0, x1), (y, y + BAR), *owner);
        let text = format::quantity(Unit::Seconds, *seconds);
        let half = font::width(&text, TEXT, false) / 2.0;
        // A value that does not fit into its part is in the table.
        if x1 - x0 >= 2.0 * half + 14.0 {
            let middle = (x0 + x1) / 2.0;
            let (left, right) = (middle - half - 4.0, middle + half + 4.0);
            scene.rect((left, y + 5.0), (right, y + BAR - 5.0), PAPER);
            let at = (middle, y + BAR / 2.0 + 4.3);
            scene.text(at, Anchor::Middle, &text, TEXT, false, INK);
        }
    }
}
