//! Two groups of independent values whose spreads need not be equal.

use super::student::{moments, two_sided, two_sided_p};

/// What separates the means of two groups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Welch {
    /// Mean of the second group less mean of the first.
    pub difference: f64,
    /// The ends of the interval for it; none where a group has one value only.
    pub interval: Option<(f64, f64)>,
    /// Chance of a difference at least as large between equal means.
    pub p_value: Option<f64>,
    /// Degrees of freedom.
    pub freedom: Option<f64>,
}

/// Difference of means with a t interval, without the assumption that both
/// groups spread alike (Welch 1947, "The generalization of 'Student's' problem
/// when several different population variances are involved"; degrees of
/// freedom by Satterthwaite 1946).
///
/// None without values in a group, or with one that is not finite.
pub fn welch(first: &[f64], second: &[f64], confidence: f64) -> Option<Welch> {
    let bad = |values: &[f64]| values.is_empty() || values.iter().any(|v| !v.is_finite());
    if bad(first) || bad(second) {
        return None;
    }
    let ((mean_a, deviation_a), (mean_b, deviation_b)) = (moments(first), moments(second));
    let difference = mean_b - mean_a;
    if !difference.is_finite() {
        return None;
    }
    let without = Welch {
        difference,
        interval: None,
        p_value: None,
        freedom: None,
    };
    let Some((deviation_a, deviation_b)) = deviation_a.zip(deviation_b) else {
        return Some(without);
    };
    let (n_a, n_b) = (first.len() as f64, second.len() as f64);
    let (part_a, part_b) = (deviation_a.powi(2) / n_a, deviation_b.powi(2) / n_b);
    let error = (part_a + part_b).sqrt();
    let freedom =
        (part_a + part_b).powi(2) / (part_a.powi(2) / (n_a - 1.0) + part_b.powi(2) / (n_b - 1.0));
    if error == 0.0 || !freedom.is_finite() {
        // Values that do not differ at all, as far as numbers can tell.
        let same = error == 0.0 && difference == 0.0;
        let exact = error == 0.0;
        return Some(Welch {
            interval: exact.then_some((difference, difference)),
            p_value: exact.then_some(if same { 1.0 } else { 0.0 }),
            ..without
        });
    }
    let Some(factor) = two_sided(confidence, freedom) else {
        return Some(without);
    };
    let half = factor * error;
    let interval = (difference - half, difference + half);
    let sound = interval.0.is_finite() && interval.1.is_finite();
    Some(Welch {
        difference,
        interval: sound.then_some(interval),
        p_value: two_sided_p(difference / error, freedom),
        freedom: Some(freedom),
    })
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
        first: Vec<f64>,
        second: Vec<f64>,
        confidence: f64,
        difference: f64,
        low: f64,
        high: f64,
        p_value: f64,
        freedom: f64,
    }

    /// Reference: SciPy's `stats.ttest_ind(second, first, equal_var=False)`,
    /// recorded by `scripts/welch_reference.py`.
    #[test]
    fn as_scipy_gives_it() {
        let reference: Reference =
            serde_json::from_str(include_str!("../../tests/fixtures/welch.json")).unwrap();
        assert!(reference.cases.len() >= 8);
        for case in reference.cases {
            let welch = welch(&case.first, &case.second, case.confidence).unwrap();
            let (low, high) = welch.interval.unwrap();
            for (ours, theirs) in [
                (welch.difference, case.difference),
                (low, case.low),
                (high, case.high),
                (welch.p_value.unwrap(), case.p_value),
                (welch.freedom.unwrap(), case.freedom),
            ] {
                let slack = 1e-9 * theirs.abs().max(1e-3);
                assert!((ours - theirs).abs() <= slack, "{ours} is not {theirs}");
            }
        }
    }

    /// By hand: means 2 and 5, variances 1 and 4, n 3 and 3: error √(5/3),
    /// freedom (5/3)² ÷ ((1/3)²/2 + (4/3)²/2) = 50/17.
    #[test]
    fn by_hand() {
        let welch = welch(&[1.0, 2.0, 3.0], &[3.0, 5.0, 7.0], 0.95).unwrap();
        assert_eq!(welch.difference, 3.0);
        assert!((welch.freedom.unwrap() - 50.0 / 17.0).abs() < 1e-12);
        let (low, high) = welch.interval.unwrap();
        assert!((low + high - 6.0).abs() < 1e-12);
    }

    #[test]
    fn too_few_and_too_equal() {
        assert_eq!(welch(&[], &[1.0], 0.95), None);
        assert_eq!(welch(&[f64::NAN], &[1.0], 0.95), None);
        let single = welch(&[1.0], &[2.0, 3.0], 0.95).unwrap();
        assert_eq!((single.difference, single.interval), (1.5, None));
        assert_eq!(single.p_value, None);
        let equal = welch(&[2.0, 2.0], &[2.0, 2.0], 0.95).unwrap();
        assert_eq!(equal.interval, Some((0.0, 0.0)));
        assert_eq!(equal.p_value, Some(1.0));
        let apart = welch(&[2.0, 2.0], &[3.0, 3.0], 0.95).unwrap();
        assert_eq!(apart.p_value, Some(0.0));
        assert_eq!(apart.interval, Some((1.0, 1.0)));
    }

    proptest! {
        /// Nothing that comes out is NaN, whatever goes in, and the interval holds the difference.
        #[test]
        fn sound(
            first in proptest::collection::vec(proptest::num::f64::ANY, 0..8),
            second in proptest::collection::vec(proptest::num::f64::ANY, 0..8),
        ) {
            if let Some(welch) = welch(&first, &second, 0.95) {
                prop_assert!(welch.difference.is_finite());
                if let Some(p) = welch.p_value {
                    prop_assert!((0.0..=1.0).contains(&p));
                }
                if let Some((low, high)) = welch.interval {
                    prop_assert!(low <= welch.difference && welch.difference <= high);
                }
            }
        }

        /// Swapping the groups turns the sign and nothing else.
        #[test]
        fn antisymmetric(
            first in proptest::collection::vec(-10.0f64..10.0, 2..8),
            second in proptest::collection::vec(-10.0f64..10.0, 2..8),
        ) {
            let (there, back) = (welch(&first, &second, 0.9).unwrap(), welch(&second, &first, 0.9).unwrap());
            prop_assert!((there.difference + back.difference).abs() < 1e-9);
            let (p, q) = (there.p_value.unwrap(), back.p_value.unwrap());
            prop_assert!((p - q).abs() < 1e-9);
        }
    }
}
