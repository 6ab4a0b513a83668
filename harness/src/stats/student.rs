//! Student's t distribution, and the two moments that go with it.

use statrs::distribution::{Continuous, ContinuousCDF, Normal, StudentsT};

/// Arithmetic mean, and standard deviation of a sample of two or more.
pub(super) fn moments(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (n >= 2.0).then(|| (squares / (n - 1.0)).sqrt()))
}

/// Mean, and its interval mean ± t(n−1) · s / √n when there are two values.
pub(super) fn t_interval(values: &[f64], confidence: f64) -> (f64, Option<(f64, f64)>) {
    let n = values.len() as f64;
    let (mean, deviation) = moments(values);
    let interval = deviation.and_then(|deviation| {
        let half = two_sided(confidence, n - 1.0)? * deviation / n.sqrt();
        Some((mean - half, mean + half))
    });
    (mean, interval)
}

/// The factor of a two-sided interval: t(1 − α/2). None for a confidence that is no share.
pub(super) fn two_sided(confidence: f64, freedom: f64) -> Option<f64> {
    (0.0 < confidence && confidence < 1.0)
        .then(|| t_quantile(0.5 + confidence / 2.0, freedom))
        .flatten()
}

/// The value that a share `p` of the distribution lies below. None unless 0 < p < 1
/// and there are degrees of freedom, which need not be whole.
///
/// statrs inverts the distribution with Algorithm AS 109, which stops at eight
/// digits, panics far in the tails and does not return at all with a billion
/// degrees of freedom. Its distribution function has none of this, so the
/// inverse is sought here: Newton's method, inside a bracket that halves.
pub(super) fn t_quantile(p: f64, freedom: f64) -> Option<f64> {
    if !(0.0 < p && p < 1.0 && freedom > 0.0) {
        return None;
    }
    let tail = p.min(1.0 - p);
    let t = if tail == 0.5 {
        0.0
    } else if freedom > EXPANSION_FROM {
        expansion(-Normal::standard().inverse_cdf(tail), freedom)
    } else {
        upper_tail(tail, freedom)?
    };
    t.is_finite().then_some(if p < 0.5 { -t } else { t })
}

/// With this many degrees of freedom the expansion is exact to eleven digits,
/// even four deviations out.
const EXPANSION_FROM: f64 = 1000.0;

/// Abramowitz & Stegun (1964), 26.7.5: the quantile from the normal one, `z`.
fn expansion(z: f64, freedom: f64) -> f64 {
    let (z3, z5, z7) = (z.powi(3), z.powi(5), z.powi(7));
    z + (z3 + z) / (4.0 * freedom)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * freedom.powi(2))
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * freedom.powi(3))
}

/// The `t` above zero that a share `tail` < 0.5 lies above.
fn upper_tail(tail: f64, freedom: f64) -> Option<f64> {
    let distribution = StudentsT::new(0.0, 1.0, freedom).ok()?;
    let (mut low, mut high) = (0.0, 1.0);
    while distribution.sf(high) > tail {
        (low, high) = (high, 2.0 * high);
        if high > 1e150 {
            return None;
        }
    }
    let mut t = 0.5 * (low + high);
    for _ in 0..200 {
        let excess = distribution.sf(t) - tail;
        if excess > 0.0 {
            low = t;
        } else {
            high = t;
        }
        let newton = t + excess / distribution.pdf(t);
        let next = if low < newton && newton < high {
            newton
        } else {
            0.5 * (low + high)
        };
        if (next - t).abs() <= 1e-14 * t {
            return Some(next);
        }
        t = next;
    }
    Some(t)
}

/// The chance of a value as far from zero as `t`, on either side.
pub(super) fn two_sided_p(t: f64, freedom: f64) -> Option<f64> {
    if t.is_nan() {
        return None;
    }
    let p = 2.0 * StudentsT::new(0.0, 1.0, freedom).ok()?.sf(t.abs());
    p.is_finite().then(|| p.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference: the usual table, t(0.975; 1, 5, 30).
    #[test]
    fn t_factors() {
        for (freedom, expected) in [(1.0, 12.7062), (5.0, 2.57058), (30.0, 2.04227)] {
            assert!((two_sided(0.95, freedom).unwrap() - expected).abs() < 1e-4);
        }
    }

    /// Reference: SciPy's `stats.t.interval(0.95, 4, loc=mean, scale=stats.sem(values))`
    /// of `[1, 2, 3, 4, 10]`.
    #[test]
    fn t_interval_as_scipy_gives_it() {
        let (mean, interval) = t_interval(&[1.0, 2.0, 3.0, 4.0, 10.0], 0.95);
        let (low, high) = interval.unwrap();
        assert_eq!(mean, 4.0);
        assert!((low - -0.389945165425).abs() < 1e-9, "{low}");
        assert!((high - 8.389945165425).abs() < 1e-9, "{high}");
    }
}
