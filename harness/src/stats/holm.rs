//! Many chances in one report → corrected ones.

/// p-values adjusted so that the chance of even one false claim among them all
/// stays below the level each is compared with, in the order they came.
///
/// Step-down of Holm (1979), "A simple sequentially rejective multiple test
/// procedure": the i-th smallest of m is multiplied by m − i + 1, and none comes
/// out smaller than the one before it. It asks nothing of how the tests depend
/// on one another, and is never weaker than Bonferroni's.
///
/// A p-value that is NaN counts as 1, a claim that nothing supports.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let certain = |p: f64| if p.is_nan() { 1.0 } else { p.clamp(0.0, 1.0) };
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| certain(p[a]).total_cmp(&certain(p[b])));
    let mut adjusted = vec![1.0; p.len()];
    let mut floor: f64 = 0.0;
    for (rank, &index) in order.iter().enumerate() {
        floor = floor.max((p.len() - rank) as f64 * certain(p[index]));
        adjusted[index] = floor.min(1.0);
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: 4·0.01, 3·0.02, 2·0.03 raised to the one before, 1·0.9.
    #[test]
    fn four_by_hand() {
        let adjusted = holm(&[0.03, 0.01, 0.9, 0.02]);
        for (adjusted, expected) in adjusted.iter().zip([0.06, 0.04, 0.9, 0.06]) {
            assert!((adjusted - expected).abs() < 1e-12, "{adjusted}");
        }
    }

    #[test]
    fn one_alone_stays() {
        assert_eq!(holm(&[0.04]), [0.04]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn what_is_no_p_value_claims_nothing() {
        assert_eq!(
            holm(&[f64::NAN, 0.01, f64::INFINITY, -1.0]),
            [1.0, 0.03, 1.0, 0.0]
        );
    }
}
