//! Trials → what separates arms: each against the baseline, and the baseline
//! against its twin. Pure.
//!
//! The block is the unit. In each block an arm's value is set against the
//! baseline's and its twin's, as the logarithm of their ratio; blocks follow
//! one another by minutes, share no process, and are taken as independent.
//! `docs/METHODOLOGY.md` says why each step is as it is.

use std::collections::BTreeMap;

use crate::metric::Metric;
use crate::record::Records;
use crate::report::{BlockRatio, Comparison, DriftReport, NoiseFloor, Verdict};
use crate::sample::{Phase, Subject};
use crate::scenario::{BASELINE, Scenario, TWIN};
use crate::stats::{self, Effect, Pair};
use crate::trial::{TrialRecord, TrialStatus};

/// Share of runs in which a difference that "could be seen" is seen.
const POWER: f64 = 0.8;

/// Everything that a run says of differences.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Differences {
    /// Each arm against the baseline.
    pub comparisons: Vec<Comparison>,
    /// The baseline against its twin.
    pub noise_floor: Vec<NoiseFloor>,
    /// How costs moved while the run went on.
    pub drifts: Vec<DriftReport>,
}

/// Compares every arm whose name `usable` accepts.
pub fn differences(records: &Records, usable: impl Fn(&str) -> bool) -> Differences {
    let trials = Trials::of(records);
    let confidence = records.plan.confidence;
    let mut claims: Vec<Claim<'_>> = records
        .plan
        .arms
        .iter()
        .filter(|arm| arm.name != BASELINE && usable(&arm.name) && !arm.is_amplified())
        .flat_map(|arm| claims(records, &trials, arm))
        .collect();
    // Claims that were fixed in advance share the whole of the error rate;
    // everything that merely stands beside them shares another.
    for headline in [true, false] {
        let mut family: Vec<&mut Claim<'_>> = claims
            .iter_mut()
            .filter(|claim| claim.key.is_headline() == headline && claim.effect.p_value.is_some())
            .collect();
        let p_values: Vec<f64> = family
            .iter()
            .filter_map(|claim| claim.effect.p_value)
            .collect();
        for (claim, adjusted) in family.iter_mut().zip(stats::holm(&p_values)) {
            claim.adjusted = Some(adjusted);
        }
    }
    let noise_floor: Vec<NoiseFloor> = claims
        .iter()
        .filter(|claim| claim.arm.name == TWIN)
        .map(|claim| claim.noise_floor(confidence))
        .collect();
    let comparisons = claims
        .iter()
        .filter(|claim| claim.arm.name != TWIN)
        .map(|claim| claim.comparison(confidence, &noise_floor))
        .collect();
    Differences {
        comparisons,
        noise_floor,
        drifts: drifts(records),
    }
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Key {
    metric: Metric,
    subject: Subject,
    quantile: Option<f64>,
}

impl Key {
    fn is_headline(self) -> bool {
        self.metric.is_headline() && matches!(self.subject, Subject::Target | Subject::Total)
    }
}

/// The trials that count, by block and arm.
struct Trials<'a>(BTreeMap<(u32, &'a str), &'a TrialRecord>);

impl<'a> Trials<'a> {
    fn of(records: &'a Records) -> Self {
        let counted = records
            .trials
            .iter()
            .filter(|trial| trial.status == TrialStatus::Valid);
        Trials(
            counted
                .map(|trial| ((trial.block, trial.arm.as_str()), trial))
                .collect(),
        )
    }

    fn value(&self, block: u32, arm: &str, key: Key) -> Option<f64> {
        let trial = self.0.get(&(block, arm))?;
        let statistic = trial.analysis.statistics.iter().find(|statistic| {
            (statistic.metric, statistic.subject, statistic.quantile)
                == (key.metric, key.subject, key.quantile)
        })?;
        Some(statistic.value)
    }

    /// Every block in which the arm and at least one of its references count.
    fn pairs(&self, arm: &str, references: &[&str], key: Key) -> Vec<Pair> {
        let blocks = self.0.keys().filter(|(_, name)| *name == arm);
        blocks
            .filter_map(|&(block, _)| {
                let reference: Vec<f64> = references
                    .iter()
                    .filter_map(|name| self.value(block, name, key))
                    .collect();
                (!reference.is_empty()).then_some(Pair {
                    block,
                    reference,
                    value: self.value(block, arm, key)?,
                })
            })
            .collect()
    }
}

/// One difference between an arm and its references.
struct Claim<'a> {
    arm: &'a Scenario,
    key: Key,
    pairs: Vec<Pair>,
    effect: Effect,
    permutation_p: Option<f64>,
    adjusted: Option<f64>,
}

fn claims<'a>(records: &Records, trials: &Trials<'_>, arm: &'a Scenario) -> Vec<Claim<'a>> {
    let references: &[&str] = if arm.name == TWIN {
        &[BASELINE]
    } else {
        &[BASELINE, TWIN]
    };
    keys(records, arm)
        .into_iter()
        .filter_map(|key| {
            let pairs = trials.pairs(&arm.name, references, key);
            let effect = stats::effect(&pairs, records.plan.confidence)?;
            Some(Claim {
                arm,
                key,
                permutation_p: stats::permutation_p(&pairs, records.plan.seed),
                adjusted: None,
                pairs,
                effect,
            })
        })
        .collect()
}

