//! An arm beside its reference, block by block → ratio and interval.

use super::student::{moments, t_interval, two_sided_p};

/// One block of a paired comparison: what the reference arm(s) and the arm itself cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The block's number, once in a comparison.
    pub block: u32,
    /// The baseline's cost, and its identical twin's where there is one.
    pub reference: Vec<f64>,
    /// The arm's cost.
    pub value: f64,
}

impl Pair {
    /// ln(value) − mean(ln(reference)). None where a cost has no logarithm.
    pub(super) fn log_ratio(&self) -> Option<f64> {
        let costs = || self.reference.iter().chain([&self.value]);
        if self.reference.is_empty() || !costs().all(|cost| cost.is_finite() && *cost > 0.0) {
            return None;
        }
        let logs: f64 = self.reference.iter().map(|cost| cost.ln()).sum();
        Some(self.value.ln() - logs / self.reference.len() as f64)
    }
}

/// What an arm changed, as a share of its reference: 0.04 is 4 % more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// exp(mean of the blocks' log-ratios) − 1.
    pub ratio: f64,
    /// The ends of the t interval over blocks, on the scale of `ratio`. None
    /// with fewer than two blocks.
    pub interval: Option<(f64, f64)>,
    /// Standard deviation of the blocks' log-ratios.
    pub deviation: Option<f64>,
    /// Chance of a mean log-ratio at least as far from zero between equals:
    /// the paired, two-sided t test. None with fewer than two blocks.
    pub p_value: Option<f64>,
    /// How many blocks this is of.
    pub blocks: u32,
}

/// The mean log-ratio of the blocks and its t interval, back on the scale of ratios.
///
/// Within a block the machine's mood is shared and cancels in the difference;
/// between blocks it is new. So the block is the unit, as in a paired t test
/// (Student 1908, "The probable error of a mean"), and the mean of log-ratios
/// is the geometric mean of ratios: +25 % and −20 % are equally far from none.
///
/// A share of costs cannot fall below −1 and can rise without end; an interval
/// with an end beyond what a float holds is none. None without pairs, and with
/// any cost that is not finite and positive: what such a block would have said
/// is unknown, and leaving it out is the caller's decision.
pub fn effect(pairs: &[Pair], confidence: f64) -> Option<Effect> {
    let log_ratios: Vec<f64> = pairs.iter().map(Pair::log_ratio).collect::<Option<_>>()?;
    if log_ratios.is_empty() {
        return None;
    }
    let (mean, interval) = t_interval(&log_ratios, confidence);
    let (_, deviation) = moments(&log_ratios);
    let ratio = mean.exp_m1();
    ratio.is_finite().then_some(Effect {
        ratio,
        interval: interval
            .map(|(low, high)| (low.exp_m1(), high.exp_m1()))
            .filter(|(low, high)| low.is_finite() && high.is_finite()),
        deviation,
        p_value: deviation.and_then(|deviation| chance(mean, deviation, log_ratios.len() as f64)),
        blocks: u32::try_from(pairs.len()).unwrap_or(u32::MAX),
    })
}

/// Log-ratios closer than this are equal.
const TOLERANCE: f64 = 1e-12;

/// The t test of a mean of `n` log-ratios. Without any spread it is certain,
/// one way or the other.
fn chance(mean: f64, deviation: f64, n: f64) -> Option<f64> {
    if mean.abs() <= TOLERANCE && deviation <= TOLERANCE {
        return Some(1.0);
    }
    if deviation == 0.0 {
        return Some(0.0);
    }
    two_sided_p(mean / (deviation / n.sqrt()), n - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_counts_as_half_of_the_reference() {
        let pair = Pair {
            block: 1,
            reference: vec![1.0, 4.0],
            value: 3.0,
        };
        let effect = effect(&[pair], 0.95).unwrap();
        assert!((effect.ratio - 0.5).abs() < 1e-12, "{}", effect.ratio);
        assert_eq!((effect.interval, effect.deviation), (None, None));
        assert_eq!(effect.blocks, 1);
    }

    #[test]
    fn without_any_spread_a_change_is_certain() {
        let p = |factor: f64| {
            let pair = |block: u32, cost| Pair {
                block,
                reference: vec![cost],
                value: cost * factor,
            };
            let pairs = [pair(1, 1.0), pair(2, 2.0), pair(3, 4.0)];
            effect(&pairs, 0.95).unwrap().p_value
        };
        assert_eq!(p(1.0), Some(1.0));
        assert!(p(1.5).unwrap() < 1e-9);
    }

    #[test]
    fn a_cost_without_a_logarithm_is_no_effect() {
        for (reference, value) in [
            (vec![], 1.0),
            (vec![0.0], 1.0),
            (vec![1.0], -1.0),
            (vec![1.0, f64::NAN], 1.0),
            (vec![1.0], f64::INFINITY),
        ] {
            let pair = Pair {
                block: 1,
                reference,
                value,
            };
            assert_eq!(effect(&[pair], 0.95), None);
        }
        assert_eq!(effect(&[], 0.95), None);
    }

    #[test]
    fn an_interval_that_overflows_is_none() {
        let pair = |block, value| Pair {
            block,
            reference: vec![1.0],
            value,
        };
        let effect = effect(&[pair(1, 1e-300), pair(2, 1e300)], 0.95).unwrap();
        assert!(effect.ratio.abs() < 1e-9);
        assert_eq!(effect.interval, None);
    }
}
