//! What the marks of a chart of rows mean.

use super::font;
use super::palette::{INK, INVALID, MUTED};
use super::rows::{LINE, Rows};
use super::scene::{Anchor, MARGIN, Mark, Scene, TEXT};

/// Says what the marks mean, as far as they occur.
pub fn legend(scene: &mut Scene, rows: &Rows, y: f64) -> f64 {
    let all = || rows.groups.iter().flat_map(|group| &group.rows);
    let trials = || all().flat_map(|row| &row.trials);
    let (counted, invalid) = (trials().any(|t| t.1), trials().any(|t| !t.1));
    let mut at = (MARGIN, y + 8.0);
    let mut item = |scene: &mut Scene, text: &str, draw: &dyn Fn(&mut Scene, (f64, f64))| {
        let width = 20.0 + font::width(text, TEXT, false);
        if at.0 > MARGIN && at.0 + width > scene.width - MARGIN {
            at = (MARGIN, at.1 + LINE);
        }
        draw(scene, (at.0 + 7.0, at.1));
        scene.text(
            (at.0 + 20.0, at.1 + 4.0),
            Anchor::Start,
            text,
            TEXT,
            false,
            MUTED,
        );
        at.0 += width + 16.0;
    };
    if counted {
        item(scene, "a trial", &|scene, at| {
            scene.mark(Mark::Disc, at, 2.4, MUTED)
        });
    }
    if invalid {
        item(scene, "a trial that does not count", &|scene, at| {
            scene.cross(at, 2.8, INVALID)
        });
    }
    if all().any(|row| row.interval.is_some()) {
        item(scene, "mean and interval", &|scene, (x, y)| {
            scene.line(vec![(x - 7.0, y), (x + 7.0, y)], 1.6, INK);
            for x in [x - 7.0, x + 7.0] {
                scene.line(vec![(x, y - 4.0), (x, y + 4.0)], 1.6, INK);
            }
            scene.mark(Mark::Disc, (x, y), 3.0, INK);
        });
    }
    if at == (MARGIN, y + 8.0) {
        y
    } else {
        at.1 + 18.0
    }
}
