//! Scenario → plan: every trial of a run, in its order, before the first one starts.

use std::time::Duration;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::Scenario;

/// Everything that a run will do. Written to `plan.json` before the first trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Version of this file's form.
    pub schema_version: u32,
    /// The run's name, which is also its directory's.
    pub run: String,
    /// When the run began (RFC 3339, UTC).
    pub started: String,
    /// Which backend brings trials up.
    pub backend: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// Level of every interval, 0–1.
    pub confidence: f64,
    /// What loads the target.
    pub load: LoadPlan,
    /// How long each trial warms up, in seconds.
    pub warmup_seconds: f64,
    /// How long each trial's window is, in seconds.
    pub measure_seconds: f64,
    /// How many slices each window is cut into. With more than one, the arms of
    /// a block are alive together and take turns, slice by slice.
    #[serde(default = "one")]
    pub slices: u32,
    /// What the run does without here, for the report.
    pub limitations: Vec<String>,
    /// The arms: each scenario as it was resolved from its file and the defaults.
    pub arms: Vec<Scenario>,
    /// The trials, in the order in which they run.
    pub trials: Vec<TrialPlan>,
}

fn one() -> u32 {
    1
}

/// The load that every trial of a run gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadPlan {
    /// The driver.
    pub driver: LoadDriver,
    /// Offered rate, in requests per second.
    pub rate: f64,
    /// Whether the rate was given or found.
    pub rate_source: RateSource,
    /// Requests per second that the baseline could answer, when that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<f64>,
}

/// Which program sends the requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadDriver {
    /// The open-loop driver in this binary.
    Builtin,
    /// k6, with the script in `k6/`.
    K6,
}

/// Where the offered rate comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateSource {
    /// On the command line or in the scenario file.
    Given,
    /// A fixed share of the baseline's capacity, measured before the first trial.
    Calibrated,
}

/// One trial: a fresh target under one load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialPlan {
    /// Counted from 1.
    pub trial: u32,
    /// The block it belongs to, counted from 1.
    pub block: u32,
    /// The arm (scenario) that it measures.
    pub arm: String,
}

/// Lays out complete blocks: every arm once in each, in an order drawn from the seed.
///
/// Interleaving keeps slow drift of the machine from becoming one arm's
/// overhead; drawing the order keeps any arm from always following another.
pub fn trials(arms: &[String], blocks: u32, seed: u64) -> Vec<TrialPlan> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut trials = Vec::with_capacity(arms.len() * blocks as usize);
    for block in 1..=blocks {
        let mut order = arms.to_vec();
        order.shuffle(&mut rng);
        for arm in order {
            trials.push(TrialPlan {
                trial: trials.len() as u32 + 1,
                block,
                arm,
            });
        }
    }
    trials
}

/// The offered rate for a target that can answer `capacity` requests per second.
///
/// Two fifths of capacity leaves room for an agent that doubles the cost, and
/// for bursts; two significant digits make two runs on one machine likely to
/// land on the same rate, which matters because idle wake-ups make the cost of
/// a request depend on the rate.
pub fn calibrated_rate(capacity: f64) -> f64 {
    const SHARE: f64 = 0.4;
    let rate = capacity * SHARE;
    if rate < 1.0 {
        return rate;
    }
    let unit = 10f64.powf(rate.log10().floor() - 1.0);
    ((rate / unit).floor() * unit).max(1.0)
}

impl Plan {
    /// The resolved scenario of an arm.
    pub fn arm(&self, name: &str) -> Option<&Scenario> {
        self.arms.iter().find(|arm| arm.name == name)
    }

    /// How long the trials take at least, without starting and stopping.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(
            (self.warmup_seconds + self.measure_seconds) * self.trials.len() as f64,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every block holds every arm exactly once, and the same seed gives the same plan.
        #[test]
        fn blocks_are_complete(arms in 1usize..6, blocks in 1u32..12, seed: u64) {
            let names: Vec<String> = (0..arms).map(|n| format!("arm-{n}")).collect();
            let plan = trials(&names, blocks, seed);
            prop_assert_eq!(plan.len(), arms * blocks as usize);
            for block in 1..=blocks {
                let mut seen: Vec<_> = plan.iter().filter(|t| t.block == block).map(|t| t.arm.clone()).collect();
                seen.sort();
                prop_assert_eq!(&seen, &names);
            }
            prop_assert!(plan.iter().enumerate().all(|(n, t)| t.trial as usize == n + 1));
            prop_assert_eq!(plan, trials(&names, blocks, seed));
        }

        /// The rate never exceeds its share of the capacity and never falls far below it.
        #[test]
        fn calibrated_rate_is_a_round_share(capacity in 3.0f64..1e6) {
            let rate = calibrated_rate(capacity);
            prop_assert!(rate <= capacity * 0.4 * (1.0 + 1e-9));
            prop_assert!(rate >= capacity * 0.4 * 0.9 - 1e-9);
        }
    }

    #[test]
    fn calibrated_rate_has_two_digits() {
        assert_eq!(calibrated_rate(6_789.0), 2_700.0);
        assert_eq!(calibrated_rate(251.0), 100.0);
        assert_eq!(calibrated_rate(30_000.0), 12_000.0);
    }

    #[test]
    fn order_differs_between_seeds() {
        let names: Vec<String> = (0..5).map(|n| n.to_string()).collect();
        assert_ne!(trials(&names, 4, 1), trials(&names, 4, 2));
    }
}
