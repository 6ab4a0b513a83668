//! Axes: values → pixels, and the ticks that fit.

use super::font;
use super::scene::TEXT;
use crate::metric::Unit;
use crate::report::format::{self, Scale};

/// Beyond this, sums and factors of values are no numbers any more. Nothing real comes near.
const HUGE: f64 = 1e150;

/// From values to pixels, along one direction.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Value and pixel at its beginning.
    start: (f64, f64),
    /// Value and pixel at its end.
    end: (f64, f64),
    steps: Steps,
    scale: Scale,
}

/// What equal steps of pixels are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Steps {
    /// Equal differences.
    Even,
    /// Equal factors.
    Log,
    /// Differences around zero, up to about this much, and factors beyond, to both sides.
    Both(f64),
}

impl Axis {
    /// An even axis from 0 (or the lowest value below it) to a bit above the highest value.
    pub fn linear(unit: Unit, values: impl IntoIterator<Item = f64>, pixels: (f64, f64)) -> Axis {
        let (low, high) = range(values, |v| v.abs() < HUGE);
        let low = low.min(0.0);
        let high = if high > low {
            high + (high - low) * 0.04
        } else {
            low + 1.0
        };
        Axis {
            start: (low, pixels.0),
            end: (high, pixels.1),
            steps: Steps::Even,
            scale: Scale::of(unit, high),
        }
    }

    /// An axis between the values alone: even, or logarithmic when they span more than a tenfold.
    pub fn spread(unit: Unit, values: impl IntoIterator<Item = f64>, pixels: (f64, f64)) -> Axis {
        let values: Vec<f64> = values.into_iter().collect();
        let real = |v: f64| (1.0 / HUGE..HUGE).contains(&v);
        let (low, high) = range(values.iter().copied(), real);
        if !(low > 0.0 && high / low > 10.0) {
            return Axis::linear(unit, values, pixels);
        }
        let room = (high / low).powf(0.05).min(1e3);
        let (start, end) = ((low / room, pixels.0), (high * room, pixels.1));
        Axis {
            start,
            end,
            steps: Steps::Log,
            scale: Scale::of(unit, high),
        }
    }

    /// An even axis between the values alone, for points that no bar joins to zero.
    pub fn between(unit: Unit, values: impl IntoIterator<Item = f64>, pixels: (f64, f64)) -> Axis {
        let (low, high) = range(values, |v| v.abs() < HUGE);
        let room = match (high - low) * 0.08 {
            none if none <= 0.0 => (high.abs() * 0.05).max(f64::MIN_POSITIVE.sqrt()),
            room => room,
        };
        // What can't be negative does not become so for the sake of some room.
        let start = if low >= 0.0 {
            (low - room).max(0.0)
        } else {
            low - room
        };
        Axis {
            start: (start, pixels.0),
            end: (high + room, pixels.1),
            steps: Steps::Even,
            scale: Scale::of(unit, high),
        }
    }

    /// An axis of changes, with zero on it: even, or, where `fine` is given, even up to about
    /// that much and logarithmic beyond.
    pub fn changes(
        values: impl IntoIterator<Item = f64>,
        fine: Option<f64>,
        pixels: (f64, f64),
    ) -> Axis {
        let (low, high) = range(values, |v| v.abs() < HUGE);
        let (low, high) = (low.min(0.0), high.max(0.0));
        let fine = fine.filter(|fine| *fine > 1.0 / HUGE && *fine < HUGE);
        let bent = |v: f64| fine.map_or(v, |fine| (v / fine).asinh());
        let straight = |v: f64| fine.map_or(v, |fine| v.sinh() * fine);
        let room = match (bent(high) - bent(low)) * 0.04 {
            none if none <= 0.0 => 0.01,
            room => room,
        };
        Axis {
            start: (straight(bent(low) - room), pixels.0),
            end: (straight(bent(high) + room), pixels.1),
            steps: fine.map_or(Steps::Even, Steps::Both),
            scale: Scale::of(Unit::Ratio, 1.0),
        }
    }

    /// Whether equal steps are equal factors.
    pub fn is_log(&self) -> bool {
        self.steps != Steps::Even
    }

