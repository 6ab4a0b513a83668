//! Colours that survive colour-blindness and a grey printer.
//!
//! The hues are those of Okabe and Ito ("Color Universal Design", 2008), dealt
//! out so that roles that stand side by side also differ in lightness; each
//! role has a mark or a dash of its own as well.

use super::scene::{Mark, Pattern, Point, Scene};
use crate::report::Verdict;
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
/// Where two identical baselines lie.
pub const NOISE: Color = rgb(0xd3, 0xd8, 0xdd);
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
        Subject::Intake => (rgb(0x56, 0xb4, 0xe9), Mark::Triangle, Some((1.5, 2.5))),
        Subject::Harness => (rgb(0xcc, 0x79, 0xa7), Mark::Square, Some((2.0, 2.5))),
        Subject::VictoriaMetrics => (rgb(0xd5, 0x5e, 0x00), Mark::Diamond, Some((7.0, 2.5))),
        Subject::Node => (rgb(0x8a, 0x92, 0x9a), Mark::Diamond, None),
    };
    Look { color, mark, dash }
}

/// The colour and the mark of a verdict; an inconclusive one is hollow.
pub fn verdict(verdict: Verdict) -> (Color, Mark) {
    match verdict {
        Verdict::Higher => (rgb(0xd5, 0x5e, 0x00), Mark::Triangle),
        Verdict::Lower => (rgb(0x00, 0x72, 0xb2), Mark::Down),
        Verdict::NoDifference => (INK, Mark::Square),
        Verdict::Inconclusive => (MUTED, Mark::Disc),
    }
}

/// How one of many series looks: its colour and its mark differ from those of the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Series {
    /// Its colour.
    pub color: Color,
    /// Its mark.
    pub mark: Mark,
    /// Whether only the mark's outline is drawn.
    pub hollow: bool,
}

impl Series {
    /// Draws its mark; one of which only the outline is drawn is a little larger.
    pub fn mark(self, scene: &mut Scene, at: Point, radius: f64) {
        if self.hollow {
            scene.hollow_mark(self.mark, at, radius + 0.4, self.color);
        } else {
            scene.mark(self.mark, at, radius, self.color);
        }
    }
}

/// How the series of this number looks. Twelve marks and seven colours have no
/// common divisor, so that no two of 84 series look alike, and no two of
/// twelve do without colour.
pub fn series(number: usize) -> Series {
    const COLORS: [Color; 7] = [
        rgb(0x1f, 0x24, 0x2a),
        rgb(0xd5, 0x5e, 0x00),
        rgb(0x00, 0x72, 0xb2),
        rgb(0xb8, 0x7a, 0x00),
        rgb(0x00, 0x86, 0x62),
        rgb(0xb0, 0x5a, 0x8a),
        rgb(0x3a, 0x92, 0xc9),
    ];
    const MARKS: [(Mark, bool); 12] = [
        (Mark::Disc, false),
        (Mark::Triangle, false),
        (Mark::Square, true),
        (Mark::Diamond, false),
        (Mark::Down, true),
        (Mark::Plus, false),
        (Mark::Disc, true),
        (Mark::Square, false),
        (Mark::Triangle, true),
        (Mark::Down, false),
        (Mark::Diamond, true),
        (Mark::Dash, false),
    ];
    let (mark, hollow) = MARKS[number % MARKS.len()];
    Series {
        color: COLORS[number % COLORS.len()],
        mark,
        hollow,
    }
}

/// Whose time a part of a ledger is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owner {
    /// A role.
    Role(Subject),
    /// Other processes and kernel threads.
    OtherTasks,
    /// No task at all.
    NoTask,
    /// Nobody's, where the kernel doesn't tell the last two apart.
    Remainder,
}

/// The ground of a part of a ledger, its pattern, and the pattern's colour.
pub fn filling(owner: Owner) -> (Color, Pattern, Color) {
    match owner {
        Owner::Role(subject) => {
            let color = look(subject).color;
            match subject {
                Subject::Target => (color, Pattern::Solid, color),
                Subject::Agent => (color, Pattern::Rising, INK),
                Subject::Load => (color.faint(0.35), Pattern::Falling, color),
                Subject::Intake => (color.faint(0.35), Pattern::Grid, color),
                Subject::Harness => (color.faint(0.35), Pattern::Upright, color),
                Subject::VictoriaMetrics => (color.faint(0.35), Pattern::Crossed, color),
                Subject::Node | Subject::Total => (color.faint(0.35), Pattern::Flat, color),
            }
        }
        Owner::OtherTasks => (rgb(0xd3, 0xd8, 0xdd), Pattern::Dotted, MUTED),
        Owner::NoTask => (PAPER, Pattern::Flat, AXIS),
        Owner::Remainder => (PAPER, Pattern::Dotted, AXIS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_differ_without_colour() {
        for n in 0..12 {
            for other in 0..n {
                let (a, b) = (series(n), series(other));
                assert!(
                    (a.mark, a.hollow) != (b.mark, b.hollow),
                    "{n} looks like {other}"
                );
            }
        }
        let all: Vec<Series> = (0..84).map(series).collect();
        for (n, a) in all.iter().enumerate() {
            assert!(!all[..n].contains(a), "{n}");
        }
    }

    #[test]
    fn parts_of_a_ledger_differ_without_colour() {
        let roles = Subject::ROLES.map(Owner::Role);
        let others = [Owner::OtherTasks, Owner::NoTask];
        let patterns: Vec<Pattern> = roles
            .into_iter()
            .chain(others)
            .map(|owner| filling(owner).1)
            .collect();
        for (n, pattern) in patterns.iter().enumerate() {
            assert!(!patterns[..n].contains(pattern), "{pattern:?}");
        }
    }

    #[test]
    fn verdicts_differ_without_colour() {
        let all = [
            Verdict::Higher,
            Verdict::Lower,
            Verdict::NoDifference,
            Verdict::Inconclusive,
        ];
        for (n, a) in all.iter().enumerate() {
            assert!(all[..n].iter().all(|b| verdict(*b).1 != verdict(*a).1));
        }
    }

    /// Marks and lines stand out from the paper as WCAG asks of graphics: 3 to 1.
    #[test]
    fn colours_stand_out_from_the_paper() {
        let channel = |value: u8| {
            let share = f64::from(value) / 255.0;
            if share <= 0.040_45 {
                share / 12.92
            } else {
                ((share + 0.055) / 1.055).powf(2.4)
            }
        };
        let luminance = |color: Color| {
            let (r, g, b) = color.rgb;
            0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b)
        };
        for n in 0..7 {
            let contrast = 1.05 / (luminance(series(n).color) + 0.05);
            assert!(contrast >= 3.0, "series {n}: {contrast:.2}");
        }
    }
}
