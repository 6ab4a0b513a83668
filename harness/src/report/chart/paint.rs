//! Shapes → PNG, through plotters.

use std::path::{Path, PathBuf};

use plotters::backend::BitMapBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Polygon};
use plotters::prelude::DrawingBackend;
use plotters::style::{Color as _, RGBAColor, RGBColor, ShapeStyle};

use super::font;
use super::palette::{Color, PAPER};
use super::scene::{Point, Scene, Shape};

/// A PNG has twice the pixels of its SVG, for sharp screens.
const PNG_SCALE: f64 = 2.0;
/// Each pixel of a PNG is the mean of so many by so many, which smooths every edge.
const SUPERSAMPLE: usize = 2;

/// What can go wrong on the way to a picture.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// The drawing library refused.
    #[error("draw chart `{name}`: {reason}")]
    Draw {
        /// The chart.
        name: String,
        /// The library's words.
        reason: String,
    },
    /// The file could not be written.
    #[error("write chart {path}: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The library's words.
        reason: String,
    },
}

/// Writes the drawing as PNG. The file's name must end in `.png`.
pub fn png(scene: &Scene, path: &Path) -> Result<(), ChartError> {
    let scale = PNG_SCALE * SUPERSAMPLE as f64;
    let (width, height) = (
        (scene.width * PNG_SCALE) as usize,
        (scene.height * PNG_SCALE) as usize,
    );
    let (fine_width, fine_height) = (width * SUPERSAMPLE, height * SUPERSAMPLE);
    let mut fine = vec![0u8; fine_width * fine_height * 3];
    let mut draw = || {
        let size = (fine_width as u32, fine_height as u32);
        let area = BitMapBackend::with_buffer(&mut fine, size).into_drawing_area();
        shapes(&area, scene, scale, png_text)?;
        area.present()
    };
    draw().map_err(|error: DrawingAreaErrorKind<_>| ChartError::Draw {
        name: scene.title.clone(),
        reason: error.to_string(),
    })?;
    let pixels = shrink(&fine, fine_width, width, height);
    let size = (width as u32, height as u32);
    let mut picture = BitMapBackend::new(path, size);
    let drawn = picture
        .blit_bitmap((0, 0), size, &pixels)
        .and_then(|()| picture.present());
    drawn.map_err(|error| ChartError::Write {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Means over squares of `SUPERSAMPLE` by `SUPERSAMPLE` pixels.
fn shrink(fine: &[u8], fine_width: usize, width: usize, height: usize) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let mut sum = 0;
                for dy in 0..SUPERSAMPLE {
                    for dx in 0..SUPERSAMPLE {
                        let (x, y) = (x * SUPERSAMPLE + dx, y * SUPERSAMPLE + dy);
                        sum += usize::from(fine[(y * fine_width + x) * 3 + channel]);
                    }
                }
                pixels.push((sum / (SUPERSAMPLE * SUPERSAMPLE)) as u8);
            }
        }
    }
    pixels
}

type Area<DB> = DrawingArea<DB, Shift>;
type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// A line of text on its way to a backend.
struct Words<'a> {
    at: Point,
    text: &'a str,
    size: f64,
    bold: bool,
    color: Color,
}

fn shapes<DB: DrawingBackend>(
    area: &Area<DB>,
    scene: &Scene,
    scale: f64,
    draw_text: impl Fn(&Area<DB>, Words) -> Drawn<DB>,
) -> Drawn<DB> {
    area.fill(&paint(PAPER))?;
    let pixel = |(x, y): Point| ((x * scale).round() as i32, (y * scale).round() as i32);
    let pixels = |points: &[Point]| points.iter().copied().map(pixel).collect::<Vec<_>>();
    for shape in &scene.shapes {
        match shape {
            Shape::Line {
                points,
                width,
                color,
            } => {
                let stroke = (width * scale).round().max(1.0) as u32;
                let style = ShapeStyle {
                    color: paint(*color),
                    filled: false,
                    stroke_width: stroke,
                };
                let mut points = pixels(points);
                points.dedup();
                if points.len() > 1 {
                    area.draw(&PathElement::new(points, style))?;
                }
            }
            Shape::Area { points, color } => {
                area.draw(&Polygon::new(pixels(points), paint(*color).filled()))?
            }
            Shape::Disc {
                center,
                radius,
                color,
            } => {
                area.draw(&Circle::new(
                    pixel(*center),
                    (radius * scale).round() as i32,
                    paint(*color).filled(),
                ))?;
            }
            Shape::Text {
                at,
                text,
                size,
                bold,
                color,
            } => {
                let at = (at.0 * scale, at.1 * scale);
                draw_text(
                    area,
                    Words {
                        at,
                        text,
                        size: size * scale,
                        bold: *bold,
                        color: *color,
                    },
                )?;
            }
        }
    }
    Ok(())
}

/// The library's own text loses the space before each letter, so letters are set here.
fn png_text(area: &Area<BitMapBackend>, words: Words) -> Drawn<BitMapBackend<'static>> {
    let (width, height) = area.dim_in_pixel();
    let mut drawn = Ok(());
    font::rasterize(
        words.text,
        words.size,
        words.bold,
        words.at,
        |x, y, coverage| {
            let inside = (0..width as i32).contains(&x) && (0..height as i32).contains(&y);
            if inside && drawn.is_ok() {
                drawn = area.draw_pixel(
                    (x, y),
                    &paint(words.color.faint(words.color.opacity * coverage)),
                );
            }
        },
    );
    drawn
}

fn paint(color: Color) -> RGBAColor {
    let (r, g, b) = color.rgb;
    RGBColor(r, g, b).mix(color.opacity)
}