    /// Symbol of the unit in which its ticks are labelled.
    pub fn unit(&self) -> &'static str {
        self.scale.symbol
    }

    /// The value at which the axis begins.
    pub fn low(&self) -> f64 {
        self.start.0
    }

    /// The pixel of a value; values beyond the axis stop at its end.
    pub fn at(&self, value: f64) -> f64 {
        let (start, end) = (self.start.0, self.end.0);
        let share = match self.steps {
            Steps::Even => (value - start) / (end - start),
            Steps::Log => (value.max(start) / start).ln() / (end / start).ln(),
            Steps::Both(fine) => {
                let bent = |v: f64| (v / fine).asinh();
                (bent(value) - bent(start)) / (bent(end) - bent(start))
            }
        };
        let share = if share.is_nan() {
            0.0
        } else {
            share.clamp(0.0, 1.0)
        };
        self.start.1 + share * (self.end.1 - self.start.1)
    }

    /// Pixel and label of each tick, at least `gap` pixels apart from label to label.
    pub fn ticks(&self, gap: f64, horizontal: bool) -> Vec<(f64, String)> {
        let fits = |ticks: &[(f64, String)]| {
            ticks.windows(2).all(|pair| {
                let needed = if horizontal {
                    (font::width(&pair[0].1, TEXT, false) + font::width(&pair[1].1, TEXT, false))
                        / 2.0
                } else {
                    TEXT
                };
                (pair[1].0 - pair[0].0).abs() >= needed + gap
            })
        };
        let candidates: Vec<Vec<f64>> = match self.steps {
            Steps::Even => self.even(),
            Steps::Log => self.decades(),
            Steps::Both(fine) => self.both(fine),
        };
        let labelled = candidates.into_iter().map(|values| self.label(&values));
        let mut last = Vec::new();
        for ticks in labelled {
            if ticks.len() >= 2 && fits(&ticks) {
                return ticks;
            }
            last = ticks;
        }
        last.truncate(1);
        last
    }

    fn label(&self, values: &[f64]) -> Vec<(f64, String)> {
        let step = values
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .fold(f64::INFINITY, f64::min);
        let decimals = |value: f64| {
            let step = if self.is_log() { value.abs() } else { step } / self.scale.divisor;
            if step.is_finite() && step > 0.0 {
                // A step of one is a hair less when it comes from hundredths.
                (-(step.log10() + 1e-9).floor() as i32).clamp(0, 9)
            } else {
                0
            }
        };
        values
            .iter()
            .map(|value| {
                (
                    self.at(*value),
                    format::number(value / self.scale.divisor, decimals(*value)),
                )
            })
            .collect()
    }

    /// Even ticks, from many to few, at steps of 1, 2 or 5 in the printed unit.
    fn even(&self) -> Vec<Vec<f64>> {
        let (low, high) = (
            self.start.0 / self.scale.divisor,
            self.end.0 / self.scale.divisor,
        );
        let finest = 10f64.powf(((high - low) / 12.0).log10().floor());
        let steps = (0..9).map(|n| finest * [1.0, 2.0, 5.0][n % 3] * 10f64.powi(n as i32 / 3));
        steps
            .filter(|step| (high - low) / step <= 12.0)
            .map(|step| {
                let (first, last) = ((low / step).ceil(), (high / step).floor());
                let count = (last - first).clamp(0.0, 12.0) as u32;
                (0..=count)
                    .map(|n| (first + f64::from(n)) * step * self.scale.divisor)
                    .collect()
            })
            .collect()
    }

    /// Ticks at 1-2-5, then 1-3, then 1 of each decade, then of every second, third, …
    fn decades(&self) -> Vec<Vec<f64>> {
        let power = |value: f64| (value / self.scale.divisor).log10();
        let (first, last) = (
            power(self.start.0).floor() as i32,
            power(self.end.0).ceil() as i32,
        );
        let pick = |digits: &[f64], every: usize| {
            let powers = (first..=last).step_by(every);
            let values = powers.flat_map(|p| digits.iter().map(move |d| d * 10f64.powi(p)));
            let values = values.map(|v| v * self.scale.divisor);
            values
                .filter(|v| *v >= self.start.0 && *v <= self.end.0)
                .collect()
        };
        let mut sets = vec![pick(&[1.0, 2.0, 5.0], 1), pick(&[1.0, 3.0], 1)];
        sets.extend((1..20).map(|every| pick(&[1.0], every)));
        sets
    }
}

