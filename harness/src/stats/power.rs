//! What a number of blocks can see, and how many a change needs.

use super::student::{t_quantile, two_sided};

/// More blocks than this nobody runs.
const MOST_BLOCKS: u32 = 10_000;

/// The smallest true ratio that so many blocks would report as a change with
/// chance `power`: exp((t(1 − α/2, n−1) + t(power, n−1)) · s / √n) − 1.
///
/// `deviation` is [`Effect::deviation`](super::Effect::deviation), of log-ratios.
/// The formula is the usual one for a minimum detectable difference (Zar,
/// "Biostatistical Analysis", §7.7; Bloom 1995, "Minimum detectable effects").
/// It puts a shifted central t in place of the noncentral one and is slightly
/// optimistic: for a power of 0.8, the power in truth is above 0.78 from four
/// blocks on, 0.77 with three and 0.73 with two, at 95 % confidence (SciPy's
/// noncentral t). At 99 % it takes six blocks for 0.85 where 0.9 was asked.
///
/// None with fewer than two blocks, a deviation that is no deviation, a
/// confidence or power that is not between 0 and 1, a power not above α/2 (so
/// often chance alone reports a change upwards), or a ratio that overflows.
pub fn detectable_ratio(deviation: f64, blocks: u32, confidence: f64, power: f64) -> Option<f64> {
    if !(deviation.is_finite() && deviation >= 0.0) {
        return None;
    }
    let freedom = f64::from(blocks.checked_sub(1)?);
    let factor = two_sided(confidence, freedom)? + t_quantile(power, freedom)?;
    let ratio = (factor * deviation / f64::from(blocks).sqrt()).exp_m1();
    (factor > 0.0 && ratio.is_finite()).then_some(ratio)
}

/// The fewest blocks, two or more, whose [`detectable_ratio`] is at most `ratio`.
///
/// None where 10 000 do not do, the ratio is not above zero, or
/// [`detectable_ratio`] has no answer.
pub fn blocks_for(deviation: f64, ratio: f64, confidence: f64, power: f64) -> Option<u32> {
    if !(ratio.is_finite() && ratio > 0.0) {
        return None;
    }
    // None with few blocks is an overflow, further from enough than any number.
    let enough = |blocks| {
        detectable_ratio(deviation, blocks, confidence, power)
            .is_some_and(|detectable| detectable <= ratio)
    };
    // What can be seen only shrinks with more blocks, so halving finds the border.
    let (mut too_few, mut found) = (1, MOST_BLOCKS);
    if !enough(found) {
        return None;
    }
    while found - too_few > 1 {
        let middle = too_few + (found - too_few) / 2;
        if enough(middle) {
            found = middle;
        } else {
            too_few = middle;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: (2.306004 + 0.888890) · 0.03 / 3, of t(0.975; 8) and t(0.8; 8).
    #[test]
    fn nine_blocks_by_hand() {
        let ratio = detectable_ratio(0.03, 9, 0.95, 0.8).unwrap();
        assert!((ratio - 0.031_948_94_f64.exp_m1()).abs() < 1e-7, "{ratio}");
    }

    #[test]
    fn the_count_is_the_smallest() {
        for deviation in [0.001, 0.01, 0.03, 0.2] {
            for ratio in [0.005, 0.02, 0.1] {
                let first = (2..=10_000).find(|&blocks| {
                    detectable_ratio(deviation, blocks, 0.95, 0.8)
                        .is_some_and(|detectable| detectable <= ratio)
                });
                assert_eq!(blocks_for(deviation, ratio, 0.95, 0.8), first);
            }
        }
    }

    #[test]
    fn no_noise_needs_two_blocks() {
        assert_eq!(detectable_ratio(0.0, 2, 0.95, 0.8), Some(0.0));
        assert_eq!(blocks_for(0.0, 0.01, 0.95, 0.8), Some(2));
    }

    #[test]
    fn what_cannot_be_answered_is_none() {
        assert_eq!(detectable_ratio(0.03, 1, 0.95, 0.8), None);
        assert_eq!(detectable_ratio(0.03, 0, 0.95, 0.8), None);
        assert_eq!(detectable_ratio(-0.03, 8, 0.95, 0.8), None);
        assert_eq!(detectable_ratio(0.03, 8, 0.95, 0.01), None);
        assert_eq!(detectable_ratio(1e300, 8, 0.95, 0.8), None);
        assert_eq!(blocks_for(0.5, 0.001, 0.95, 0.8), None);
        assert_eq!(blocks_for(0.5, -0.1, 0.95, 0.8), None);
    }
}
