//! A chart of rows: one row per figure, with its point, its interval, and every trial.
//!
//! Rows rather than columns, because names of scenarios are long and there may be many.

use super::axis::Axis;
use super::font;
use super::legend::legend;
use super::palette::{AXIS, GRID, INK, INVALID, Look, MUTED, PAPER};
use super::scene::{Anchor, MARGIN, Mark, Scene, TEXT};
use crate::metric::Unit;
use crate::report::format;

/// What a chart of rows shows.
pub struct Rows {
    /// Its title: the finding, or the quantity.
    pub title: String,
    /// What stands below the title.
    pub subtitle: String,
    /// What the axis shows; the unit is added.
    pub axis: &'static str,
    /// Unit of every value.
    pub unit: Unit,
    /// Whether rows are bars from zero; if not, the axis covers the values alone.
    pub bars: bool,
    /// Rows that belong together.
    pub groups: Vec<Group>,
}

/// Rows that belong together.
pub struct Group {
    /// What they belong to; empty for no heading.
    pub name: String,
    /// What must be said about them.
    pub note: Option<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// One figure.
pub struct Row {
    /// What it is about.
    pub label: String,
    /// How it looks.
    pub look: Look,
    /// Point over trials.
    pub estimate: f64,
    /// Interval over trials.
    pub interval: Option<(f64, f64)>,
    /// Trials in their order: value, and whether it counts.
    pub trials: Vec<(f64, bool)>,
}

impl Row {
    /// The values that the axis must hold. A trial that does not count may lie beyond it.
    fn values(&self) -> impl Iterator<Item = f64> {
        let (low, high) = self.interval.unwrap_or((self.estimate, self.estimate));
        let counted = self
            .trials
            .iter()
            .filter(|(_, counts)| *counts)
            .map(|(value, _)| *value);
        [self.estimate, low, high].into_iter().chain(counted)
    }
}

/// Space between the parts of a row.
const GAP: f64 = 8.0;
/// Height of a row: trials above, the interval below.
const ROW: f64 = 36.0;
/// Height of a line of text.
pub const LINE: f64 = 17.0;

/// Draws the rows, as wide as asked and as high as they need.
pub fn draw(rows: &Rows, width: f64) -> Scene {
    let (mut scene, mut y) = Scene::new(width, &rows.title, &rows.subtitle);
    y = legend(&mut scene, rows, y);
    let all = || rows.groups.iter().flat_map(|group| &group.rows);
    if all().next().is_none() {
        return without_rows(scene, rows, y);
    }

    let values = all().map(|row| value(rows.unit, row));
    let values_width = values
        .map(|text| font::width(&text, TEXT, false))
        .fold(0.0, f64::max);
    let labels_width = all()
        .map(|row| font::width(&row.label, TEXT, false))
        .fold(0.0, f64::max);
    // Labels that would leave too little room for the rows stand above them.
    let above = labels_width > width * 0.3;
    let left = if above {
        MARGIN + 2.0
    } else {
        MARGIN + labels_width + GAP
    };
    let right = if above {
        width - MARGIN - 4.0
    } else {
        width - MARGIN - values_width - GAP
    };
    let make = if rows.bars {
        Axis::linear
    } else {
        Axis::spread
    };
    let axis = make(
        rows.unit,
        all().flat_map(Row::values).collect::<Vec<_>>(),
        (left, right),
    );

    // The grid lies behind the rows, but its height is known after them.
    let (behind, top) = (scene.shapes.len(), y);
    for group in &rows.groups {
        y = heading(&mut scene, group, y);
        for row in &group.rows {
            let text = value(rows.unit, row);
            if above {
                let value_width = font::width(&text, TEXT, false) + GAP;
                let label = font::fit(&row.label, TEXT, false, width - 2.0 * MARGIN - value_width);
                scene.text((MARGIN, y + 13.0), Anchor::Start, &label, TEXT, false, INK);
                scene.text(
                    (width - MARGIN, y + 13.0),
                    Anchor::End,
                    &text,
                    TEXT,
                    false,
                    INK,
                );
                y += LINE;
            } else {
                let base = y + ROW / 2.0 + 4.0;
                scene.text(
                    (left - GAP, base),
                    Anchor::End,
                    &row.label,
                    TEXT,
                    false,
                    INK,
                );
                scene.text((width - MARGIN, base), Anchor::End, &text, TEXT, false, INK);
            }
            self::row(&mut scene, rows, row, &axis, y);
            y += ROW + 4.0;
        }
        y += 6.0;
    }
    let ticks = axis.ticks(10.0, true);
    let front = scene.shapes.split_off(behind);
    for (x, _) in &ticks {
        scene.line(vec![(*x, top), (*x, y)], 1.0, GRID);
    }
    scene.shapes.extend(front);
    scene.line(vec![(left, y), (right, y)], 1.0, AXIS);
    for (x, label) in ticks {
        scene.line(vec![(x, y), (x, y + 4.0)], 1.0, AXIS);
        // A label at an end of the axis may not leave the drawing.
        let half = font::width(&label, TEXT, false) / 2.0;
        let x = x.clamp(MARGIN / 2.0 + half, width - MARGIN / 2.0 - half);
        scene.text((x, y + 17.0), Anchor::Middle, &label, TEXT, false, MUTED);
    }
    let log = if axis.is_log() { ", logarithmic" } else { "" };
    let title = format!("{} ({}{log})", rows.axis, axis.unit());
    scene.text((right, y + 36.0), Anchor::End, &title, TEXT, false, MUTED);
    scene.finish(y + 36.0 + MARGIN)
}

fn value(unit: Unit, row: &Row) -> String {
    let (low, high) = (row.interval.map(|i| i.0), row.interval.map(|i| i.1));
    format::estimate(unit, row.estimate, low, high).point
}

fn heading(scene: &mut Scene, group: &Group, y: f64) -> f64 {
    let mut y = y;
    let room = scene.width - 2.0 * MARGIN;
    if !group.name.is_empty() {
        let name = font::fit(&group.name, TEXT, true, room);
        clear(scene, y, font::width(&name, TEXT, true));
        scene.text((MARGIN, y + 13.0), Anchor::Start, &name, TEXT, true, INK);
        y += LINE + 2.0;
    }
    for line in group
        .note
        .iter()
        .flat_map(|note| font::wrap(note, TEXT, false, room))
    {
        scene.text(
            (MARGIN, y + 12.0),
            Anchor::Start,
            &line,
            TEXT,
            false,
            INVALID,
        );
        y += LINE;
    }
    y
}

/// Keeps the grid from running through a line of text.
fn clear(scene: &mut Scene, y: f64, width: f64) {
    scene.rect(
        (MARGIN - 2.0, y + 1.0),
        (MARGIN + width + 3.0, y + LINE),
        PAPER,
    );
}

fn row(scene: &mut Scene, rows: &Rows, row: &Row, axis: &Axis, y: f64) {
    let color = row.look.color;
    if row.estimate.is_finite() {
        let (start, end) = (axis.at(axis.low().max(0.0)), axis.at(row.estimate));
        if rows.bars {
            scene.rect((start, y + 2.0), (end, y + ROW - 2.0), color.faint(0.16));
            scene.line(
                vec![(end, y + 2.0), (end, y + ROW - 2.0)],
                1.0,
                color.faint(0.6),
            );
        }
        let middle = y + ROW - 9.5;
        if let Some((low, high)) = row.interval.filter(|(l, h)| l.is_finite() && h.is_finite()) {
            let (low, high) = (axis.at(low), axis.at(high));
            scene.line(vec![(low, middle), (high, middle)], 1.6, INK);
            for x in [low, high] {
                scene.line(vec![(x, middle - 5.0), (x, middle + 5.0)], 1.6, INK);
            }
        }
        scene.mark(row.look.mark, (end, middle), 3.6, color);
    }
    let steps = (row.trials.len().max(2) - 1) as f64;
    for (n, (value, counts)) in row
        .trials
        .iter()
        .enumerate()
        .filter(|(_, t)| t.0.is_finite())
    {
        // Later trials stand lower, so that equal values do not hide each other.
        let at = (axis.at(*value), y + 6.0 + 13.0 * n as f64 / steps);
        if *counts {
            scene.mark(Mark::Disc, at, 2.7, PAPER);
            scene.mark(Mark::Disc, at, 2.2, color);
        } else {
            scene.cross(at, 2.8, INVALID);
        }
    }
}

fn without_rows(mut scene: Scene, rows: &Rows, mut y: f64) -> Scene {
    for group in &rows.groups {
        y = heading(&mut scene, group, y) + 6.0;
    }
    scene.text(
        (MARGIN, y + 14.0),
        Anchor::Start,
        "No trial has such a figure.",
        TEXT,
        false,
        MUTED,
    );
    scene.finish(y + 30.0)
}