impl Axis {
    /// Zero, and to both sides of it 1-2-5 of each decade, then fewer, from about `fine` on.
    fn both(&self, fine: f64) -> Vec<Vec<f64>> {
        let power = |value: f64| (value / self.scale.divisor).log10();
        let first = power(fine).floor() as i32;
        let last = power(self.start.0.abs().max(self.end.0)).ceil() as i32;
        let pick = |digits: &[f64], from: f64, every: usize| {
            let powers = (first..=last).step_by(every);
            let sizes = powers.flat_map(|p| digits.iter().map(move |d| d * 10f64.powi(p)));
            let sizes = sizes.map(|v| v * self.scale.divisor);
            let sizes: Vec<f64> = sizes.filter(|v| *v >= from * 0.999).collect();
            let below = sizes.iter().rev().map(|v| -v);
            let all = below.chain([0.0]).chain(sizes.iter().copied());
            all.filter(|v| *v >= self.start.0 && *v <= self.end.0)
                .collect::<Vec<f64>>()
        };
        let mut sets = vec![
            pick(&[1.0, 2.0, 5.0], fine / 2.0, 1),
            pick(&[1.0, 2.0, 5.0], fine, 1),
            pick(&[1.0, 3.0], fine, 1),
        ];
        sets.extend((1..20).map(|every| pick(&[1.0], fine, every)));
        sets.push(vec![0.0, self.end.0]);
        sets
    }
}

fn range(values: impl IntoIterator<Item = f64>, keep: impl Fn(f64) -> bool) -> (f64, f64) {
    let kept = values.into_iter().filter(|v| keep(*v));
    let (low, high) = kept.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
        (l.min(v), h.max(v))
    });
    if low <= high { (low, high) } else { (0.0, 0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks(10.0, true)
            .into_iter()
            .map(|(_, label)| label)
            .collect()
    }

    #[test]
    fn ticks_are_round() {
        let axis = Axis::linear(Unit::Seconds, [1.48e-4], (0.0, 300.0));
        assert_eq!(axis.unit(), "µs");
        assert_eq!(
            labels(&axis),
            ["0", "20", "40", "60", "80", "100", "120", "140"]
        );
        let axis = Axis::spread(Unit::Seconds, [0.000_4, 0.03], (0.0, 500.0));
        assert!(axis.is_log());
        assert_eq!(labels(&axis), ["0.5", "1", "2", "5", "10", "20"]);
        assert!(!Axis::spread(Unit::Seconds, [0.001, 0.003], (0.0, 500.0)).is_log());
        let axis = Axis::between(Unit::Seconds, [1.41e-4, 1.52e-4], (0.0, 300.0));
        assert_eq!(labels(&axis), ["142", "144", "146", "148", "150", "152"]);
    }

    #[test]
    fn small_and_large_changes_share_an_axis() {
        let axis = Axis::changes([-0.01, 0.03], None, (0.0, 300.0));
        assert_eq!(labels(&axis), ["−1", "0", "1", "2", "3"]);
        let axis = Axis::changes([-0.01, 2.5], Some(0.02), (0.0, 400.0));
        assert_eq!(
            labels(&axis),
            ["−1", "0", "1", "2", "5", "10", "20", "50", "100", "200"]
        );
        let (small, large) = (axis.at(0.02) - axis.at(0.01), axis.at(2.5) - axis.at(2.0));
        assert!(small > 10.0 && large > 5.0, "{small} {large}");
    }

    proptest! {
        /// Pixels stay on the axis, whatever the values are.
        #[test]
        fn stays_within_its_pixels(values in proptest::collection::vec(proptest::num::f64::ANY, 0..6)) {
            for axis in [
                Axis::linear(Unit::Bytes, values.clone(), (10.0, 200.0)),
                Axis::spread(Unit::Seconds, values.clone(), (10.0, 200.0)),
                Axis::between(Unit::Seconds, values.clone(), (10.0, 200.0)),
                Axis::changes(values.clone(), None, (10.0, 200.0)),
                Axis::changes(values.clone(), Some(0.02), (10.0, 200.0)),
            ] {
                for value in values.iter().chain([&axis.low()]) {
                    let pixel = axis.at(*value);
                    prop_assert!((10.0..=200.0).contains(&pixel), "{pixel}");
                }
                for (pixel, _) in axis.ticks(10.0, true) {
                    prop_assert!((10.0..=200.0).contains(&pixel), "{pixel}");
                }
            }
        }
    }
}
