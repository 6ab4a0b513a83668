//! What every arm adds, against the baseline: point, interval and every block,
//! before the band in which two identical baselines lie.
//!
//! Each figure has a scale of its own, because memory that grows by 250 % and
//! CPU time that grows by 1 % have nothing in common. Where arms of one figure
//! are that far apart, its scale is even around zero and logarithmic beyond,
//! so that neither the small one nor the large one is lost.

use super::axis::Axis;
use super::figures;
use super::font;
use super::legend::{Key, interval};
use super::palette::{AXIS, GRID, INK, INVALID, MUTED, NOISE, PAPER, verdict};
use super::rows::LINE;
use super::scene::{Anchor, MARGIN, Mark, Point, Scene, TEXT};
use crate::report::claims::{self, Claim};
use crate::report::{Comparison, NoiseFloor, Report, Verdict, format, words};

/// Height of a row: blocks above, the interval below.
const ROW: f64 = 38.0;
/// Space between the parts of a row.
const GAP: f64 = 10.0;
/// Arms whose changes differ by more than this factor don't share an even scale.
const EVEN_MAX: f64 = 20.0;

/// Draws every claim that was fixed in advance.
pub fn draw(report: &Report, width: f64) -> Scene {
    let baseline = claims::contenders(report).next();
    let baseline = baseline.map_or("the baseline", |c| c.baseline.as_str());
    let title = format!("What each scenario adds to {baseline}");
    let subtitle = format!(
        "change of each figure; {} intervals over blocks; each figure has a scale of its own",
        words::confidence(report)
    );
    let (mut scene, y) = Scene::new(width, &title, &subtitle);
    let claims = claims::claims(report, true);
    let mut y = key(&mut scene, report, &claims, y);
    for claim in claims {
        y = heading(&mut scene, claim, y + 6.0);
        y = panel(&mut scene, report, claim, y) + 4.0;
    }
    for scenario in &report.scenarios {
        let Some(note) = figures::note(scenario) else {
            continue;
        };
        let room = width - 2.0 * MARGIN;
        let name = font::fit(&scenario.name, TEXT, true, room);
        scene.text((MARGIN, y + 13.0), Anchor::Start, &name, TEXT, true, INK);
        y += LINE;
        for line in font::wrap(&note, TEXT, false, room) {
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
    }
    scene.finish(y + MARGIN)
}

/// Draws one claim; its marks are explained by [`draw_key`].
pub fn draw_claim(report: &Report, claim: Claim, width: f64) -> Scene {
    let title = words::claim_title(claim);
    let (mut scene, _) = Scene::new(width, "", "");
    scene.title = format!("{title}: change against the baseline");
    scene.description = format!("{} intervals over blocks", words::confidence(report));
    let y = heading(&mut scene, claim, MARGIN - 4.0);
    let y = panel(&mut scene, report, claim, y);
    scene.finish(y + 4.0)
}

/// Draws what the marks of these claims mean.
pub fn draw_key(report: &Report, claims: &[Claim], width: f64) -> Scene {
    let (mut scene, _) = Scene::new(width, "", "");
    scene.title = "What the marks mean".to_owned();
    let y = key(&mut scene, report, claims, MARGIN - 4.0);
    scene.finish(y)
}

fn heading(scene: &mut Scene, claim: Claim, y: f64) -> f64 {
    let title = words::claim_title(claim);
    let title = font::fit(&title, TEXT + 1.0, true, scene.width - 2.0 * MARGIN);
    let at = (MARGIN, y + 14.0);
    scene.text(at, Anchor::Start, &title, TEXT + 1.0, true, INK);
    y + LINE + 5.0
}

/// Says what the marks mean, as far as they occur.
fn key(scene: &mut Scene, report: &Report, claims: &[Claim], y: f64) -> f64 {
    let all: Vec<&Comparison> = claims
        .iter()
        .flat_map(|claim| claims::of_claim(report, *claim))
        .collect();
    let mut key = Key::new(y);
    for kind in [
        Verdict::Higher,
        Verdict::Lower,
        Verdict::NoDifference,
        Verdict::Inconclusive,
    ] {
        if all.iter().any(|c| c.verdict == kind) {
            key.item(scene, words::verdict(kind), |scene, at| {
                point(scene, kind, at)
            });
        }
    }
    if all.iter().any(|c| c.low.is_some()) {
        let text = format!("{} interval", words::confidence(report));
        key.item(scene, &text, |scene, at| {
            interval(scene, (at.0 - 7.0, at.0 + 7.0), at.1);
        });
    }
    if all.iter().any(|c| injected(c).is_some()) {
        key.item(scene, "what was injected", cup);
    }
    if all.iter().any(|c| !c.block_ratios.is_empty()) {
        key.item(scene, "one block", block);
    }
    if claims.iter().any(|c| claims::noise(report, *c).is_some()) {
        key.item(scene, "two identical baselines", |scene, (x, y)| {
            scene.rect((x - 8.0, y - 6.0), (x + 8.0, y + 6.0), NOISE);
        });
    }
    if all.iter().any(|c| margin(c).is_some()) {
        key.item(
            scene,
            "margin: less counts as no difference",
            |scene, (x, y)| {
                scene.dashed((x, y - 8.0), (x, y + 8.0), 1.2, MUTED);
            },
        );
    }
    key.end()
}

fn margin(comparison: &Comparison) -> Option<f64> {
    let margin = comparison.margin_ratio;
    (margin.is_finite() && margin > 0.0).then_some(margin)
}

/// The change that was injected: known in the metric's unit, shown in the same
/// proportion to the comparison's own figures.
fn injected(comparison: &Comparison) -> Option<f64> {
    let ratio = comparison.injected? * comparison.overhead_ratio / comparison.overhead;
    ratio.is_finite().then_some(ratio)
}

/// A known value: a cup that is open to the point that it should hold.
fn cup(scene: &mut Scene, (x, y): Point) {
    let (top, bottom) = (y - 8.0, y + 8.0);
    for side in [-1.0, 1.0] {
        let corners = [(4.5, top), (6.5, top), (6.5, bottom), (4.5, bottom)];
        let points = corners.map(|(dx, y)| (x + side * dx, y)).to_vec();
        scene.line(points, 1.6, INK);
    }
}

/// The columns to the right of the rows: overhead, change, verdict.
struct Columns {
    overhead: f64,
    change: f64,
    verdict: f64,
}

impl Columns {
    /// Wide enough for every claim, so that the scales of all stand below one another.
    fn of(report: &Report) -> Columns {
        let widest = |text: fn(&Comparison) -> String| {
            claims::contenders(report)
                .map(|c| font::width(&text(c), TEXT, false))
                .fold(0.0, f64::max)
        };
        Columns {
            overhead: widest(overhead),
            change: widest(change),
            verdict: widest(|c| words::verdict(c.verdict).to_owned()),
        }
    }

    fn width(&self) -> f64 {
        self.overhead + self.change + self.verdict + 2.0 * GAP
    }
}

fn overhead(comparison: &Comparison) -> String {
    words::added(comparison).point
}

fn change(comparison: &Comparison) -> String {
    format::change(comparison.overhead_ratio, comparison.low, comparison.high).point
}

fn panel(scene: &mut Scene, report: &Report, claim: Claim, y: f64) -> f64 {
    let comparisons = claims::of_claim(report, claim);
    let noise = claims::noise(report, claim);
    let columns = Columns::of(report);
    let width = scene.width;
    let names = claims::contenders(report)
        .map(|c| font::width(&c.scenario, TEXT, false))
        .fold(0.0, f64::max);
    // On a phone, names and figures stand above the rows.
    let above = names.min(width * 0.3) + columns.width() > width * 0.62;
    let pixels = if above {
        (MARGIN + 2.0, width - MARGIN - 4.0)
    } else {
        (
            MARGIN + names.min(width * 0.3) + GAP,
            width - MARGIN - columns.width() - GAP - 6.0,
        )
    };
    let axis = axis(&comparisons, noise, pixels);
    let height = (ROW + if above { LINE } else { 0.0 }) * comparisons.len() as f64;
    ground(scene, &axis, &comparisons, noise, pixels, (y, y + height));
    let mut row = y;
    for comparison in comparisons {
        if above {
            labels_above(scene, comparison, row);
            row += LINE;
        } else {
            labels_beside(scene, &columns, comparison, pixels, row);
        }
        marks(scene, &axis, comparison, row);
        row += ROW;
    }
    scale(scene, &axis, pixels, y + height)
}

fn axis(comparisons: &[&Comparison], noise: Option<&NoiseFloor>, pixels: (f64, f64)) -> Axis {
    let reach = |c: &&Comparison| {
        [Some(c.overhead_ratio), c.low, c.high]
            .into_iter()
            .flatten()
            .filter(|v| v.is_finite())
            .fold(0.0, |reach: f64, v| reach.max(v.abs()))
    };
    let most = comparisons.iter().map(reach).fold(0.0, f64::max);
    let least = comparisons.iter().map(reach).fold(f64::INFINITY, f64::min);
    let margins = || comparisons.iter().filter_map(|c| margin(c));
    let fine = margins().fold(0.0, f64::max).max(least);
    let bent = comparisons.len() > 1 && most > fine * EVEN_MAX;
    let values = comparisons.iter().flat_map(|c| {
        let blocks = c.block_ratios.iter().map(|b| b.ratio);
        let ends = [Some(c.overhead_ratio), c.low, c.high];
        blocks.chain(ends.into_iter().flatten()).chain(injected(c))
    });
    let band = noise.into_iter().flat_map(|n| [n.low, n.high]).flatten();
    let margins = margins().flat_map(|m| [m, -m]);
    let all: Vec<f64> = values.chain(band).chain(margins).collect();
    Axis::changes(all, bent.then_some(fine), pixels)
}

/// Noise band, grid, zero and margins, behind the rows.
fn ground(
    scene: &mut Scene,
    axis: &Axis,
    comparisons: &[&Comparison],
    noise: Option<&NoiseFloor>,
    (left, right): (f64, f64),
    (top, bottom): (f64, f64),
) {
    for n in (0..comparisons.len()).skip(1) {
        let y = top + (bottom - top) * n as f64 / comparisons.len() as f64;
        scene.line(vec![(MARGIN, y), (scene.width - MARGIN, y)], 1.0, GRID);
    }
    let ends = noise.and_then(|n| n.low.zip(n.high));
    if let Some((low, high)) = ends.filter(|(l, h)| l.is_finite() && h.is_finite()) {
        // A band narrower than a line would not be seen.
        let (low, high) = (axis.at(low), axis.at(high));
        let high = high.max(low + 1.5).min(right.max(low));
        scene.rect((low, top), (high, bottom), NOISE);
    }
    for (x, _) in axis.ticks(10.0, true) {
        scene.line(vec![(x, top), (x, bottom)], 1.0, GRID);
    }
    scene.line(vec![(left, bottom), (right, bottom)], 1.0, AXIS);
    let zero = axis.at(0.0);
    scene.line(vec![(zero, top), (zero, bottom)], 1.2, MUTED);
    let margin = comparisons
        .iter()
        .filter_map(|c| margin(c))
        .fold(0.0, f64::max);
    if margin > 0.0 {
        for x in [axis.at(-margin), axis.at(margin)] {
            scene.dashed((x, top), (x, bottom), 1.2, MUTED);
        }
    }
}

fn labels_above(scene: &mut Scene, comparison: &Comparison, y: f64) {
    let room = scene.width - 2.0 * MARGIN;
    let text = format!(
        "{}  {}  {}",
        overhead(comparison),
        change(comparison),
        words::verdict(comparison.verdict)
    );
    let text = font::fit(&text, TEXT, false, room * 0.75);
    let used = font::width(&text, TEXT, false) + GAP;
    let name = font::fit(&comparison.scenario, TEXT, true, room - used);
    // The scale's lines must not run through words.
    let top = (MARGIN - 2.0, y + 2.0);
    scene.rect(top, (scene.width - MARGIN + 2.0, y + LINE), PAPER);
    let (left, right) = (MARGIN, scene.width - MARGIN);
    scene.text((left, y + 13.0), Anchor::Start, &name, TEXT, true, INK);
    scene.text((right, y + 13.0), Anchor::End, &text, TEXT, false, INK);
}

fn labels_beside(
    scene: &mut Scene,
    columns: &Columns,
    comparison: &Comparison,
    (left, right): (f64, f64),
    y: f64,
) {
    let base = y + ROW / 2.0 + 4.0;
    let name = font::fit(&comparison.scenario, TEXT, false, left - GAP - MARGIN);
    scene.text((left - GAP, base), Anchor::End, &name, TEXT, false, INK);
    let mut x = right + GAP + 6.0 + columns.overhead;
    let text = overhead(comparison);
    scene.text((x, base), Anchor::End, &text, TEXT, true, INK);
    x += GAP + columns.change;
    let text = change(comparison);
    scene.text((x, base), Anchor::End, &text, TEXT, false, INK);
    let text = words::verdict(comparison.verdict);
    scene.text((x + GAP, base), Anchor::Start, text, TEXT, false, INK);
}

fn marks(scene: &mut Scene, axis: &Axis, comparison: &Comparison, y: f64) {
    let blocks = &comparison.block_ratios;
    let steps = (blocks.len().max(2) - 1) as f64;
    for (n, entry) in blocks.iter().enumerate() {
        if entry.ratio.is_finite() {
            // Later blocks stand lower, so that equal values do not hide each other.
            let at = (axis.at(entry.ratio), y + 6.0 + 13.0 * n as f64 / steps);
            block(scene, at);
        }
    }
    let middle = y + ROW - 10.0;
    if let Some(injected) = injected(comparison) {
        cup(scene, (axis.at(injected), middle));
    }
    let ends = comparison.low.zip(comparison.high);
    if let Some((low, high)) = ends.filter(|(l, h)| l.is_finite() && h.is_finite()) {
        interval(scene, (axis.at(low), axis.at(high)), middle);
    }
    if comparison.overhead_ratio.is_finite() {
        let at = (axis.at(comparison.overhead_ratio), middle);
        point(scene, comparison.verdict, at);
    }
}

fn block(scene: &mut Scene, at: Point) {
    scene.mark(Mark::Disc, at, 2.9, PAPER);
    scene.mark(Mark::Disc, at, 2.2, MUTED);
}

fn point(scene: &mut Scene, kind: Verdict, at: Point) {
    let (color, mark) = verdict(kind);
    scene.mark(mark, at, 5.4, PAPER);
    if kind == Verdict::Inconclusive {
        scene.hollow_mark(mark, at, 4.4, color);
    } else {
        scene.mark(mark, at, 4.3, color);
    }
}

/// The scale below the rows.
fn scale(scene: &mut Scene, axis: &Axis, (_, right): (f64, f64), y: f64) -> f64 {
    for (x, label) in axis.ticks(10.0, true) {
        scene.line(vec![(x, y), (x, y + 4.0)], 1.0, AXIS);
        let half = font::width(&label, TEXT, false) / 2.0;
        let x = x.clamp(MARGIN / 2.0 + half, scene.width - MARGIN / 2.0 - half);
        scene.text((x, y + 17.0), Anchor::Middle, &label, TEXT, false, MUTED);
    }
    let title = if axis.is_log() {
        "change (%), logarithmic away from zero"
    } else {
        "change (%)"
    };
    scene.text((right, y + 34.0), Anchor::End, title, TEXT, false, MUTED);
    y + 42.0
}
