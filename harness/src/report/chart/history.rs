//! Many runs over time: overheads of each scenario, then what the baseline cost.
//!
//! Runs stand side by side in the order of time, not to its scale: a week
//! without runs and a day with thirty would both be unreadable. Points are
//! joined within a machine only, and each machine has a mark of its own.

use super::axis::Axis;
use super::font;
use super::legend::Key;
use super::palette::{AXIS, GRID, INK, INVALID, MUTED, Series as Look, series as look};
use super::rows::LINE;
use super::scene::{Anchor, MARGIN, Point as Place, Scene, TEXT};
use crate::history::console::title;
use crate::history::{History, Point, Series, letter};
use crate::report::{Interval, format, words};

/// Height of a panel.
const PANEL: f64 = 150.0;
/// Machines that the key names; the others are in the table.
const NAMED: usize = 8;
/// More changes of machine than this are told by the marks alone.
const CHANGES: usize = 8;

/// Draws the chart, as wide as asked and as high as it needs.
pub fn draw(history: &History, width: f64) -> Scene {
    let figure = words::metric(history.metric, history.quantile);
    let subtitle = format!(
        "{}a point a run, in the order of time, not to its scale; \
         joined where the machine is the same; cost scales do not begin at zero",
        interval_level(history)
    );
    let heading = format!("{figure}, run by run");
    let (mut scene, y) = Scene::new(width, &heading, &subtitle);
    let mut y = key(&mut scene, history, y);
    let panels: Vec<Panel<'_>> = history
        .scenarios
        .iter()
        .filter(|series| !series.points.is_empty())
        .map(|series| {
            let overheads = series.points.iter().any(|point| point.overhead.is_some());
            // What has an overhead is shown by it alone: the cost is the machine's as much as its own.
            let shown = if overheads {
                Shown::Overhead
            } else {
                Shown::Cost
            };
            Panel { series, shown }
        })
        .collect();
    if panels.is_empty() {
        let text = "No run has such a figure.";
        scene.text((MARGIN, y + 14.0), Anchor::Start, text, TEXT, false, MUTED);
        return scene.finish(y + 30.0);
    }
    let place = Places::new(history, width);
    for panel in panels {
        y = draw_panel(&mut scene, history, &place, &panel, y + 4.0);
        y = dates(&mut scene, history, &place, y);
    }
    scene.finish(y + MARGIN)
}

/// What a panel shows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shown {
    /// Scenario ÷ baseline − 1.
    Overhead,
    /// The figure itself.
    Cost,
}

struct Panel<'a> {
    series: &'a Series,
    shown: Shown,
}

impl Panel<'_> {
    fn value(&self, point: &Point) -> Option<Interval> {
        match self.shown {
            Shown::Overhead => point.overhead,
            Shown::Cost => point.figure,
        }
    }

    fn axis(&self, history: &History, pixels: Place) -> Axis {
        let intervals = self.series.points.iter().filter_map(|p| self.value(p));
        let values = intervals
            .flat_map(|i| [Some(i.estimate), i.low, i.high])
            .flatten();
        let values: Vec<f64> = values.collect();
        match self.shown {
            Shown::Overhead => Axis::changes(values, None, pixels),
            Shown::Cost => Axis::between(history.metric.unit(), values, pixels),
        }
    }

    fn title(&self, unit: &str) -> String {
        let title = title(self.series);
        match self.shown {
            Shown::Overhead => format!("{title}: overhead over the baseline ({unit})"),
            Shown::Cost => format!("{title}: cost ({unit})"),
        }
    }
}

/// Where each run stands.
struct Places {
    left: f64,
    right: f64,
    runs: usize,
}

impl Places {
    fn new(history: &History, width: f64) -> Places {
        Places {
            left: MARGIN + 52.0,
            right: width - MARGIN - 4.0,
            runs: history.runs.len().max(1),
        }
    }

    fn slot(&self) -> f64 {
        (self.right - self.left) / self.runs as f64
    }

    fn at(&self, run: usize) -> f64 {
        self.left + self.slot() * (run as f64 + 0.5)
    }

    /// Radius of a mark: small where there are many runs.
    fn radius(&self) -> f64 {
        (self.slot() * 0.4).clamp(1.6, 4.0)
    }
}

fn interval_level(history: &History) -> String {
    let mut levels: Vec<f64> = history.runs.iter().map(|run| run.confidence).collect();
    levels.dedup();
    match levels.as_slice() {
        [level] => format!("{} intervals; ", format::level(*level)),
        _ => String::new(),
    }
}

fn key(scene: &mut Scene, history: &History, y: f64) -> f64 {
    let mut key = Key::new(y);
    for (n, machine) in history.machines.iter().take(NAMED).enumerate() {
        let text = if history.machines.len() > 1 {
            format!("{}: {machine}", letter(n))
        } else {
            machine.clone()
        };
        key.item(scene, &text, |scene, at| mark(scene, look(n), at, 4.0));
    }
    if history.machines.len() > NAMED {
        let more = history.machines.len() - NAMED;
        key.item(scene, &format!("and {more} more machines"), |_, _| {});
    }
    let mut points = history.scenarios.iter().flat_map(|series| &series.points);
    if points.any(|point| point.reason.is_some()) {
        let text = "a run in which the scenario has no figures";
        key.item(scene, text, |scene, at| scene.cross(at, 3.2, INVALID));
    }
    key.end()
}

