//! A limit, and how it is written.

use serde::Serialize;

use crate::metric::{Metric, Unit};
use crate::report::format::Scale;

/// How much is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum Limit {
    /// Of scenario ÷ baseline − 1: `+5 %`, `0.05`.
    Ratio(f64),
    /// Of scenario − baseline, in the metric's unit: `+2 µs`.
    Change(f64),
    /// Of the arm's own figure, in the metric's unit: `64 MiB`.
    Figure(f64),
}

impl Limit {
    /// The number, as a ratio or in the metric's unit.
    pub fn value(self) -> f64 {
        match self {
            Limit::Ratio(value) | Limit::Change(value) | Limit::Figure(value) => value,
        }
    }

    /// Whether it limits a change against the baseline.
    pub fn is_change(self) -> bool {
        !matches!(self, Limit::Figure(_))
    }

    /// What a limit of this metric says: a percentage or bare ratio limits the
    /// change; a quantity limits the change when it has a sign, and otherwise
    /// the figure itself. Of a metric that is a ratio, one without a sign
    /// limits the figure.
    ///
    /// # Errors
    /// When it is no number, or has no unit of the metric; the message says
    /// what was expected.
    pub fn parse(text: &str, metric: Metric) -> Result<Limit, String> {
        let expected = || format!("expected a limit such as {}", examples(metric));
        let trimmed = text.trim();
        let (sign, rest) = match trimmed.chars().next() {
            Some('+') => (Some(1.0), &trimmed[1..]),
            Some('-') => (Some(-1.0), &trimmed[1..]),
            Some('−') => (Some(-1.0), &trimmed['−'.len_utf8()..]),
            _ => (None, trimmed),
        };
        let unit_at = rest
            .char_indices()
            .rev()
            .take_while(|(_, c)| c.is_alphabetic() || matches!(c, '%' | '/'))
            .last()
            .map_or(rest.len(), |(at, _)| at);
        let (number, unit) = (rest[..unit_at].trim(), &rest[unit_at..]);
        // Only digits: `f64::from_str` also takes signs, `inf` and `nan`.
        let number = number
            .starts_with(|c: char| c.is_ascii_digit() || c == '.')
            .then(|| number.parse::<f64>().ok())
            .flatten()
            .filter(|number| number.is_finite())
            .ok_or_else(|| format!("`{trimmed}` is not a limit, {}", expected()))?;
        let value = sign.unwrap_or(1.0) * number;
        if let "" | "%" = unit {
            let ratio = if unit == "%" { value / 100.0 } else { value };
            if unit.is_empty() && (ratio.abs() > 1.0 || metric.unit() == Unit::PerSecond) {
                return Err(format!("`{trimmed}` has no unit, {}", expected()));
            }
            return match (metric.unit(), sign) {
                (Unit::Ratio, None) => Ok(Limit::Figure(ratio)),
                _ if metric.more_is_better() && sign.is_none() => {
                    Err(format!("`{trimmed}` has no sign, {}", expected()))
                }
                _ => Ok(Limit::Ratio(ratio)),
            };
        }
        let size = size(unit, metric.unit()).ok_or_else(|| {
            format!(
                "`{unit}` is not a unit of {}, {}",
                metric.as_str(),
                expected()
            )
        })?;
        if !(value * size).is_finite() {
            return Err(format!("`{trimmed}` is not a limit, {}", expected()));
        }
        Ok(match sign {
            Some(_) => Limit::Change(value * size),
            None => Limit::Figure(value * size),
        })
    }

    /// How it is written: `+5 %`, `+2 µs`, `64 MiB`.
    pub fn text(self, metric: Metric) -> String {
        let unit = match self {
            Limit::Ratio(_) => Unit::Ratio,
            Limit::Change(_) | Limit::Figure(_) => metric.unit(),
        };
        let value = self.value();
        let scale = Scale::of(unit, value);
        // Six decimals hide what division by 1024 or 0.01 adds to a decimal number.
        let number = (value / scale.divisor * 1e6).round() / 1e6;
        let sign = match self {
            _ if number < 0.0 => "−",
            Limit::Figure(_) => "",
            _ => "+",
        };
        format!("{sign}{} {}", number.abs(), scale.symbol)
    }
}

