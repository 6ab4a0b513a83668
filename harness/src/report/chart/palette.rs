//! Colours that survive colour-blindness and a grey printer.
//!
//! The hues are those of Okabe and Ito ("Color Universal Design", 2008), dealt
//! out so that roles that stand side by side also differ in lightness; each
//! role has a mark or a dash of its own as well.

use super::scene::Mark;
use crate::sample::Subject;

/// A colour and how much it covers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Color {
    /// Red, green, blue.
    pub rgb: (u8, u8, u8),
    /// 0 is invisible, 1 covers everything.
    pub opacity: f64,
}

const fn rgb(r: u8, g: u8, b: u8) -> Color {
    Color {
        rgb: (r, g, b),
        opacity: 1.0,
    }
}

impl Color {
    /// The same colour, seen through.
    pub const fn faint(self, opacity: f64) -> Color {
        Color {
            rgb: self.rgb,
            opacity,
        }
    }
}

/// What charts stand on; they keep it in dark mode too.
pub const PAPER: Color = rgb(0xff, 0xff, 0xff);
/// Titles and values.
pub const INK: Color = rgb(0x1f, 0x24, 0x2a);
/// Axis labels and explanations.
pub const MUTED: Color = rgb(0x5a, 0x62, 0x6b);
/// Grid lines.
pub const GRID: Color = rgb(0xe1, 0xe4, 0xe8);
/// Lines of axes.
pub const AXIS: Color = rgb(0x9a, 0xa1, 0xa9);
/// What does not count.
pub const INVALID: Color = rgb(0xb3, 0x3a, 0x1a);
/// The measured windows of a timeline.
pub const WINDOW: Color = rgb(0xee, 0xf1, 0xf4);

/// How a role looks.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Its colour.
    pub color: Color,
    /// Its mark.
    pub mark: Mark,
    /// Length of a dash and of the gap after it; none for an unbroken line.
    pub dash: Option<(f64, f64)>,
}

/// How a role looks in every chart.
pub fn look(subject: Subject) -> Look {
    let (color, mark, dash) = match subject {
        Subject::Target => (rgb(0x00, 0x72, 0xb2), Mark::Disc, None),
        Subject::Agent => (rgb(0xe6, 0x9f, 0x00), Mark::Triangle, None),
        Subject::Total => (rgb(0x1f, 0x24, 0x2a), Mark::Square, None),
        Subject::Load => (rgb(0x00, 0x9e, 0x73), Mark::Diamond, Some((6.0, 3.0))),
        Subject::Harness => (rgb(0xcc, 0x79, 0xa7), Mark::Square, Some((2.0, 2.5))),
        Subject::VictoriaMetrics => (rgb(0xd5, 0x5e, 0x00), Mark::Diamond, Some((7.0, 2.5))),
        Subject::Node => (rgb(0x8a, 0x92, 0x9a), Mark::Diamond, None),
    };
    Look { color, mark, dash }
}