fn mark(scene: &mut Scene, look: Look, at: Place, radius: f64) {
    if look.hollow && radius > 2.5 {
        scene.hollow_mark(look.mark, at, radius, look.color);
    } else {
        scene.mark(look.mark, at, radius * 0.9, look.color);
    }
}

fn draw_panel(
    scene: &mut Scene,
    history: &History,
    place: &Places,
    panel: &Panel<'_>,
    y: f64,
) -> f64 {
    let (top, bottom) = (y + LINE + 8.0, y + LINE + 8.0 + PANEL);
    let axis = panel.axis(history, (bottom, top));
    let heading = panel.title(axis.unit());
    let heading = font::fit(&heading, TEXT + 1.0, true, scene.width - 2.0 * MARGIN);
    let at = (MARGIN, y + 14.0);
    scene.text(at, Anchor::Start, &heading, TEXT + 1.0, true, INK);
    for (y, label) in axis.ticks(8.0, false) {
        scene.line(vec![(place.left, y), (place.right, y)], 1.0, GRID);
        let at = (place.left - 6.0, y + 4.0);
        let label = font::fit(&label, TEXT, false, place.left - 8.0);
        scene.text(at, Anchor::End, &label, TEXT, false, MUTED);
    }
    if panel.shown == Shown::Overhead {
        let zero = axis.at(0.0);
        scene.line(vec![(place.left, zero), (place.right, zero)], 1.4, AXIS);
    }
    scene.line(vec![(place.left, bottom), (place.right, bottom)], 1.0, AXIS);
    moves(scene, history, place, (top, bottom));

    let at = |point: &Point, value: f64| (place.at(point.run), axis.at(value));
    let machine = |point: &Point| history.runs[point.run].machine;
    // Where stretches of one machine are told apart by lines, nothing joins them; runs of
    // machines that alternate would not be joined at all otherwise.
    let stretches = changes(history).len() <= CHANGES;
    for number in 0..history.machines.len() {
        let mut piece: Vec<Place> = Vec::new();
        let mut pieces = Vec::new();
        for point in &panel.series.points {
            let own = machine(point) == number;
            match panel.value(point) {
                Some(interval) if own => piece.push(at(point, interval.estimate)),
                _ if own || stretches => pieces.push(std::mem::take(&mut piece)),
                _ => {}
            }
        }
        pieces.push(piece);
        for piece in pieces {
            scene.line(piece, 1.2, look(number).color.faint(0.35));
        }
    }
    for point in &panel.series.points {
        let look = look(machine(point));
        let Some(interval) = panel.value(point) else {
            if point.reason.is_some() {
                let x = place.at(point.run);
                scene.cross((x, bottom - 12.0), place.radius().min(3.2), INVALID);
            }
            continue;
        };
        if let Some((low, high)) = interval.low.zip(interval.high) {
            let line = vec![at(point, low), at(point, high)];
            scene.line(line, 1.4, look.color.faint(0.75));
        }
        mark(scene, look, at(point, interval.estimate), place.radius());
    }
    bottom
}

/// The runs whose machine is not that of the run before.
fn changes(history: &History) -> Vec<usize> {
    let runs = &history.runs;
    let changed = |n: &usize| runs[*n].machine != runs[n - 1].machine;
    (1..runs.len()).filter(changed).collect()
}

/// Where the machine changes, a dashed line parts the runs and letters name both.
fn moves(scene: &mut Scene, history: &History, place: &Places, (top, bottom): Place) {
    let runs = &history.runs;
    let changes = changes(history);
    if changes.is_empty() || changes.len() > CHANGES {
        return;
    }
    for n in &changes {
        let x = place.left + place.slot() * *n as f64;
        scene.dashed((x, top - 4.0), (x, bottom), 1.0, AXIS);
    }
    let starts = std::iter::once(0).chain(changes.iter().copied());
    let ends = changes.iter().copied().chain([runs.len()]);
    for (start, end) in starts.zip(ends) {
        let name = letter(runs[start].machine);
        let (from, to) = (
            place.left + place.slot() * start as f64,
            place.left + place.slot() * end as f64,
        );
        if font::width(&name, TEXT, true) + 8.0 < to - from {
            let at = (from + 4.0, top + 8.0);
            scene.text(at, Anchor::Start, &name, TEXT, true, MUTED);
        }
    }
}

/// Days below a panel, times of day where several runs share one: as many as fit.
fn dates(scene: &mut Scene, history: &History, place: &Places, y: f64) -> f64 {
    let mut free = place.left - 24.0;
    let mut last_day = "";
    for (n, run) in history.runs.iter().enumerate() {
        let day = run.started.get(..10).unwrap_or(&run.started);
        let time = run.started.get(11..16).unwrap_or_default();
        let text = if day == last_day { time } else { day };
        // What is no date may have any width.
        let label = font::fit(text, TEXT, false, 100.0);
        let half = font::width(&label, TEXT, false) / 2.0;
        let edge = MARGIN / 2.0 + half;
        let x = place.at(n).clamp(edge, scene.width - edge);
        if text.is_empty() || x - half < free {
            continue;
        }
        scene.line(vec![(place.at(n), y), (place.at(n), y + 4.0)], 1.0, AXIS);
        scene.text((x, y + 17.0), Anchor::Middle, &label, TEXT, false, MUTED);
        free = x + half + 10.0;
        last_day = day;
    }
    y + 24.0
}
