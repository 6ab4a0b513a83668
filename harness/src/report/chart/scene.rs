//! A drawing as plain shapes, in pixels from the top left. What is drawn can
//! then be tested without looking at pixels.

use super::font;
use super::palette::{Color, INK, MUTED};

/// A drawing.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// Width in pixels.
    pub width: f64,
    /// Height in pixels.
    pub height: f64,
    /// Its name, for those who can't see it.
    pub title: String,
    /// What it shows, for those who can't see it.
    pub description: String,
    /// What is drawn, from back to front.
    pub shapes: Vec<Shape>,
}

/// A point in pixels.
pub type Point = (f64, f64);

/// Something drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A line through points.
    Line {
        /// At least two points.
        points: Vec<Point>,
        /// Width of the stroke.
        width: f64,
        /// Colour of the stroke.
        color: Color,
    },
    /// A filled polygon.
    Area {
        /// Its corners.
        points: Vec<Point>,
        /// Colour of the filling.
        color: Color,
    },
    /// A filled circle.
    Disc {
        /// Its centre.
        center: Point,
        /// Its radius.
        radius: f64,
        /// Colour of the filling.
        color: Color,
    },
    /// A line of text.
    Text {
        /// Left end of the base line.
        at: Point,
        /// What it says.
        text: String,
        /// Size of the font.
        size: f64,
        /// Whether it is bold.
        bold: bool,
        /// Its colour.
        color: Color,
    },
}

/// Which end of a text is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Anchor {
    /// The left end.
    Start,
    /// The middle.
    Middle,
    /// The right end.
    End,
}

/// The marks that stand for points; each differs in form from the others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mark {
    /// A disc.
    Disc,
    /// A square.
    Square,
    /// A triangle that stands on its base.
    Triangle,
    /// A square on its corner.
    Diamond,
}

/// Size of text in a chart.
pub const TEXT: f64 = 12.0;
/// Size of a chart's title.
pub const TITLE: f64 = 15.0;
/// Space around a chart.
pub const MARGIN: f64 = 12.0;

impl Scene {
    /// A drawing that says what it is; `height` is set by [`Scene::finish`].
    /// Returns it with the place below the heading.
    pub fn new(width: f64, title: &str, subtitle: &str) -> (Scene, f64) {
        let mut scene = Scene {
            width,
            height: 0.0,
            title: title.to_owned(),
            description: subtitle.to_owned(),
            shapes: Vec::new(),
        };
        let room = width - 2.0 * MARGIN;
        let mut y = MARGIN;
        for line in font::wrap(title, TITLE, true, room) {
            y += TITLE * 1.25;
            scene.text((MARGIN, y), Anchor::Start, &line, TITLE, true, INK);
        }
        y += 3.0;
        for line in font::wrap(subtitle, TEXT, false, room) {
            y += TEXT * 1.4;
            scene.text((MARGIN, y), Anchor::Start, &line, TEXT, false, MUTED);
        }
        (scene, y + 10.0)
    }

    /// Ends the drawing at `height`.
    pub fn finish(mut self, height: f64) -> Scene {
        self.height = height.ceil();
        self
    }

    /// Adds a line through points; fewer than two draw nothing.
    pub fn line(&mut self, mut points: Vec<Point>, width: f64, color: Color) {
        points.dedup();
        if points.len() > 1 {
            self.shapes.push(Shape::Line {
                points,
                width,
                color,
            });
        }
    }

    /// Adds a filled rectangle.
    pub fn rect(&mut self, (x0, y0): Point, (x1, y1): Point, color: Color) {
        let points = vec![(x0, y0), (x1, y0), (x1, y1), (x0, y1)];
        self.shapes.push(Shape::Area { points, color });
    }

    /// Adds an upright cross.
    pub fn cross(&mut self, (x, y): Point, radius: f64, color: Color) {
        self.line(
            vec![(x - radius, y - radius), (x + radius, y + radius)],
            1.6,
            color,
        );
        self.line(
            vec![(x - radius, y + radius), (x + radius, y - radius)],
            1.6,
            color,
        );
    }

    /// Adds a mark.
    pub fn mark(&mut self, mark: Mark, center: Point, radius: f64, color: Color) {
        let (x, y) = center;
        let at = |corners: &[Point]| {
            corners
                .iter()
                .map(|(dx, dy)| (x + dx * radius, y + dy * radius))
                .collect()
        };
        let points = match mark {
            Mark::Disc => {
                return self.shapes.push(Shape::Disc {
                    center,
                    radius,
                    color,
                });
            }
            Mark::Square => at(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
            Mark::Triangle => at(&[(0.0, -1.2), (1.1, 0.85), (-1.1, 0.85)]),
            Mark::Diamond => at(&[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)]),
        };
        self.shapes.push(Shape::Area { points, color });
    }

    /// Adds a line of text; `at` is on its base line.
    pub fn text(
        &mut self,
        (x, y): Point,
        anchor: Anchor,
        text: &str,
        size: f64,
        bold: bool,
        color: Color,
    ) {
        // Control characters have no form, and XML does not allow them.
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let width = font::width(&text, size, bold);
        let x = match anchor {
            Anchor::Start => x,
            Anchor::Middle => x - width / 2.0,
            Anchor::End => x - width,
        };
        if !text.trim().is_empty() {
            self.shapes.push(Shape::Text {
                at: (x, y),
                text,
                size,
                bold,
                color,
            });
        }
    }
}
