//! Known truth: what was injected, and whether it was found again. Pure.

use serde::Serialize;

use crate::metric::Metric;
use crate::report::{Comparison, Report, Verdict};
use crate::sample::Subject;
use crate::stats::{self, Pair};

/// Chance that a harness which is right is called wrong, over everything that
/// one calibration looks at. Small, because a calibration stands in CI: of the
/// 95 % intervals beside it, one in twenty may leave the truth out.
const FALSE_ALARM: f64 = 0.001;

/// One injected figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The arm.
    pub scenario: String,
    /// What was injected.
    pub metric: Metric,
    /// Of whom.
    pub subject: Subject,
    /// How much, in the metric's unit.
    pub injected: f64,
    /// How much was found, in the metric's unit.
    pub found: f64,
    /// Lower end of the run's interval.
    pub low: Option<f64>,
    /// Upper end of it.
    pub high: Option<f64>,
    /// The same as a change of the baseline.
    pub found_ratio: f64,
    /// Whether the run's interval holds what was injected.
    pub inside: Option<bool>,
    /// Whether an interval wide enough for everything that the calibration
    /// looks at leaves it out: the harness is wrong.
    pub contradicted: bool,
    /// What the run says of the difference.
    pub verdict: Verdict,
}

/// Every injected figure of a run.
pub fn rows(report: &Report) -> Vec<Row> {
    let known: Vec<(&Comparison, f64)> = report
        .comparisons
        .iter()
        .filter_map(|comparison| Some((comparison, comparison.injected?)))
        .collect();
    let confidence = 1.0 - FALSE_ALARM / known.len().max(1) as f64;
    known
        .into_iter()
        .map(|(comparison, injected)| Row {
            scenario: comparison.scenario.clone(),
            metric: comparison.metric,
            subject: comparison.subject,
            injected,
            found: comparison.overhead,
            low: comparison.overhead_low,
            high: comparison.overhead_high,
            found_ratio: comparison.overhead_ratio,
            inside: comparison
                .overhead_low
                .zip(comparison.overhead_high)
                .map(|(low, high)| (low..=high).contains(&injected)),
            contradicted: wide(comparison, confidence)
                .is_some_and(|(low, high)| !(low..=high).contains(&injected)),
            verdict: comparison.verdict,
        })
        .collect()
}

/// The interval at another level, in the metric's unit.
fn wide(comparison: &Comparison, confidence: f64) -> Option<(f64, f64)> {
    let pairs: Vec<Pair> = comparison
        .block_ratios
        .iter()
        .map(|block| Pair {
            block: block.block,
            reference: vec![1.0],
            value: 1.0 + block.ratio,
        })
        .collect();
    let (low, high) = stats::effect(&pairs, confidence)?.interval?;
    // What stands for one unit of ratio; the same for every figure of the comparison.
    let base = comparison.overhead / comparison.overhead_ratio;
    base.is_finite().then_some((base * low, base * high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::BlockRatio;

    fn comparison(ratios: &[f64]) -> Comparison {
        let pairs: Vec<Pair> = ratios
            .iter()
            .map(|ratio| Pair {
                block: 1,
                reference: vec![1.0],
                value: 1.0 + ratio,
            })
            .collect();
        let effect = stats::effect(&pairs, 0.95).unwrap();
        let (low, high) = effect.interval.unwrap();
        Comparison {
            scenario: "synthetic".into(),
            baseline: "baseline".into(),
            metric: Metric::CpuSecondsPerRequest,
            subject: Subject::Target,
            quantile: None,
            headline: true,
            blocks: ratios.len() as u32,
            overhead_ratio: effect.ratio,
            low: Some(low),
            high: Some(high),
            overhead: effect.ratio * 1e-4,
            overhead_low: Some(low * 1e-4),
            overhead_high: Some(high * 1e-4),
            injected: None,
            p_value: None,
            permutation_p_value: None,
            adjusted_p_value: None,
            detectable_ratio: None,
            margin_ratio: 0.02,
            verdict: Verdict::Higher,
            reason: None,
            block_ratios: (1..)
                .zip(ratios)
                .map(|(block, &ratio)| BlockRatio { block, ratio })
                .collect(),
        }
    }

    #[test]
    fn the_wide_interval_is_the_narrow_one_at_its_level() {
        let comparison = comparison(&[0.01, 0.03, 0.02, 0.025, 0.015]);
        let (low, high) = wide(&comparison, 0.95).unwrap();
        assert!((low - comparison.overhead_low.unwrap()).abs() < 1e-15);
        assert!((high - comparison.overhead_high.unwrap()).abs() < 1e-15);
        let wider = wide(&comparison, 0.999).unwrap();
        assert!(wider.0 < low && high < wider.1);
    }
}
