//! A drawing as plain shapes, in pixels from the top left. What is drawn can
//! then be tested without looking at pixels.

use super::font;
use super::palette::{Color, INK, MUTED, PAPER};

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
    /// A triangle that stands on its tip.
    Down,
    /// A square on its corner.
    Diamond,
    /// An upright cross; a slanting one is what does not count.
    Plus,
    /// A flat bar.
    Dash,
}

/// What fills an area, for those who see no colours and for grey printers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pattern {
    /// Colour alone.
    Solid,
    /// Lines that rise to the right.
    Rising,
    /// Lines that fall to the right.
    Falling,
    /// Both.
    Crossed,
    /// Upright lines.
    Upright,
    /// Flat lines.
    Flat,
    /// Both of these.
    Grid,
    /// Dots.
    Dotted,
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
        let subtitle = subtitle.trim();
        for line in font::wrap(title, TITLE, true, room) {
            y += TITLE * 1.25;
            scene.text((MARGIN, y), Anchor::Start, &line, TITLE, true, INK);
        }
        y += 3.0;
        for line in font::wrap(subtitle, TEXT, false, room) {
            if line.is_empty() {
                break;
            }
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
            Mark::Down => at(&[(0.0, 1.2), (1.1, -0.85), (-1.1, -0.85)]),
            Mark::Plus => at(&[
                (-0.35, -1.2),
                (0.35, -1.2),
                (0.35, -0.35),
                (1.2, -0.35),
                (1.2, 0.35),
                (0.35, 0.35),
                (0.35, 1.2),
                (-0.35, 1.2),
                (-0.35, 0.35),
                (-1.2, 0.35),
                (-1.2, -0.35),
                (-0.35, -0.35),
            ]),
            Mark::Dash => at(&[(-1.3, -0.4), (1.3, -0.4), (1.3, 0.4), (-1.3, 0.4)]),
            Mark::Diamond => at(&[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)]),
        };
        self.shapes.push(Shape::Area { points, color });
    }

    /// Adds a mark of which only the outline is drawn.
    pub fn hollow_mark(&mut self, mark: Mark, center: Point, radius: f64, color: Color) {
        self.mark(mark, center, radius, color);
        self.mark(mark, center, radius * 0.55, PAPER);
    }

    /// Adds a line of equal dashes, each as long as the gap after it.
    pub fn dashed(&mut self, from: Point, to: Point, width: f64, color: Color) {
        const DASH: f64 = 3.5;
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let at = |along: f64| {
            let share = (along / length).min(1.0);
            (
                from.0 + (to.0 - from.0) * share,
                from.1 + (to.1 - from.1) * share,
            )
        };
        for n in 0..(length / DASH / 2.0).ceil() as u32 {
            let along = f64::from(n) * DASH * 2.0;
            self.line(vec![at(along), at(along + DASH)], width, color);
        }
    }

    /// Adds the lines or dots of a pattern within a rectangle.
    pub fn hatch(&mut self, (x0, y0): Point, (x1, y1): Point, pattern: Pattern, color: Color) {
        const STEP: f64 = 6.0;
        const STROKE: f64 = 1.3;
        // From the first multiple of the step, so that neighbours' lines meet.
        let steps = |from: f64, to: f64| {
            let first = (from / STEP).ceil() as i64;
            let last = (to / STEP).floor() as i64;
            (first..=last).map(|n| n as f64 * STEP)
        };
        match pattern {
            Pattern::Solid => {}
            Pattern::Rising => {
                for sum in steps(x0 + y0, x1 + y1) {
                    let (start, end) = ((sum - y1).max(x0), (sum - y0).min(x1));
                    self.line(vec![(start, sum - start), (end, sum - end)], STROKE, color);
                }
            }
            Pattern::Falling => {
                for sum in steps(x0 - y1, x1 - y0) {
                    let (start, end) = ((sum + y0).max(x0), (sum + y1).min(x1));
                    self.line(vec![(start, start - sum), (end, end - sum)], STROKE, color);
                }
            }
            Pattern::Crossed => {
                self.hatch((x0, y0), (x1, y1), Pattern::Rising, color);
                self.hatch((x0, y0), (x1, y1), Pattern::Falling, color);
            }
            Pattern::Upright => {
                for x in steps(x0, x1) {
                    self.line(vec![(x, y0), (x, y1)], STROKE, color);
                }
            }
            Pattern::Grid => {
                for x in steps(x0, x1) {
                    self.line(vec![(x, y0), (x, y1)], STROKE, color);
                }
                for y in steps(y0, y1) {
                    self.line(vec![(x0, y), (x1, y)], STROKE, color);
                }
            }
            Pattern::Flat => {
                for y in steps(y0, y1) {
                    self.line(vec![(x0, y), (x1, y)], STROKE, color);
                }
            }
            Pattern::Dotted => {
                for (n, y) in steps(y0 + 1.5, y1 - 1.5).enumerate() {
                    let shift = if n % 2 == 0 { 0.0 } else { STEP / 2.0 };
                    for x in steps(x0 + 1.5 - shift, x1 - 1.5 - shift) {
                        self.mark(Mark::Disc, (x + shift, y), 1.2, color);
                    }
                }
            }
        }
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
