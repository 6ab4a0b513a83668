//! Shapes → SVG. Neighbours of one colour share a path, for a page has many drawings.

use std::fmt::Write;

use super::font;
use super::palette::{Color, PAPER};
use super::scene::{Point, Scene, Shape};

/// Coordinates are whole numbers, so a pixel is ten units.
const UNITS: f64 = 10.0;
/// Beyond this, viewers lose precision; nothing that is drawn comes near.
const FAR: f64 = 1e8;

/// The drawing as SVG, with a title and a description for those who can't see
/// it. `id` must differ between the drawings of one page.
pub fn svg(scene: &Scene, id: &str) -> String {
    let (width, height) = (scene.width * UNITS, scene.height * UNITS);
    let (title, description) = (escape(&scene.title), escape(&scene.description));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\" \
         font-family=\"{}\">\n\
         <title id=\"{id}-title\">{title}</title>\n<desc id=\"{id}-desc\">{description}</desc>\n",
        scene.width,
        scene.height,
        font::FAMILY,
    );
    let mut writer = Writer {
        text: &mut text,
        open: None,
    };
    let paper = format!("M0 0H{width}V{height}H0Z");
    writer.path(&fill(PAPER), &paper, false);
    for shape in &scene.shapes {
        writer.shape(shape);
    }
    writer.close();
    text += "</svg>\n";
    text
}

/// SVG in the making, whose last path may still grow.
struct Writer<'a> {
    text: &'a mut String,
    /// Attributes of the path that is open.
    open: Option<String>,
}

impl Writer<'_> {
    fn shape(&mut self, shape: &Shape) {
        match shape {
            Shape::Line {
                points,
                width,
                color,
            } => {
                let stroke = format!(
                    "fill=\"none\" stroke=\"{}\"{} stroke-width=\"{}\"",
                    hex(*color),
                    opacity(*color, "stroke-opacity"),
                    unit(*width).max(1)
                );
                // Where translucent lines of one path cross, they would not darken.
                self.path(&stroke, &route(points), color.opacity >= 1.0);
            }
            Shape::Area { points, color } => {
                // One way round, as discs: turned the other way, an overlap would become a hole.
                let route = if clockwise(points) {
                    route(&points.iter().rev().copied().collect::<Vec<_>>())
                } else {
                    route(points)
                } + "Z";
                self.path(&fill(*color), &route, color.opacity >= 1.0);
            }
            Shape::Disc {
                center,
                radius,
                color,
            } => {
                let ((x, y), r) = (pixel(*center), unit(*radius));
                let d = r * 2;
                let circle = format!("M{} {y}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0Z", x - r);
                self.path(&fill(*color), &circle, color.opacity >= 1.0);
            }
            Shape::Text {
                at,
                text,
                size,
                bold,
                color,
            } => {
                self.close();
                let (x, y) = pixel(*at);
                let weight = if *bold { " font-weight=\"bold\"" } else { "" };
                let _ = writeln!(
                    self.text,
                    "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\"{weight} {}>{}</text>",
                    unit(*size),
                    fill(*color),
                    escape(text)
                );
            }
        }
    }

    /// Adds a path, to the open one where it looks the same.
    fn path(&mut self, attributes: &str, route: &str, joins: bool) {
        if !joins || self.open.as_deref() != Some(attributes) {
            self.close();
            let _ = write!(self.text, "<path {attributes} d=\"");
            self.open = Some(attributes.to_owned());
        }
        *self.text += route;
        if !joins {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.open.take().is_some() {
            *self.text += "\"/>\n";
        }
    }
}

/// A route through points, each relative to the one before, which is shorter.
fn route(points: &[Point]) -> String {
    let mut text = String::new();
    let mut last: Option<(i64, i64)> = None;
    for point in points.iter().copied().map(pixel) {
        let _ = match last {
            None => write!(text, "M{} {}", point.0, point.1),
            Some((x, y)) if (x, y) == point => continue,
            Some((x, y)) if y == point.1 => write!(text, "h{}", point.0 - x),
            Some((x, y)) if x == point.0 => write!(text, "v{}", point.1 - y),
            Some((x, y)) => write!(text, "l{} {}", point.0 - x, point.1 - y),
        };
        last = Some(point);
    }
    text
}

fn clockwise(points: &[Point]) -> bool {
    let ends = points.iter().zip(points.iter().cycle().skip(1));
    ends.map(|(a, b)| a.0 * b.1 - b.0 * a.1).sum::<f64>() > 0.0
}

fn pixel((x, y): Point) -> (i64, i64) {
    (unit(x), unit(y))
}

fn unit(value: f64) -> i64 {
    (value * UNITS).round().clamp(-FAR, FAR) as i64
}

fn fill(color: Color) -> String {
    format!("fill=\"{}\"{}", hex(color), opacity(color, "fill-opacity"))
}

fn hex(color: Color) -> String {
    let (r, g, b) = color.rgb;
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn opacity(color: Color, name: &str) -> String {
    if color.opacity < 1.0 {
        format!(" {name}=\"{}\"", color.opacity)
    } else {
        String::new()
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
