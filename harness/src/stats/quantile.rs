//! Counted buckets → quantiles.

/// The smallest bucket bound that at least `quantile` of all counts lie at or below.
///
/// None when nothing was counted, the quantile is not between 0 and 1, or the
/// bound is NaN.
pub fn quantile(buckets: &[(f64, u64)], quantile: f64) -> Option<f64> {
    if !(0.0..=1.0).contains(&quantile) {
        return None;
    }
    // Of 128 bits, so that no sum of counts overflows.
    let total: u128 = buckets.iter().map(|&(_, count)| u128::from(count)).sum();
    let rank = ((quantile * total as f64).ceil() as u128).min(total).max(1);
    let mut seen = 0;
    buckets
        .iter()
        .find_map(|&(bound, count)| {
            seen += u128::from(count);
            (seen >= rank).then_some(bound)
        })
        .filter(|bound| !bound.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn counts_beyond_sixty_four_bits() {
        let buckets = [(1.0, u64::MAX), (2.0, u64::MAX)];
        assert_eq!(quantile(&buckets, 0.25), Some(1.0));
        assert_eq!(quantile(&buckets, 1.0), Some(2.0));
    }
}
