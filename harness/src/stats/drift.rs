//! Whether costs moved while time went by.

use super::student::two_sided_p;

/// Straight-line change of a cost's logarithm over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// Change in an hour at this pace, as a share: 0.02 is 2 % more.
    pub per_hour_ratio: f64,
    /// The chance of a slope as steep if there were none. Two-sided.
    pub p_value: f64,
}

/// Logarithms closer than this are equal.
const TOLERANCE: f64 = 1e-12;

/// Least squares of ln(value) on time, and the t test of its slope with n − 2
/// degrees of freedom (Draper & Smith, "Applied Regression Analysis", §1.4).
///
/// Points are (seconds, value). Only a steady drift is found; one that comes
/// and goes is noise to it. None with fewer than four points, a value that is
/// not finite and positive, times that are all the same, or a pace that
/// overflows within an hour.
pub fn drift(points: &[(f64, f64)]) -> Option<Drift> {
    let fits = |&(time, value): &(f64, f64)| time.is_finite() && value.is_finite() && value > 0.0;
    if points.len() < 4 || !points.iter().all(fits) {
        return None;
    }
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (time, log) = (mean(|point| point.0), mean(|point| point.1.ln()));
    let centered = || {
        points
            .iter()
            .map(|point| (point.0 - time, point.1.ln() - log))
    };

    let times: f64 = centered().map(|(time, _)| time * time).sum();
    let slope = centered().map(|(time, log)| time * log).sum::<f64>() / times;
    let residuals: f64 = centered()
        .map(|(time, log)| (log - slope * time).powi(2))
        .sum();
    let per_hour_ratio = (slope * 3600.0).exp_m1();
    if !(times > 0.0 && times.is_finite() && per_hour_ratio.is_finite()) {
        return None;
    }
    let flat = centered().all(|(_, log)| log.abs() <= TOLERANCE);
    let p_value = if flat {
        1.0
    } else if residuals == 0.0 {
        0.0
    } else {
        let error = (residuals / (n - 2.0) / times).sqrt();
        two_sided_p(slope / error, n - 2.0)?
    };
    Some(Drift {
        per_hour_ratio,
        p_value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_percent_an_hour() {
        let points: Vec<_> = (0..6)
            .map(|n| {
                let time = f64::from(n) * 600.0;
                (time, 5.0 * 1.02f64.powf(time / 3600.0))
            })
            .collect();
        let drift = drift(&points).unwrap();
        assert!((drift.per_hour_ratio - 0.02).abs() < 1e-9);
        assert!(drift.p_value < 1e-9);
    }

    #[test]
    fn costs_that_stay_do_not_drift() {
        let drift = drift(&[(0.0, 0.1), (1.0, 0.1), (2.0, 0.1), (3.0, 0.1)]).unwrap();
        assert!(drift.per_hour_ratio.abs() < 1e-9);
        assert_eq!(drift.p_value, 1.0);
    }

    #[test]
    fn a_line_needs_four_points_in_time() {
        assert_eq!(drift(&[(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]), None);
        assert_eq!(
            drift(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0), (1.0, 4.0)]),
            None
        );
        assert_eq!(
            drift(&[(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 0.0)]),
            None
        );
        assert_eq!(
            drift(&[(0.0, 1.0), (1e300, 2.0), (2.0, 3.0), (3.0, 4.0)]),
            None
        );
    }
}