/// Base units in one of these.
fn size(unit: &str, of: Unit) -> Option<f64> {
    const KIB: f64 = 1024.0;
    let size = match (of, unit) {
        (Unit::Seconds, "ns") => 1e-9,
        // Micro sign, Greek letter, and what keyboards have.
        (Unit::Seconds, "µs" | "μs" | "us") => 1e-6,
        (Unit::Seconds, "ms") => 1e-3,
        (Unit::Seconds, "s") => 1.0,
        (Unit::Bytes, "B") => 1.0,
        (Unit::Bytes, "kB") => 1e3,
        (Unit::Bytes, "MB") => 1e6,
        (Unit::Bytes, "GB") => 1e9,
        (Unit::Bytes, "KiB") => KIB,
        (Unit::Bytes, "MiB") => KIB * KIB,
        (Unit::Bytes, "GiB") => KIB * KIB * KIB,
        (Unit::PerSecond, "/s") => 1.0,
        _ => return None,
    };
    Some(size)
}

fn examples(metric: Metric) -> &'static str {
    match metric.unit() {
        Unit::Seconds => "`+5 %`, `+2 µs` (the change) or `150 µs` (the figure itself)",
        Unit::Bytes => "`+5 %`, `+16 MiB` (the change) or `64 MiB` (the figure itself)",
        Unit::Ratio => "`0.1 %` (the figure itself)",
        Unit::PerSecond => {
            "`-5 %`, `-50 /s` (the change) or `1000 /s` (the figure itself), all of them lower limits"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_and_how_they_are_printed() {
        let (cpu, memory) = (Metric::CpuSecondsPerRequest, Metric::MemoryWorkingSetBytes);
        for (text, metric, limit, printed) in [
            ("+5 %", cpu, Limit::Ratio(0.05), "+5 %"),
            ("5%", cpu, Limit::Ratio(0.05), "+5 %"),
            ("0.05", cpu, Limit::Ratio(0.05), "+5 %"),
            ("-1.25 %", cpu, Limit::Ratio(-0.0125), "−1.25 %"),
            ("−1.25 %", cpu, Limit::Ratio(-0.0125), "−1.25 %"),
            ("0", cpu, Limit::Ratio(0.0), "+0 %"),
            ("1e-3", cpu, Limit::Ratio(0.001), "+0.1 %"),
            ("+2 µs", cpu, Limit::Change(2.0 * 1e-6), "+2 µs"),
            ("+2us", cpu, Limit::Change(2.0 * 1e-6), "+2 µs"),
            ("150 µs", cpu, Limit::Figure(150.0 * 1e-6), "150 µs"),
            (
                "+16 MiB",
                memory,
                Limit::Change(16.0 * 1_048_576.0),
                "+16 MiB",
            ),
            (
                "64 MiB",
                memory,
                Limit::Figure(64.0 * 1_048_576.0),
                "64 MiB",
            ),
            ("0.1 %", Metric::ErrorRatio, Limit::Figure(0.001), "0.1 %"),
            (
                "-5 %",
                Metric::RequestsPerSecond,
                Limit::Ratio(-0.05),
                "−5 %",
            ),
            (
                "900 /s",
                Metric::RequestsPerSecond,
                Limit::Figure(900.0),
                "900 /s",
            ),
        ] {
            assert_eq!(Limit::parse(text, metric), Ok(limit), "{text}");
            assert_eq!(limit.text(metric), printed);
        }
    }

    #[test]
    fn what_is_no_limit_says_what_was_expected() {
        let (cpu, memory) = (Metric::CpuSecondsPerRequest, Metric::MemoryWorkingSetBytes);
        for (text, metric, expected) in [
            ("", cpu, "not a limit"),
            ("NaN", cpu, "`NaN` is not a limit"),
            ("inf", cpu, "not a limit"),
            ("+inf %", cpu, "not a limit"),
            ("1e999", cpu, "not a limit"),
            ("1e308 GiB", memory, "not a limit"),
            ("a lot", cpu, "not a limit"),
            ("++5 %", cpu, "not a limit"),
            ("5", cpu, "no unit"),
            ("67108864", memory, "no unit"),
            (
                "+2 MiB",
                cpu,
                "`MiB` is not a unit of cpu_seconds_per_request",
            ),
            ("2 mib", memory, "+16 MiB"),
            ("5 %", Metric::RequestsPerSecond, "no sign"),
            ("1000", Metric::RequestsPerSecond, "no unit"),
        ] {
            let message = Limit::parse(text, metric).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    proptest! {
        /// Whatever is written, there is a limit that is a number, or a message.
        #[test]
        fn any_text_is_judged(text in "\\PC{0,12}", metric in 0..Metric::ALL.len()) {
            if let Ok(limit) = Limit::parse(&text, Metric::ALL[metric]) {
                prop_assert!(limit.value().is_finite());
            }
        }
    }
}
