//! What holds for any input: nothing panics, nothing is NaN, and each figure keeps its bounds.

use proptest::collection::vec;
use proptest::num::f64::{ANY, POSITIVE};
use proptest::prelude::*;

use crate::stats::permutation::permutation_p_of;
use crate::stats::{
    Effect, Pair, blocks_for, detectable_ratio, drift, effect, estimate, holm, quantile, welch,
};

/// Anything a float can be, with what is likely in between.
fn number() -> impl Strategy<Value = f64> + Clone {
    prop_oneof![
        ANY,
        POSITIVE,
        1e-6..1.0,
        Just(0.0),
        Just(1.0),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        Just(f64::INFINITY),
        Just(f64::NAN),
    ]
}

fn pairs(of: impl Strategy<Value = f64> + Clone, most: usize) -> impl Strategy<Value = Vec<Pair>> {
    let pair = (any::<u32>(), vec(of.clone(), 0..4), of);
    vec(
        pair.prop_map(|(block, reference, value)| Pair {
            block,
            reference,
            value,
        }),
        0..most,
    )
}

/// Costs as they are, with one or two references.
fn costs() -> impl Strategy<Value = Vec<Pair>> {
    (1..=2usize).prop_flat_map(|references| {
        vec((vec(1e-6..1e-3, references), 1e-6..1e-3), 2..7).prop_map(|blocks| {
            (1..)
                .zip(blocks)
                .map(|(block, (reference, value))| Pair {
                    block,
                    reference,
                    value,
                })
                .collect()
        })
    })
}

fn scaled(pairs: &[Pair], reference: f64, value: f64) -> Vec<Pair> {
    pairs
        .iter()
        .map(|pair| Pair {
            block: pair.block,
            reference: pair.reference.iter().map(|cost| cost * reference).collect(),
            value: pair.value * value,
        })
        .collect()
}

fn assert_sound(effect: &Effect) -> Result<(), TestCaseError> {
    prop_assert!(effect.ratio.is_finite() && effect.ratio >= -1.0);
    if let Some((low, high)) = effect.interval {
        let slack = 1e-9 * effect.ratio.abs().max(1.0);
        prop_assert!(low.is_finite() && high.is_finite() && low >= -1.0);
        prop_assert!(low <= effect.ratio + slack && effect.ratio <= high + slack);
    }
    prop_assert!(
        effect
            .deviation
            .is_none_or(|deviation| deviation.is_finite() && deviation >= 0.0)
    );
    prop_assert!(effect.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)));
    prop_assert!(effect.blocks >= 2 || (effect.interval.is_none() && effect.deviation.is_none()));
    Ok(())
}

