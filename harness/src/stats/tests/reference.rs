//! The same figures as SciPy, NumPy and statsmodels, from `tests/fixtures/stats.json`,
//! which `scripts/stats_reference.py` writes.

use serde::Deserialize;

use crate::stats::student::t_quantile;
use crate::stats::{
    Pair, blocks_for, detectable_ratio, drift, effect, estimate, holm, permutation_p, quantile,
};

#[derive(Deserialize)]
struct Reference {
    effects: Vec<EffectCase>,
    holm: Vec<HolmCase>,
    t_quantiles: Vec<TCase>,
    power: Vec<PowerCase>,
    drift: Vec<DriftCase>,
    quantiles: Vec<QuantileCase>,
}

#[derive(Deserialize)]
struct EffectCase {
    name: String,
    pairs: Vec<(Vec<f64>, f64)>,
    confidence: f64,
    ratio: f64,
    interval: (f64, f64),
    deviation: f64,
    exact: bool,
    p: f64,
    t_test_p: f64,
}

#[derive(Deserialize)]
struct HolmCase {
    p: Vec<f64>,
    adjusted: Vec<f64>,
}

#[derive(Deserialize)]
struct TCase {
    p: f64,
    freedom: f64,
    value: f64,
}

#[derive(Deserialize)]
struct PowerCase {
    deviation: f64,
    ratio: f64,
    confidence: f64,
    power: f64,
    blocks: u32,
    detectable_ratio: f64,
    real_power: Option<f64>,
}

#[derive(Deserialize)]
struct DriftCase {
    points: Vec<(f64, f64)>,
    per_hour_ratio: f64,
    p_value: f64,
}

#[derive(Deserialize)]
struct QuantileCase {
    buckets: Vec<(f64, u64)>,
    quantile: f64,
    value: f64,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../../../tests/fixtures/stats.json")).unwrap()
}

/// To nine digits after the point, and to as many significant ones above 1.
#[track_caller]
fn assert_close(ours: f64, theirs: f64, what: &str) {
    let allowed = 1e-9 * theirs.abs().max(1.0);
    assert!(
        (ours - theirs).abs() <= allowed,
        "{what}: {ours} here, {theirs} there"
    );
}

fn pairs(of: &[(Vec<f64>, f64)]) -> Vec<Pair> {
    (1..)
        .zip(of)
        .map(|(block, (reference, value))| Pair {
            block,
            reference: reference.clone(),
            value: *value,
        })
        .collect()
}

#[test]
fn effects() {
    for case in reference().effects {
        let effect = effect(&pairs(&case.pairs), case.confidence).unwrap();
        let (low, high) = effect.interval.unwrap();
        assert_close(effect.ratio, case.ratio, &case.name);
        assert_close(low, case.interval.0, &case.name);
        assert_close(high, case.interval.1, &case.name);
        assert_close(effect.deviation.unwrap(), case.deviation, &case.name);
        assert_close(effect.p_value.unwrap(), case.t_test_p, &case.name);
        assert_eq!(effect.blocks as usize, case.pairs.len());
    }
}

/// The mean and interval of one kind of value: with a reference of 1, an effect is that.
#[test]
fn estimates() {
    for case in reference().effects {
        let values: Vec<f64> = pairs(&case.pairs)
            .iter()
            .map(|pair| pair.log_ratio().unwrap().exp())
            .collect();
        let estimate = estimate(&values, case.confidence).unwrap();
        let (low, high) = estimate.interval.unwrap();
        assert_close(estimate.point, 1.0 + case.ratio, &case.name);
        assert_close(low, 1.0 + case.interval.0, &case.name);
        assert_close(high, 1.0 + case.interval.1, &case.name);
    }
}

/// Exact where ours is; within five standard errors of the exact p where ours draws.
#[test]
fn permutations() {
    for case in reference().effects {
        let p = permutation_p(&pairs(&case.pairs), 1).unwrap();
        if case.exact {
            assert_close(p, case.p, &case.name);
        } else {
            let error = (case.p * (1.0 - case.p) / 20_000.0).sqrt();
            let allowed = 5.0 * error + 1.0 / 20_000.0;
            assert!((p - case.p).abs() <= allowed, "{}: {p}", case.name);
        }
    }
}

#[test]
fn corrections() {
    for case in reference().holm {
        for (ours, theirs) in holm(&case.p).into_iter().zip(&case.adjusted) {
            assert_close(ours, *theirs, "Holm");
        }
    }
}

#[test]
fn t_quantiles() {
    for case in reference().t_quantiles {
        let t = t_quantile(case.p, case.freedom).unwrap();
        assert_close(t, case.value, &format!("t({}; {})", case.p, case.freedom));
    }
}

#[test]
fn powers() {
    for case in reference().power {
        let PowerCase {
            deviation,
            ratio,
            confidence,
            power,
            ..
        } = case;
        let blocks = blocks_for(deviation, ratio, confidence, power).unwrap();
        assert_eq!(blocks, case.blocks);
        let detectable = detectable_ratio(deviation, blocks, confidence, power).unwrap();
        assert_close(detectable, case.detectable_ratio, "detectable ratio");
        if power == 0.8 && blocks >= 4 {
            let real = case.real_power.unwrap();
            assert!(real >= 0.78, "{blocks}: {real}");
        }
    }
}

#[test]
fn drifts() {
    for case in reference().drift {
        let drift = drift(&case.points).unwrap();
        assert_close(drift.per_hour_ratio, case.per_hour_ratio, "drift");
        assert_close(drift.p_value, case.p_value, "p of the drift");
    }
}

#[test]
fn quantiles() {
    for case in reference().quantiles {
        assert_eq!(quantile(&case.buckets, case.quantile), Some(case.value));
    }
}
