//! The font inside the binary: a subset of DejaVu Sans, so that charts look
//! alike everywhere and nothing has to be installed.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScale, PxScaleFont, ScaleFont, point};

/// Who draws SVG text; Verdana has nearly the same widths where DejaVu is missing.
pub const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

static REGULAR: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    load(include_bytes!(
        "../../../assets/fonts/DejaVuSans-subset.ttf"
    ))
});
static BOLD: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    load(include_bytes!(
        "../../../assets/fonts/DejaVuSans-Bold-subset.ttf"
    ))
});

fn load(bytes: &'static [u8]) -> FontRef<'static> {
    FontRef::try_from_slice(bytes).expect("the font in the binary is a font; a test reads it")
}

fn font(size: f64, bold: bool) -> PxScaleFont<&'static FontRef<'static>> {
    let font: &FontRef = if bold { &BOLD } else { &REGULAR };
    // The library scales by the height of a line; everyone else by the em.
    let line = font.height_unscaled() / font.units_per_em().unwrap_or(2048.0);
    font.into_scaled(PxScale::from(size as f32 * line))
}

/// Width of a text, in pixels.
pub fn width(text: &str, size: f64, bold: bool) -> f64 {
    let mut end = 0.0;
    place(text, &font(size, bold), |_, advance| end = advance);
    f64::from(end)
}

/// Calls `paint` with each pixel that a text covers and by how much, 0–1.
/// `x` is the left end, `y` the base line.
pub fn rasterize(
    text: &str,
    size: f64,
    bold: bool,
    (x, y): (f64, f64),
    mut paint: impl FnMut(i32, i32, f64),
) {
    let font = font(size, bold);
    let mut glyphs = Vec::new();
    let mut start = 0.0;
    place(text, &font, |id, end| {
        let at = point(x as f32 + start, y as f32);
        glyphs.push(id.with_scale_and_position(font.scale(), at));
        start = end;
    });
    for outline in glyphs
        .into_iter()
        .filter_map(|glyph| font.outline_glyph(glyph))
    {
        let bounds = outline.px_bounds();
        outline.draw(|dx, dy, coverage| {
            let (x, y) = (
                bounds.min.x as i32 + dx as i32,
                bounds.min.y as i32 + dy as i32,
            );
            paint(x, y, f64::from(coverage.clamp(0.0, 1.0)));
        });
    }
}

/// Visits each glyph with the place where it ends.
fn place(text: &str, font: &PxScaleFont<&FontRef>, mut visit: impl FnMut(ab_glyph::GlyphId, f32)) {
    let mut end = 0.0;
    for c in text.chars() {
        let id = font.glyph_id(c);
        // No kerning: browsers and this must agree on widths, and SVG viewers differ on kerning.
        end += font.h_advance(id);
        visit(id, end);
    }
}

/// The text, cut short with an ellipsis where it is wider than `limit`.
pub fn fit(text: &str, size: f64, bold: bool, limit: f64) -> String {
    if width(text, size, bold) <= limit {
        return text.to_owned();
    }
    let mut short: String = text.to_owned();
    while !short.is_empty() && width(&format!("{}…", short.trim_end()), size, bold) > limit {
        short.pop();
    }
    format!("{}…", short.trim_end())
}

/// The text in lines of at most `limit` pixels; longer words are cut short.
pub fn wrap(text: &str, size: f64, bold: bool, limit: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let word = fit(word, size, bold, limit);
        let line = lines.last_mut().expect("it starts with one line");
        let longer = if line.is_empty() {
            word.clone()
        } else {
            format!("{line} {word}")
        };
        if width(&longer, size, bold) <= limit || line.is_empty() {
            *line = longer;
        } else {
            lines.push(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_that_reports_print_has_a_glyph() {
        for c in "AZaz09 µ±×–—−≤≥…•·%/()üßé\u{202f}\u{2009}".chars() {
            for bold in [false, true] {
                assert_ne!(font(12.0, bold).glyph_id(c).0, 0, "{c:?} {bold}");
            }
        }
    }

    #[test]
    fn texts_are_cut_and_wrapped_to_their_limit() {
        let text = "opentelemetry-full-traces against the baseline";
        let cut = fit(text, 12.0, false, 120.0);
        assert!(
            cut.ends_with('…') && width(&cut, 12.0, false) <= 120.0,
            "{cut}"
        );
        let lines = wrap(text, 12.0, false, 190.0);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines.iter().all(|line| width(line, 12.0, false) <= 190.0));
    }
}
