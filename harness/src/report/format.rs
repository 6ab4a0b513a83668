//! Numbers for people: a unit that fits, and no digit that the interval can't carry.

use crate::metric::{Metric, Unit};

/// What stands in place of a number that is not one.
const NOT_A_NUMBER: &str = "n/a";
/// Thousands are parted by a thin space that does not break a line.
const GROUP: char = '\u{202f}';

/// A unit to print in, and what to divide base units by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Base units in one printed unit.
    pub divisor: f64,
    /// The printed unit, such as `µs`.
    pub symbol: &'static str,
}

impl Scale {
    /// The scale in which `magnitude` has one to three digits before the point.
    pub fn of(unit: Unit, magnitude: f64) -> Scale {
        // A value that rounds up to the next unit is printed in that unit, hence 0.9995.
        let pick = |steps: &[(f64, &'static str)]| {
            let magnitude = magnitude.abs();
            let fitting = steps
                .iter()
                .rev()
                .find(|(size, _)| magnitude >= size * 0.9995);
            let (divisor, symbol) = *fitting.unwrap_or(&steps[0]);
            Scale { divisor, symbol }
        };
        match unit {
            Unit::Seconds if magnitude == 0.0 => pick(&[(1.0, "s")]),
            Unit::Seconds => pick(&[(1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s")]),
            Unit::Bytes => pick(&[
                (1.0, "B"),
                (1024.0, "KiB"),
                (1024.0 * 1024.0, "MiB"),
                (1024.0 * 1024.0 * 1024.0, "GiB"),
            ]),
            Unit::Ratio => Scale {
                divisor: 0.01,
                symbol: "%",
            },
            Unit::PerSecond => Scale {
                divisor: 1.0,
                symbol: "/s",
            },
        }
    }

    /// A value with three significant digits, and the unit.
    pub fn format(self, value: f64) -> String {
        let scaled = value / self.divisor;
        self.attach(number(scaled, significant(scaled, 3)))
    }

    fn attach(self, number: String) -> String {
        if number == NOT_A_NUMBER {
            number
        } else {
            format!("{number} {}", self.symbol)
        }
    }
}

/// A value of a metric, with three significant digits.
pub fn value(metric: Metric, value: f64) -> String {
    quantity(metric.unit(), value)
}

/// A value in base units, with three significant digits.
pub fn quantity(unit: Unit, value: f64) -> String {
    Scale::of(unit, value).format(value)
}

/// A ratio in percent, with three significant digits.
pub fn percent(ratio: f64) -> String {
    quantity(Unit::Ratio, ratio)
}

/// A whole number with thin grouping.
pub fn count(count: u64) -> String {
    if count >= 10_000 {
        group(&count.to_string())
    } else {
        count.to_string()
    }
}

/// A length of time on a human scale, such as `3 min 20 s`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return NOT_A_NUMBER.to_owned();
    }
    if seconds < 1.0 {
        return quantity(Unit::Seconds, seconds);
    }
    if seconds < 120.0 {
        let decimals = if (seconds - seconds.round()).abs() < 0.05 {
            0
        } else {
            1
        };
        return format!("{} s", number(seconds, decimals));
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A point and its interval, as text.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The point with its unit: `148 µs`.
    pub point: String,
    /// The interval with its unit: `146–151 µs`; none without one.
    pub interval: Option<String>,
}

/// A point and its interval in one unit, rounded to what the interval's width carries.
pub fn estimate(unit: Unit, point: f64, low: Option<f64>, high: Option<f64>) -> Estimate {
    let scale = Scale::of(unit, point);
    let Some((low, high)) = low
        .zip(high)
        .filter(|(l, h)| l.is_finite() && h.is_finite())
    else {
        return Estimate {
            point: scale.format(point),
            interval: None,
        };
    };
    let (point, low, high) = (
        point / scale.divisor,
        low / scale.divisor,
        high / scale.divisor,
    );
    let decimals = carried(point, high - low);
    let (low, high) = (number(low, decimals), number(high, decimals));
    // A dash between numbers reads badly next to a minus sign.
    let dash = if low.starts_with('−') || high.starts_with('−') {
        " to "
    } else {
        "–"
    };
    Estimate {
        point: scale.attach(number(point, decimals)),
        interval: Some(scale.attach(format!("{low}{dash}{high}"))),
    }
}

/// A relative change with its sign and its interval: `+1.2 %`, `+0.4 to +2.0 %`.
pub fn change(ratio: f64, low: Option<f64>, high: Option<f64>) -> Estimate {
    signed(Scale::of(Unit::Ratio, 1.0), ratio, low, high, 2)
}

/// A difference with its sign and its interval: `+1.2 µs`, `+0.4 to +2.0 µs`.
/// Memory is always in MiB, so that one column has one unit.
pub fn difference(unit: Unit, point: f64, low: Option<f64>, high: Option<f64>) -> Estimate {
    let ends = [Some(point), low, high].into_iter().flatten();
    let largest = ends.filter(|v| v.is_finite()).map(f64::abs);
    let magnitude = match unit {
        Unit::Bytes => 1024.0 * 1024.0,
        _ => largest.fold(0.0, f64::max),
    };
    let scale = Scale::of(unit, magnitude);
    signed(scale, point, low, high, 9)
}

/// A point with its sign and its interval, with at most `finest` decimals.
fn signed(scale: Scale, point: f64, low: Option<f64>, high: Option<f64>, finest: i32) -> Estimate {
    let scaled = |v: f64| v / scale.divisor;
    let interval = low
        .zip(high)
        .map(|(low, high)| (scaled(low), scaled(high)))
        .filter(|(l, h)| l.is_finite() && h.is_finite());
    let decimals = match interval {
        Some((low, high)) => {
            let carried = carried(scaled(point), high - low);
            // One that is larger than its doubt may keep a second digit that the interval hardly carries.
            if scaled(point).abs() > (high - low) / 2.0 {
                carried.max(significant(scaled(point), 2).min(carried + 1))
            } else {
                carried
            }
        }
        None => significant(scaled(point), 2),
    };
    let sign = |v: f64| {
        let text = number(v, decimals.min(finest));
        let unsigned = text == NOT_A_NUMBER || text.starts_with('−');
        let zero = !text.contains(|c: char| ('1'..='9').contains(&c));
        if unsigned || zero {
            text
        } else {
            format!("+{text}")
        }
    };
    Estimate {
        point: scale.attach(sign(scaled(point))),
        interval: interval.map(|(l, h)| scale.attach(format!("{} to {}", sign(l), sign(h)))),
    }
}

/// A chance: `0.031`, `< 0.001`.
pub fn p_value(p: f64) -> String {
    if p < 0.001 {
        "< 0.001".to_owned()
    } else {
        number(p, 3)
    }
}

/// A quantile's usual name: `p50`, `p99.9`.
pub fn quantile(quantile: f64) -> String {
    // Percent of a binary fraction is seldom exact; six digits are more than anyone reports.
    format!("p{}", (quantile * 1e8).round() / 1e6)
}

/// A number with the given decimals; negative ones round to tens, hundreds, …
pub fn number(value: f64, decimals: i32) -> String {
    if !value.is_finite() {
        return NOT_A_NUMBER.to_owned();
    }
    if value.abs() >= 1e12 || decimals > 9 && value != 0.0 {
        // Nothing that is measured is so large or so small; it must not fill a page with noughts.
        return format!("{value:.2e}").replace('-', "−");
    }
    let rounded = match decimals {
        ..0 => {
            let step = 10f64.powi(-decimals);
            format!("{:.0}", (value / step).round() * step)
        }
        _ => format!("{:.*}", decimals.min(9) as usize, value),
    };
    let (negative, digits) = match rounded.strip_prefix('-') {
        Some(digits) => (digits.contains(|c: char| ('1'..='9').contains(&c)), digits),
        None => (false, rounded.as_str()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut text = String::from(if negative { "−" } else { "" });
    text += &if whole.len() > 4 {
        group(whole)
    } else {
        whole.to_owned()
    };
    if !fraction.is_empty() {
        text.push('.');
        text += fraction;
    }
    text
}

/// The decimals that show `digits` significant digits of a value.
fn significant(value: f64, digits: i32) -> i32 {
    if value == 0.0 || !value.is_finite() {
        return 0;
    }
    let shown = digits - 1 - value.abs().log10().floor() as i32;
    // 9.996 at three digits rounds to 10.00, which has one digit too many.
    let rounded = (value.abs() * 10f64.powi(shown)).round() / 10f64.powi(shown);
    if rounded.is_finite() && rounded > 0.0 {
        digits - 1 - (rounded * (1.0 + 1e-12)).log10().floor() as i32
    } else {
        shown
    }
}

/// The decimals of a point whose interval is `width` wide: the interval then
/// spans 3 to 30 steps of the last digit. Neither fewer than two nor more than
/// five significant digits are shown.
fn carried(point: f64, width: f64) -> i32 {
    if width <= 0.0 || !width.is_finite() {
        return significant(point, 3);
    }
    let decimals = -(width / 3.0).log10().floor() as i32;
    if point == 0.0 {
        return decimals.clamp(0, 6);
    }
    decimals.clamp(significant(point, 2).min(0), significant(point, 5).max(0))
}

fn group(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 2);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(GROUP);
        }
        text.push(digit);
    }
    text
}

/// A level or a share without digits that say nothing: `95 %`, `99.5 %`.
pub fn level(ratio: f64) -> String {
    format!("{} %", (ratio * 1e4).round() / 1e2)
}

/// What costs something needs no plus to say so.
pub fn unsigned(text: &str) -> String {
    text.replace('+', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_fit_the_value() {
        let table = [
            (Unit::Seconds, 1.48e-4, "148 µs"),
            (Unit::Seconds, 2.5e-8, "25.0 ns"),
            (Unit::Seconds, 0.012_345, "12.3 ms"),
            (Unit::Seconds, 0.999_96, "1.00 s"),
            (Unit::Seconds, 0.0, "0 s"),
            (Unit::Bytes, 512.0, "512 B"),
            (Unit::Bytes, 24.0 * 1024.0 * 1024.0, "24.0 MiB"),
            (Unit::Bytes, 5e12, "4660 GiB"),
            (Unit::Ratio, 0.0123, "1.23 %"),
            (Unit::Ratio, 1.0, "100 %"),
            (Unit::PerSecond, 64_000.0, "64\u{202f}000 /s"),
            (Unit::PerSecond, f64::NAN, "n/a"),
        ];
        for (unit, value, expected) in table {
            assert_eq!(quantity(unit, value), expected);
        }
    }

    #[test]
    fn the_interval_decides_the_digits() {
        let text = |point: f64, low: f64, high: f64| {
            let estimate = estimate(Unit::Seconds, point, Some(low), Some(high));
            format!("{} ({})", estimate.point, estimate.interval.unwrap())
        };
        assert_eq!(text(1.482e-4, 1.459e-4, 1.506e-4), "148 µs (146–151 µs)");
        assert_eq!(
            text(1.482e-4, 1.48e-4, 1.485e-4),
            "148.2 µs (148.0–148.5 µs)"
        );
        assert_eq!(text(1.482e-4, 1.1e-4, 1.9e-4), "150 µs (110–190 µs)");
        assert_eq!(text(9.96e-4, 9.9e-4, 1.01e-3), "996 µs (990–1010 µs)");
        assert_eq!(text(1.0e-4, -1.0e-5, 2.0e-4), "100 µs (−10 to 200 µs)");
        assert_eq!(text(1.0e-4, 1.0e-4, 1.0e-4), "100 µs (100–100 µs)");
    }

    #[test]
    fn changes_have_signs() {
        let text = |ratio: f64, low: f64, high: f64| {
            let change = change(ratio, Some(low), Some(high));
            format!("{} ({})", change.point, change.interval.unwrap())
        };
        assert_eq!(text(0.012, 0.004, 0.020), "+1.2 % (+0.4 to +2.0 %)");
        assert_eq!(text(0.001, -0.006, 0.008), "+0.1 % (−0.6 to +0.8 %)");
        assert_eq!(text(0.0, 0.0, 0.0), "0 % (0 to 0 %)");
        assert_eq!(change(-0.0312, None, None).point, "−3.1 %");
        let added = difference(Unit::Seconds, 1.21e-6, Some(0.42e-6), Some(2.0e-6));
        assert_eq!(added.point, "+1.2 µs");
        assert_eq!(added.interval.unwrap(), "+0.4 to +2.0 µs");
        let none = difference(Unit::Bytes, 100.0, Some(-2_097_152.0), Some(2_097_152.0));
        assert_eq!(none.point, "0 MiB");
        assert_eq!(none.interval.unwrap(), "−2 to +2 MiB");
    }

    #[test]
    fn small_helpers() {
        assert_eq!(count(9_999), "9999");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(duration(10.0), "10 s");
        assert_eq!(duration(2.5), "2.5 s");
        assert_eq!(duration(200.0), "3 min 20 s");
        assert_eq!(duration(7_260.0), "2 h 1 min");
        assert_eq!(p_value(0.000_2), "< 0.001");
        assert_eq!(p_value(0.0312), "0.031");
        assert_eq!(quantile(0.5), "p50");
        assert_eq!(quantile(0.999), "p99.9");
        assert_eq!(number(-0.04, 1), "0.0");
        assert_eq!(number(-1.797e308, 0), "−1.80e308");
    }

    proptest! {
        /// Whatever comes in, something short comes out.
        #[test]
        fn never_panics_and_stays_short(point: f64, low: f64, high: f64) {
            for unit in [Unit::Seconds, Unit::Bytes, Unit::Ratio, Unit::PerSecond] {
                let text = estimate(unit, point, Some(low), Some(high));
                prop_assert!(!text.point.is_empty());
                prop_assert!(text.point.chars().count() < 28, "{}", text.point);
            }
            change(point, Some(low), Some(high));
            difference(Unit::Seconds, point, Some(low), Some(high));
        }

        /// Rounding moves a value by less than its interval is wide.
        #[test]
        fn rounding_keeps_the_point_inside(point in 1e-6f64..1.0, relative in 0.001f64..0.5) {
            let width = point * relative;
            let scale = Scale::of(Unit::Seconds, point);
            let text = estimate(Unit::Seconds, point, Some(point - width / 2.0), Some(point + width / 2.0)).point;
            let printed: f64 = text.split(' ').next().unwrap().replace(GROUP, "").parse().unwrap();
            prop_assert!((printed * scale.divisor - point).abs() <= width / 2.0, "{point} {text}");
        }
    }
}
