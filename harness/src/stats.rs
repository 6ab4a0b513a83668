//! Numbers in, estimates out.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// A point, and an interval when there are enough values for one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// The ends of the interval for the mean.
    pub interval: Option<(f64, f64)>,
    /// Standard deviation ÷ mean.
    pub coefficient_of_variation: Option<f64>,
}

/// Mean and t interval of independent values: mean ± t(n−1) · s / √n.
///
/// The trial is the unit: seconds inside a trial follow from one another and
/// are not independent. None without values.
pub fn estimate(values: &[f64], confidence: f64) -> Option<Estimate> {
    let n = values.len();
    if n == 0 || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    if n < 2 {
        return Some(Estimate {
            mean,
            interval: None,
            coefficient_of_variation: None,
        });
    }
    let variance = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / (n as f64 - 1.0);
    let deviation = variance.sqrt();
    let half = student_t(confidence, n as f64 - 1.0) * deviation / (n as f64).sqrt();
    Some(Estimate {
        mean,
        interval: half.is_finite().then_some((mean - half, mean + half)),
        coefficient_of_variation: (mean != 0.0).then(|| deviation / mean.abs()),
    })
}

/// The factor of a two-sided interval.
fn student_t(confidence: f64, freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom)
        .map(|t| t.inverse_cdf(0.5 + confidence / 2.0))
        .unwrap_or(f64::NAN)
}

/// The smallest bucket bound that at least `quantile` of all counts lie at or below.
///
/// None when nothing was counted.
pub fn quantile(buckets: &[(f64, u64)], quantile: f64) -> Option<f64> {
    let total: u64 = buckets.iter().map(|(_, count)| count).sum();
    let rank = ((quantile * total as f64).ceil() as u64).max(1);
    let mut seen = 0;
    buckets.iter().find_map(|&(bound, count)| {
        seen += count;
        (total > 0 && seen >= rank).then_some(bound)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reference: scipy.stats.t.interval(0.95, 4, loc=mean, scale=sem) for [1, 2, 3, 4, 10].
    #[test]
    fn t_interval_as_scipy_gives_it() {
        let estimate = estimate(&[1.0, 2.0, 3.0, 4.0, 10.0], 0.95).unwrap();
        assert_eq!(estimate.mean, 4.0);
        let (low, high) = estimate.interval.unwrap();
        assert!((low - -0.3899452).abs() < 1e-6, "{low}");
        assert!((high - 8.3899452).abs() < 1e-6, "{high}");
    }

    /// Reference: the usual table, t(0.975; 1, 5, 30).
    #[test]
    fn t_factors() {
        for (freedom, expected) in [(1.0, 12.7062), (5.0, 2.57058), (30.0, 2.04227)] {
            assert!((student_t(0.95, freedom) - expected).abs() < 1e-4);
        }
    }

    #[test]
    fn one_value_has_no_interval() {
        let estimate = estimate(&[5.0], 0.95).unwrap();
        assert_eq!((estimate.mean, estimate.interval), (5.0, None));
        assert_eq!(super::estimate(&[], 0.95), None);
        assert_eq!(super::estimate(&[1.0, f64::NAN], 0.95), None);
    }

    #[test]
    fn quantiles_of_buckets() {
        let buckets = [(1.0, 50), (2.0, 45), (3.0, 4), (9.0, 1)];
        assert_eq!(quantile(&buckets, 0.5), Some(1.0));
        assert_eq!(quantile(&buckets, 0.51), Some(2.0));
        assert_eq!(quantile(&buckets, 0.95), Some(2.0));
        assert_eq!(quantile(&buckets, 0.99), Some(3.0));
        assert_eq!(quantile(&buckets, 0.999), Some(9.0));
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[(1.0, 0)], 0.5), None);
    }

    proptest! {
        /// The interval holds the mean; nothing that comes out is NaN, whatever goes in.
        #[test]
        fn estimates_are_sound(values in proptest::collection::vec(proptest::num::f64::ANY, 0..20)) {
            if let Some(estimate) = estimate(&values, 0.95) {
                if estimate.mean.is_finite() && let Some((low, high)) = estimate.interval {
                    prop_assert!(low <= estimate.mean && estimate.mean <= high);
                }
            }
        }

        /// A quantile is a bucket's bound, and grows with q.
        #[test]
        fn quantiles_grow(counts in proptest::collection::vec(0u64..100, 1..30), a in 0.0f64..=1.0, b in 0.0f64..=1.0) {
            let buckets: Vec<_> = counts.iter().enumerate().map(|(n, count)| (n as f64, *count)).collect();
            let (a, b) = if a < b { (a, b) } else { (b, a) };
            if let (Some(low), Some(high)) = (quantile(&buckets, a), quantile(&buckets, b)) {
                prop_assert!(low <= high);
            }
        }
    }
}
