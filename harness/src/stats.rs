//! Numbers in, estimates out.

use statrs::distribution::{ContinuousCDF, StudentsT};

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

/// Arithmetic mean, and standard deviation of a sample of two or more.
fn moments(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (n >= 2.0).then(|| (squares / (n - 1.0)).sqrt()))
}

fn t_interval(values: &[f64], confidence: f64) -> (f64, Option<(f64, f64)>) {
    let n = values.len() as f64;
    let (mean, deviation) = moments(values);
    let interval = deviation.map(|deviation| {
        let half = student_t(confidence, n - 1.0) * deviation / n.sqrt();
        (mean - half, mean + half)
    });
    (mean, interval)
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

/// One block of a paired comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The block.
    pub block: u32,
    /// What the reference arms cost.
    pub reference: Vec<f64>,
    /// What the arm cost.
    pub value: f64,
}

/// A difference over blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// exp(mean log-ratio) − 1.
    pub ratio: f64,
    /// t interval over blocks.
    pub interval: Option<(f64, f64)>,
    /// Standard deviation of block log-ratios.
    pub deviation: Option<f64>,
    /// Blocks.
    pub blocks: u32,
}

fn log_ratios(pairs: &[Pair]) -> Option<Vec<Vec<f64>>> {
    pairs
        .iter()
        .map(|pair| {
            let all: Vec<f64> = std::iter::once(pair.value)
                .chain(pair.reference.iter().copied())
                .map(f64::ln)
                .collect();
            (all.len() > 1 && all.iter().all(|v| v.is_finite())).then_some(all)
        })
        .collect()
}

fn contrast(logs: &[f64], which: usize) -> f64 {
    let others = (logs.iter().sum::<f64>() - logs[which]) / (logs.len() - 1) as f64;
    logs[which] - others
}

/// Paired effect.
pub fn effect(pairs: &[Pair], confidence: f64) -> Option<Effect> {
    let logs = log_ratios(pairs)?;
    if logs.is_empty() {
        return None;
    }
    let ratios: Vec<f64> = logs.iter().map(|l| contrast(l, 0)).collect();
    let (mean, interval) = t_interval(&ratios, confidence);
    Some(Effect {
        ratio: mean.exp() - 1.0,
        interval: interval.map(|(a, b)| (a.exp() - 1.0, b.exp() - 1.0)),
        deviation: moments(&ratios).1,
        blocks: pairs.len() as u32,
    })
}

/// Permutation test.
pub fn permutation_p(pairs: &[Pair], seed: u64) -> Option<f64> {
    use rand::{RngExt, SeedableRng};
    let logs = log_ratios(pairs)?;
    if logs.len() < 2 {
        return None;
    }
    let c: Vec<Vec<f64>> = logs
        .iter()
        .map(|l| (0..l.len()).map(|w| contrast(l, w)).collect())
        .collect();
    let observed = c.iter().map(|c| c[0]).sum::<f64>().abs() * (1.0 - 1e-12);
    let total: f64 = c.iter().map(|c| c.len() as f64).product();
    if total <= 100_000.0 {
        let mut sums = vec![0.0f64];
        for c in &c {
            sums = sums
                .iter()
                .flat_map(|s| c.iter().map(move |v| s + v))
                .collect();
        }
        Some(sums.iter().filter(|s| s.abs() >= observed).count() as f64 / sums.len() as f64)
    } else {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let hits = (0..20_000)
            .filter(|_| {
                c.iter()
                    .map(|c| c[rng.random_range(0..c.len())])
                    .sum::<f64>()
                    .abs()
                    >= observed
            })
            .count();
        Some((hits as f64 + 1.0) / 20_001.0)
    }
}

/// Holm.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut out = vec![1.0; p.len()];
    let mut high: f64 = 0.0;
    for (n, i) in order.into_iter().enumerate() {
        high = high.max(p[i] * (p.len() - n) as f64).min(1.0);
        out[i] = high;
    }
    out
}

/// Detectable.
pub fn detectable_ratio(deviation: f64, blocks: u32, confidence: f64, power: f64) -> Option<f64> {
    if blocks < 2 {
        return None;
    }
    let t = StudentsT::new(0.0, 1.0, f64::from(blocks) - 1.0).ok()?;
    let sum = t.inverse_cdf(0.5 + confidence / 2.0) + t.inverse_cdf(power);
    let ratio = (sum * deviation / f64::from(blocks).sqrt()).exp() - 1.0;
    ratio.is_finite().then_some(ratio)
}

/// Blocks.
pub fn blocks_for(deviation: f64, ratio: f64, confidence: f64, power: f64) -> Option<u32> {
    (2..10_000)
        .find(|n| detectable_ratio(deviation, *n, confidence, power).is_some_and(|d| d <= ratio))
}

/// Drift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// Per hour.
    pub per_hour_ratio: f64,
    /// p.
    pub p_value: f64,
}

/// Drift.
pub fn drift(points: &[(f64, f64)]) -> Option<Drift> {
    let _ = points;
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reference: SciPy's `stats.t.interval(0.95, 4, loc=mean, scale=stats.sem(values))`
    /// of `[1, 2, 3, 4, 10]` and of their logarithms.
    #[test]
    fn t_intervals_as_scipy_gives_them() {
        let (mean, interval) = t_interval(&[1.0, 2.0, 3.0, 4.0, 10.0], 0.95);
        let (low, high) = interval.unwrap();
        assert_eq!(mean, 4.0);
        assert!((low - -0.389945165425).abs() < 1e-9, "{low}");
        assert!((high - 8.389945165425).abs() < 1e-9, "{high}");

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
        assert!((estimate.point - 5.0).abs() < 1e-12);
        assert_eq!(estimate.interval, None);
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
                prop_assert!(estimate.point.is_finite());
                if let Some((low, high)) = estimate.interval {
                    let slack = estimate.point.abs() * 1e-9;
                    prop_assert!(low <= estimate.point + slack && estimate.point <= high + slack);
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
