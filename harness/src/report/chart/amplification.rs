//! What a request costs more with every copy of an agent's programs: each
//! block's own points, and the line through them.

use super::axis::Axis;
use super::font;
use super::legend::{Key, interval};
use super::palette::{AXIS, GRID, INK, MUTED, series};
use super::rows::LINE;
use super::scene::{Anchor, MARGIN, Scene, TEXT};
use crate::metric::Unit;
use crate::report::{Amplification, Payer, Report, Slope, words};
use crate::stats;

/// Height of a panel.
const PANEL: f64 = 190.0;
/// Who is drawn: everybody, and the two who share the bill on a loopback connection.
const SHOWN: [Payer; 3] = [Payer::Everyone, Payer::Target, Payer::Load];

/// Draws the chart.
pub fn draw(report: &Report, width: f64) -> Scene {
    let title = "What one copy of the agent's programs costs";
    let subtitle = "CPU time of a request above the block's two baselines, by number of copies";
    let (mut scene, y) = Scene::new(width, title, subtitle);
    let Some(amplification) = &report.amplification else {
        return scene.finish(y);
    };
    let mut y = key(&mut scene, report, y);
    let slopes = amplification.slopes.iter();
    for slope in slopes.filter(|slope| SHOWN.contains(&slope.of)) {
        y = panel(&mut scene, report, amplification, slope, y + 6.0);
    }
    scene.finish(y + MARGIN)
}

fn key(scene: &mut Scene, report: &Report, y: f64) -> f64 {
    let mut key = Key::new(y);
    key.item(scene, "one block", |scene, at| {
        scene.mark(series(1).mark, at, 2.6, MUTED);
    });
    let text = format!("mean and {} interval", words::confidence(report));
    key.item(scene, &text, |scene, at| {
        interval(scene, (at.0 - 7.0, at.0 + 7.0), at.1);
    });
    key.item(
        scene,
        "the line: what one copy costs is its slope",
        |scene, at| {
            scene.line(
                vec![(at.0 - 8.0, at.1 + 4.0), (at.0 + 8.0, at.1 - 4.0)],
                1.8,
                series(1).color,
            );
        },
    );
    key.end()
}

fn panel(
    scene: &mut Scene,
    report: &Report,
    amplification: &Amplification,
    slope: &Slope,
    y: f64,
) -> f64 {
    let width = scene.width;
    let (left, right) = (MARGIN + 52.0, width - MARGIN - 14.0);
    let (top, bottom) = (y + LINE + 8.0, y + LINE + 8.0 + PANEL);
    let most = amplification.copies.last().copied().unwrap_or(1).max(1);
    let line = |copies: f64| slope.beside_copies.estimate + slope.per_copy.estimate * copies;
    let all = slope.points.iter().map(|point| point.added);
    let all = all.chain([0.0, line(0.0), line(f64::from(most))]);
    let axis = Axis::between(Unit::Seconds, all, (bottom, top));
    let x = |copies: f64| left + (right - left) * copies / (f64::from(most) * 1.04);

    let (copy, its_interval) = words::amount(slope.per_copy);
    let title = format!(
        "{} ({}): one copy {copy}, {its_interval}",
        words::payer(slope.of),
        axis.unit()
    );
    let title = font::fit(&title, TEXT + 1.0, true, width - 2.0 * MARGIN);
    scene.text(
        (MARGIN, y + 14.0),
        Anchor::Start,
        &title,
        TEXT + 1.0,
        true,
        INK,
    );
    for (at, label) in axis.ticks(8.0, false) {
        scene.line(vec![(left, at), (right, at)], 1.0, GRID);
        scene.text(
            (left - 6.0, at + 4.0),
            Anchor::End,
            &label,
            TEXT,
            false,
            MUTED,
        );
    }
    // Nothing added is what the agent is held against.
    scene.line(vec![(left, axis.at(0.0)), (right, axis.at(0.0))], 1.0, AXIS);
    // Where two numbers would stand on each other, the one that was measured stays.
    let nought = (x(1.0) - x(0.0) >= 12.0).then_some(0);
    for copies in nought
        .into_iter()
        .chain(amplification.copies.iter().copied())
    {
        let at = (x(f64::from(copies)), bottom + 15.0);
        scene.text(at, Anchor::Middle, &copies.to_string(), TEXT, false, MUTED);
    }
    scene.text(
        (right, bottom + 32.0),
        Anchor::End,
        "copies",
        TEXT,
        false,
        MUTED,
    );

    let ends = [0.0, f64::from(most)].map(|copies| (x(copies), axis.at(line(copies))));
    scene.line(ends.to_vec(), 1.8, series(1).color);
    for &copies in &amplification.copies {
        let here = slope.points.iter().filter(|point| point.copies == copies);
        let added: Vec<f64> = here.map(|point| point.added).collect();
        let middle = x(f64::from(copies));
        for (n, value) in added.iter().enumerate() {
            // Side by side, so that equal ones do not hide each other.
            let aside = (n % 5) as f64 * 2.4 - 11.0;
            scene.mark(
                series(1).mark,
                (middle + aside, axis.at(*value)),
                2.6,
                MUTED,
            );
        }
        let mean = stats::mean(&added, report.confidence);
        if let Some((low, high)) = mean.and_then(|mean| mean.interval) {
            let (low, high) = (axis.at(low), axis.at(high));
            scene.line(vec![(middle, low), (middle, high)], 1.6, INK);
            for end in [low, high] {
                scene.line(vec![(middle - 5.0, end), (middle + 5.0, end)], 1.6, INK);
            }
        }
    }
    bottom + 40.0
}
