//! What the marks of a chart mean.

use super::font;
use super::palette::{INK, INVALID, MUTED};
use super::rows::{LINE, Rows};
use super::scene::{Anchor, MARGIN, Mark, Point, Scene, TEXT};

/// Explanations one after another, on as many lines as they need.
pub struct Key {
    /// Left end and middle of the next.
    at: Point,
    empty: bool,
}

impl Key {
    /// A key that begins at `y`.
    pub fn new(y: f64) -> Key {
        Key {
            at: (MARGIN, y + 8.0),
            empty: true,
        }
    }

    /// Adds an explanation; `draw` draws what is explained around the point that it gets.
    pub fn item(&mut self, scene: &mut Scene, text: &str, draw: impl FnOnce(&mut Scene, Point)) {
        let text = font::fit(text, TEXT, false, scene.width - 2.0 * MARGIN - 20.0);
        let width = 20.0 + font::width(&text, TEXT, false);
        if self.at.0 > MARGIN && self.at.0 + width > scene.width - MARGIN {
            self.at = (MARGIN, self.at.1 + LINE);
        }
        let (x, y) = self.at;
        draw(scene, (x + 7.0, y));
        scene.text(
            (x + 20.0, y + 4.0),
            Anchor::Start,
            &text,
            TEXT,
            false,
            MUTED,
        );
        self.at.0 += width + 16.0;
        self.empty = false;
    }

    /// The place below the key.
    pub fn end(self) -> f64 {
        if self.empty {
            self.at.1 - 8.0
        } else {
            self.at.1 + 18.0
        }
    }
}

/// Says what the marks of a chart of rows mean, as far as they occur.
pub fn legend(scene: &mut Scene, rows: &Rows, y: f64) -> f64 {
    let all = || rows.groups.iter().flat_map(|group| &group.rows);
    let trials = || all().flat_map(|row| &row.trials);
    let (counted, invalid) = (trials().any(|t| t.1), trials().any(|t| !t.1));
    let mut key = Key::new(y);
    if counted {
        key.item(scene, "a trial", |scene, at| {
            scene.mark(Mark::Disc, at, 2.4, MUTED)
        });
    }
    if invalid {
        key.item(scene, "a trial that does not count", |scene, at| {
            scene.cross(at, 2.8, INVALID)
        });
    }
    if all().any(|row| row.interval.is_some()) {
        key.item(scene, "mean and interval", |scene, at| {
            interval(scene, (at.0 - 7.0, at.0 + 7.0), at.1);
            scene.mark(Mark::Disc, at, 3.0, INK);
        });
    }
    key.end()
}

/// An interval with a stop at each end.
pub fn interval(scene: &mut Scene, (low, high): (f64, f64), y: f64) {
    scene.line(vec![(low, y), (high, y)], 1.6, INK);
    for x in [low, high] {
        scene.line(vec![(x, y - 5.5), (x, y + 5.5)], 1.6, INK);
    }
}