/// What an arm and the baseline both have, in the order of reports.
fn keys(records: &Records, arm: &Scenario) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    let own = records.trials.iter().filter(|trial| trial.arm == arm.name);
    for statistic in own.flat_map(|trial| &trial.analysis.statistics) {
        let key = Key {
            metric: statistic.metric,
            subject: statistic.subject,
            quantile: statistic.quantile,
        };
        let told = match key.subject {
            Subject::Target | Subject::Node => true,
            // Without an agent the total is the target once more.
            Subject::Total => arm.agent.is_some(),
            _ => false,
        };
        // What else an experiment reads belongs to whatever its search ended at.
        let found = records.plan.experiment.as_ref();
        let asked = found.is_none_or(|experiment| experiment.metric() == key.metric);
        if told && asked && key.metric.is_compared() && !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.sort_by(|a, b| {
        (a.metric, a.subject).cmp(&(b.metric, b.subject)).then(
            a.quantile
                .unwrap_or(0.0)
                .total_cmp(&b.quantile.unwrap_or(0.0)),
        )
    });
    keys
}

impl Claim<'_> {
    fn detectable(&self, confidence: f64) -> Option<f64> {
        stats::detectable_ratio(
            self.effect.deviation?,
            self.effect.blocks,
            confidence,
            POWER,
        )
    }

    /// The smallest chance that the permutation test can give: only the labels
    /// as they are, and with one reference their mirror image.
    fn smallest_p(&self) -> f64 {
        let references = self.pairs.iter().map(|pair| pair.reference.len());
        let arrangements: f64 = references.clone().map(|count| count as f64 + 1.0).product();
        let mirrored = references.max() == Some(1);
        if mirrored {
            2.0 / arrangements
        } else {
            1.0 / arrangements
        }
    }

    fn block_ratios(&self) -> Vec<BlockRatio> {
        self.pairs
            .iter()
            .map(|pair| BlockRatio {
                block: pair.block,
                ratio: (pair.value.ln() - mean_log(&pair.reference)).exp() - 1.0,
            })
            .collect()
    }

    /// What the references cost: geometric mean over blocks.
    fn base(&self) -> f64 {
        let logs: Vec<f64> = self
            .pairs
            .iter()
            .map(|pair| mean_log(&pair.reference))
            .collect();
        (logs.iter().sum::<f64>() / logs.len() as f64).exp()
    }

    /// Which way the difference goes, if it is one: the interval, the t test
    /// corrected for the number of claims, and the permutation test all have
    /// to say so. The last asks nothing of the shape of the noise, but with few
    /// blocks it knows few values; its smallest one is as much as it can say.
    fn direction(&self, confidence: f64) -> Option<Verdict> {
        let (low, high) = self.effect.interval?;
        let chance = 1.0 - confidence;
        if (self.base() * self.effect.ratio).abs() < self.key.metric.resolution() {
            return None;
        }
        if self.adjusted? > chance || self.permutation_p? > chance.max(self.smallest_p()) {
            None
        } else if low > 0.0 {
            Some(Verdict::Higher)
        } else if high < 0.0 {
            Some(Verdict::Lower)
        } else {
            None
        }
    }

    fn verdict(&self, confidence: f64, floor: Option<&NoiseFloor>) -> (Verdict, Option<String>) {
        let inconclusive = |reason: String| (Verdict::Inconclusive, Some(reason));
        let margin = self.key.metric.margin_ratio(self.base());
        let percent = |ratio: f64| format!("{:.1} %", ratio * 100.0);
        let Some((low, high)) = self.effect.interval else {
            return inconclusive(format!(
                "{} no interval; measure more with --blocks or --time",
                match self.effect.blocks {
                    1 => "one block gives".to_owned(),
                    blocks => format!("{blocks} blocks give"),
                }
            ));
        };
        if let Some(direction) = self.direction(confidence) {
            let differ = floor.filter(|floor| floor.verdict != Verdict::NoDifference);
            let differ = differ.filter(|floor| floor.verdict != Verdict::Inconclusive);
            return match differ {
                Some(floor) if self.effect.ratio.abs() <= reach(floor) => inconclusive(format!(
                    "the two identical baselines differ by {} themselves",
                    percent(floor.overhead_ratio)
                )),
                _ => (direction, None),
            };
        }
        if -margin <= low && high <= margin {
            return (Verdict::NoDifference, None);
        }
        let needed = self
            .effect
            .deviation
            .and_then(|deviation| stats::blocks_for(deviation, margin, confidence, POWER))
            .filter(|needed| *needed > self.effect.blocks)
            .map_or(String::new(), |needed| {
                format!(
                    "; about {needed} blocks would see a difference of {}",
                    percent(margin)
                )
            });
        if low > 0.0 || high < 0.0 {
            let p = self.adjusted.unwrap_or(1.0);
            inconclusive(format!(
                "the interval leaves zero out, but corrected for the number of claims chance alone does this in {} of runs{needed}",
                percent(p)
            ))
        } else {
            inconclusive(format!(
                "the interval holds zero and reaches beyond ±{}{needed}",
                percent(margin)
            ))
        }
    }

    fn comparison(&self, confidence: f64, floors: &[NoiseFloor]) -> Comparison {
        let Key {
            metric,
            subject,
            quantile,
        } = self.key;
        let floor = floors.iter().find(|floor| {
            (floor.metric, floor.subject, floor.quantile) == (metric, subject, quantile)
        });
        let (verdict, reason) = self.verdict(confidence, floor);
        let base = self.base();
        let (low, high) = (
            self.effect.interval.map(|(low, _)| low),
            self.effect.interval.map(|(_, high)| high),
        );
        Comparison {
            scenario: self.arm.name.clone(),
            baseline: BASELINE.to_owned(),
            metric,
            subject,
            quantile,
            headline: self.key.is_headline(),
            blocks: self.effect.blocks,
            overhead_ratio: self.effect.ratio,
            low,
            high,
            overhead: base * self.effect.ratio,
            overhead_low: low.map(|low| base * low),
            overhead_high: high.map(|high| base * high),
            injected: injected(self.arm, self.key),
            p_value: self.effect.p_value,
            permutation_p_value: self.permutation_p,
            adjusted_p_value: self.adjusted,
            detectable_ratio: self.detectable(confidence),
            margin_ratio: metric.margin_ratio(base),
            verdict,
            reason,
            block_ratios: self.block_ratios(),
        }
    }

    fn noise_floor(&self, confidence: f64) -> NoiseFloor {
        let Key {
            metric,
            subject,
            quantile,
        } = self.key;
        NoiseFloor {
            metric,
            subject,
            quantile,
            blocks: self.effect.blocks,
            overhead_ratio: self.effect.ratio,
            low: self.effect.interval.map(|(low, _)| low),
            high: self.effect.interval.map(|(_, high)| high),
            p_value: self.effect.p_value,
            permutation_p_value: self.permutation_p,
            adjusted_p_value: self.adjusted,
            detectable_ratio: self.detectable(confidence),
            verdict: self.verdict(confidence, None).0,
            block_ratios: self.block_ratios(),
        }
    }
}