proptest! {
    /// The interval holds the mean; nothing that comes out is NaN, whatever goes in.
    #[test]
    fn estimates_are_sound(values in vec(number(), 0..20), confidence in number()) {
        if let Some(estimate) = estimate(&values, confidence) {
            prop_assert!(estimate.point.is_finite());
            if let Some((low, high)) = estimate.interval {
                let slack = estimate.point.abs() * 1e-9;
                prop_assert!(low <= estimate.point + slack && estimate.point <= high + slack);
            }
            prop_assert!(estimate.coefficient_of_variation.is_none_or(|ratio| ratio >= 0.0));
        }
    }

    /// A quantile is a bucket's bound, and grows with q.
    #[test]
    fn quantiles_grow(counts in vec(0u64..100, 1..30), a in 0.0f64..=1.0, b in 0.0f64..=1.0) {
        let buckets: Vec<_> = counts.iter().enumerate().map(|(n, count)| (n as f64, *count)).collect();
        let (a, b) = if a < b { (a, b) } else { (b, a) };
        if let (Some(low), Some(high)) = (quantile(&buckets, a), quantile(&buckets, b)) {
            prop_assert!(low <= high);
        }
    }

    #[test]
    fn quantiles_are_bounds(buckets in vec((number(), any::<u64>()), 0..20), q in number()) {
        if let Some(value) = quantile(&buckets, q) {
            prop_assert!(buckets.iter().any(|&(bound, count)| bound == value && count > 0));
        }
    }

    #[test]
    fn effects_of_anything(pairs in pairs(number(), 12), confidence in number()) {
        if let Some(effect) = effect(&pairs, confidence) {
            assert_sound(&effect)?;
        }
    }

    #[test]
    fn effects_of_any_positive_costs(pairs in pairs(POSITIVE, 12), confidence in 0.0f64..1.0) {
        if let Some(effect) = effect(&pairs, confidence) {
            assert_sound(&effect)?;
        }
    }

    /// A unit changes nothing, and what multiplies the arm multiplies 1 + ratio.
    #[test]
    fn effects_scale(pairs in costs(), unit in 1e-3f64..1e3, factor in 0.5f64..2.0) {
        let plain = effect(&pairs, 0.95).unwrap();
        let other = effect(&scaled(&pairs, unit, unit * factor), 0.95).unwrap();
        let expected = (1.0 + plain.ratio) * factor;
        prop_assert!((1.0 + other.ratio - expected).abs() <= 1e-9 * expected);
    }

    /// The more confident, the wider.
    #[test]
    fn intervals_widen(pairs in costs(), a in 0.01f64..0.99, b in 0.01f64..0.99) {
        let width = |confidence| {
            let (low, high) = effect(&pairs, confidence).unwrap().interval.unwrap();
            high - low
        };
        prop_assert!(width(a.min(b)) <= width(a.max(b)) * (1.0 + 1e-9));
    }

    #[test]
    fn groups_of_anything(first in vec(number(), 0..8), second in vec(number(), 0..8), confidence in number()) {
        if let Some(welch) = welch(&first, &second, confidence) {
            prop_assert!(welch.difference.is_finite());
            prop_assert!(welch.interval.is_none_or(|(low, high)| low.is_finite() && low <= high && high.is_finite()));
            prop_assert!(welch.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)));
            prop_assert!(welch.freedom.is_none_or(f64::is_finite));
        }
    }

    #[test]
    fn chances_of_anything(pairs in pairs(number(), 25), seed in any::<u64>()) {
        if let Some(p) = permutation_p_of(&pairs, seed, 50) {
            prop_assert!(0.0 < p && p <= 1.0);
        }
    }

    #[test]
    fn chances_of_any_positive_costs(pairs in pairs(POSITIVE, 25), seed in any::<u64>()) {
        if let Some(p) = permutation_p_of(&pairs, seed, 50) {
            prop_assert!(0.0 < p && p <= 1.0);
        }
    }

    /// Neither the unit nor the order of blocks changes the chance.
    #[test]
    fn chances_keep(pairs in costs(), unit in 1e-3f64..1e3) {
        let plain = permutation_p_of(&pairs, 0, 50);
        let mut other = scaled(&pairs, unit, unit);
        other.reverse();
        prop_assert_eq!(plain, permutation_p_of(&other, 0, 50));
    }

    /// Between what went in and m times that, at most 1, and in the same order.
    #[test]
    fn corrections_are_monotone(p in vec(0.0f64..=1.0, 0..20)) {
        let adjusted = holm(&p);
        prop_assert_eq!(adjusted.len(), p.len());
        for (n, (&p_n, &adjusted_n)) in p.iter().zip(&adjusted).enumerate() {
            prop_assert!(p_n <= adjusted_n && adjusted_n <= 1.0);
            prop_assert!(adjusted_n <= p_n * p.len() as f64);
            for (&p_m, &adjusted_m) in p.iter().zip(&adjusted).skip(n) {
                prop_assert!(p_n > p_m || adjusted_n <= adjusted_m);
            }
        }
    }

    #[test]
    fn corrections_of_anything(p in vec(number(), 0..20)) {
        let adjusted = holm(&p);
        prop_assert_eq!(adjusted.len(), p.len());
        prop_assert!(adjusted.iter().all(|p| (0.0..=1.0).contains(p)));
    }

    #[test]
    fn powers_of_anything(deviation in number(), blocks in any::<u32>(), confidence in number(), power in number()) {
        if let Some(ratio) = detectable_ratio(deviation, blocks, confidence, power) {
            prop_assert!(ratio.is_finite() && ratio >= 0.0);
        }
    }

    /// However confident and however sure: the t distribution's tails included.
    #[test]
    fn powers_of_any_share(deviation in 0.0f64..0.2, blocks in 2u32..20_000, confidence in 0.0f64..1.0, power in 0.0f64..1.0) {
        if let Some(ratio) = detectable_ratio(deviation, blocks, confidence, power) {
            prop_assert!(ratio.is_finite() && ratio >= 0.0);
            let more = detectable_ratio(deviation, blocks + 1, confidence, power).unwrap();
            prop_assert!(more <= ratio * (1.0 + 1e-6) + 1e-12, "{more} after {ratio}");
        }
    }

    #[test]
    fn counts_of_anything(deviation in number(), ratio in number(), confidence in number(), power in number()) {
        if let Some(blocks) = blocks_for(deviation, ratio, confidence, power) {
            prop_assert!((2..=10_000).contains(&blocks));
        }
    }

    /// So many blocks are enough, and one fewer is not.
    #[test]
    fn counts_are_the_smallest(deviation in 0.0f64..0.2, ratio in 0.001f64..0.5, confidence in 0.5f64..0.999, power in 0.1f64..0.99) {
        if let Some(blocks) = blocks_for(deviation, ratio, confidence, power) {
            let detectable = |blocks| detectable_ratio(deviation, blocks, confidence, power);
            prop_assert!(detectable(blocks).unwrap() <= ratio);
            prop_assert!(blocks == 2 || detectable(blocks - 1).is_none_or(|detectable| detectable > ratio));
        }
    }

    #[test]
    fn drifts_of_anything(points in vec((number(), number()), 0..12)) {
        if let Some(drift) = drift(&points) {
            prop_assert!(drift.per_hour_ratio.is_finite() && drift.per_hour_ratio >= -1.0);
            prop_assert!((0.0..=1.0).contains(&drift.p_value));
        }
    }

    #[test]
    fn drifts_of_any_positive_costs(points in vec((0.0f64..1e5, POSITIVE), 0..12)) {
        if let Some(drift) = drift(&points) {
            prop_assert!(drift.per_hour_ratio.is_finite() && drift.per_hour_ratio >= -1.0);
            prop_assert!((0.0..=1.0).contains(&drift.p_value));
        }
    }

    /// Run backwards, a drift turns round and is as sure as before.
    #[test]
    fn drifts_turn_round(values in vec(1e-6f64..1e-3, 4..12)) {
        let points: Vec<_> = (0..).zip(&values).map(|(n, value)| (f64::from(n) * 3600.0, *value)).collect();
        let back: Vec<_> = points.iter().map(|(time, value)| (-time, *value)).collect();
        let (there, back) = (drift(&points).unwrap(), drift(&back).unwrap());
        prop_assert!((there.per_hour_ratio.ln_1p() + back.per_hour_ratio.ln_1p()).abs() < 1e-9);
        prop_assert!((there.p_value - back.p_value).abs() < 1e-9);
    }
}
