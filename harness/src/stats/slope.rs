//! What one more of something costs, from blocks in which there are different numbers of it.

use super::student::t_interval;

/// A mean over blocks and its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// Arithmetic mean.
    pub point: f64,
    /// t interval over the values; none with fewer than two.
    pub interval: Option<(f64, f64)>,
}

/// The mean of the blocks' values. None without any, or with one that is not finite.
pub fn mean(values: &[f64], confidence: f64) -> Option<Mean> {
    let (point, interval) = t_interval(values, confidence);
    let finite = values.iter().all(|value| value.is_finite()) && point.is_finite();
    (!values.is_empty() && finite).then_some(Mean {
        point,
        interval: interval.filter(|(low, high)| low.is_finite() && high.is_finite()),
    })
}

/// A straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// How much one step to the right adds.
    pub slope: f64,
    /// Its height at 0.
    pub intercept: f64,
}

/// The line of least squares through points (Gauss 1809). None unless two of
/// them stand side by side.
pub fn line(points: &[(f64, f64)]) -> Option<Line> {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let shared: f64 = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum();
    let slope = shared / spread;
    let intercept = y - slope * x;
    (slope.is_finite() && intercept.is_finite()).then_some(Line { slope, intercept })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Reference {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        copies: Vec<f64>,
        /// One list a block, a value for each number of copies.
        blocks: Vec<Vec<f64>>,
        confidence: f64,
        slopes: Vec<f64>,
        intercepts: Vec<f64>,
        slope: f64,
        low: f64,
        high: f64,
        /// One fit of all blocks at once, each with a height of its own.
        joint_slope: f64,
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
    }

    /// As NumPy and SciPy have it (`scripts/slope_reference.py`), and as one fit
    /// of all blocks has it: with the same numbers in each block the mean of
    /// their slopes is that of a joint fit.
    #[test]
    fn as_numpy_has_it() {
        let text = include_str!("../../tests/fixtures/slope.json");
        let reference: Reference = serde_json::from_str(text).unwrap();
        assert!(reference.cases.len() >= 6);
        for case in reference.cases {
            let lines: Vec<Line> = case
                .blocks
                .iter()
                .map(|block| {
                    let points: Vec<(f64, f64)> = case
                        .copies
                        .iter()
                        .copied()
                        .zip(block.iter().copied())
                        .collect();
                    line(&points).unwrap()
                })
                .collect();
            let slopes: Vec<f64> = lines.iter().map(|line| line.slope).collect();
            for (n, line) in lines.iter().enumerate() {
                assert!(close(line.slope, case.slopes[n]), "{line:?}");
                assert!(close(line.intercept, case.intercepts[n]), "{line:?}");
            }
            let mean = mean(&slopes, case.confidence).unwrap();
            let (low, high) = mean.interval.unwrap();
            assert!(close(mean.point, case.slope) && close(mean.point, case.joint_slope));
            assert!(close(low, case.low) && close(high, case.high), "{mean:?}");
        }
    }

    #[test]
    fn what_has_no_slope() {
        assert_eq!(line(&[]), None);
        assert_eq!(line(&[(1.0, 2.0)]), None);
        assert_eq!(line(&[(1.0, 2.0), (1.0, 3.0)]), None);
        assert_eq!(line(&[(1.0, f64::NAN), (2.0, 3.0)]), None);
        assert_eq!(mean(&[], 0.95), None);
        assert_eq!(mean(&[1.0, f64::INFINITY], 0.95), None);
        assert_eq!(mean(&[3.0], 0.95).unwrap().interval, None);
    }

    proptest! {
        /// Points on a line give that line back.
        #[test]
        fn a_line_is_its_own_fit(
            slope in -1e3f64..1e3,
            intercept in -1e3f64..1e3,
            at in proptest::collection::btree_set(0u16..1000, 2..6),
        ) {
            let points: Vec<(f64, f64)> = at
                .iter()
                .map(|x| (f64::from(*x), intercept + slope * f64::from(*x)))
                .collect();
            let found = line(&points).unwrap();
            prop_assert!((found.slope - slope).abs() < 1e-6);
            prop_assert!((found.intercept - intercept).abs() < 1e-3);
        }
    }
}
