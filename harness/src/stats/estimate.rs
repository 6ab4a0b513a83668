//! Values of one kind → their mean and its interval.

use super::student::{moments, t_interval};

/// A point, and an interval when there are enough values for one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean: geometric where every value is positive, arithmetic otherwise.
    pub point: f64,
    /// The ends of the interval for it.
    pub interval: Option<(f64, f64)>,
    /// Standard deviation ÷ arithmetic mean of the values as they are.
    pub coefficient_of_variation: Option<f64>,
}

/// Mean and t interval of independent values: mean ± t(n−1) · s / √n, of the
/// logarithms where every value is positive.
///
/// Costs, sizes and durations are spread by factors: a disturbed trial takes
/// twice as long, never a negative time. On the logarithm their spread is
/// closer to symmetric, and the interval stays above zero.
///
/// The trial is the unit: seconds inside a trial follow from one another and
/// are not independent. None without values, or with one that is not finite.
/// No interval with a confidence that is not between 0 and 1.
pub fn estimate(values: &[f64], confidence: f64) -> Option<Estimate> {
    if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let (mean, deviation) = moments(values);
    let coefficient_of_variation = deviation
        .map(|deviation| deviation / mean.abs())
        .filter(|ratio| ratio.is_finite());
    let positive = values.iter().all(|value| *value > 0.0);
    let (point, interval) = if positive {
        let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
        let (point, interval) = t_interval(&logs, confidence);
        let interval = interval.map(|(low, high)| (low.exp(), high.exp()));
        (point.exp(), interval)
    } else {
        t_interval(values, confidence)
    };
    point.is_finite().then_some(Estimate {
        point,
        interval: interval.filter(|(low, high)| low.is_finite() && high.is_finite()),
        coefficient_of_variation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference: SciPy's `stats.t.interval(0.95, 4, loc=mean, scale=stats.sem(logs))`
    /// of the logarithms of `[1, 2, 3, 4, 10]`.
    #[test]
    fn an_interval_as_scipy_gives_it() {
        let estimate = estimate(&[1.0, 2.0, 3.0, 4.0, 10.0], 0.95).unwrap();
        let (low, high) = estimate.interval.unwrap();
        assert!((estimate.point - 2.992555739478).abs() < 1e-9);
        assert!((low - 1.038967287924).abs() < 1e-9, "{low}");
        assert!((high - 8.619510891220).abs() < 1e-9, "{high}");
    }

    #[test]
    fn zeros_are_not_taken_the_logarithm_of() {
        let estimate = estimate(&[0.0, 0.0, 0.3], 0.95).unwrap();
        assert!((estimate.point - 0.1).abs() < 1e-12);
        let zero = super::estimate(&[0.0, 0.0], 0.95).unwrap();
        assert_eq!(zero.interval, Some((0.0, 0.0)));
        assert_eq!(zero.coefficient_of_variation, None);
    }

    #[test]
    fn one_value_has_no_interval() {
        let estimate = estimate(&[5.0], 0.95).unwrap();
        assert!((estimate.point - 5.0).abs() < 1e-12);
        assert_eq!(estimate.interval, None);
        assert_eq!(super::estimate(&[], 0.95), None);
        assert_eq!(super::estimate(&[1.0, f64::NAN], 0.95), None);
    }

    #[test]
    fn a_confidence_is_a_share() {
        for confidence in [f64::NAN, -1.0, 0.0, 1.0, 95.0] {
            assert_eq!(estimate(&[1.0, 2.0], confidence).unwrap().interval, None);
        }
    }
}