/// How far from zero a noise floor's interval reaches.
fn reach(floor: &NoiseFloor) -> f64 {
    let ends = [floor.low, floor.high, Some(floor.overhead_ratio)];
    ends.into_iter()
        .flatten()
        .fold(0.0, |far, end| far.max(end.abs()))
}

fn mean_log(values: &[f64]) -> f64 {
    mean(values.iter().map(|value| value.ln()))
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// What a synthetic arm is known to cost.
fn injected(arm: &Scenario, key: Key) -> Option<f64> {
    let inject = arm.target.inject.as_ref()?;
    match (key.metric, key.subject) {
        (Metric::CpuSecondsPerRequest, Subject::Target) => Some(inject.cpu_seconds),
        (Metric::MemoryWorkingSetBytes, Subject::Target) => Some(inject.memory_bytes as f64),
        _ => None,
    }
}

/// How the target's cost moved over the run, all arms together, each arm's mean taken out. A block
/// is one point: its trials share whatever the machine did meanwhile.
fn drifts(records: &Records) -> Vec<DriftReport> {
    let (metric, subject) = (Metric::CpuSecondsPerRequest, Subject::Target);
    let mut blocks: BTreeMap<u32, Vec<(f64, f64)>> = BTreeMap::new();
    for arm in &records.plan.arms {
        let own: Vec<(u32, f64, f64)> = records
            .trials
            .iter()
            .filter(|trial| trial.arm == arm.name && trial.status == TrialStatus::Valid)
            .filter_map(|trial| {
                let value = trial.analysis.value(metric, subject)?;
                let mut spans = trial.phases.iter();
                let span = spans.find(|span| span.phase == Phase::Measure)?;
                let middle = (span.start + span.end) / 2.0;
                (value > 0.0).then(|| (trial.block, middle, value.ln()))
            })
            .collect();
        if own.len() < 2 {
            continue;
        }
        let mean = mean(own.iter().map(|(_, _, log)| *log));
        for (block, time, log) in own {
            blocks.entry(block).or_default().push((time, log - mean));
        }
    }
    let points: Vec<(f64, f64)> = blocks
        .values()
        .map(|block| {
            let time = mean(block.iter().map(|(time, _)| *time));
            (time, mean(block.iter().map(|(_, log)| *log)).exp())
        })
        .collect();
    stats::drift(&points)
        .map(|drift| DriftReport {
            metric,
            subject,
            per_hour_ratio: drift.per_hour_ratio,
            p_value: drift.p_value,
        })
        .into_iter()
        .collect()
}
