//! Scenario → plan: every trial of a run, in its order, before the first one starts.

use std::time::Duration;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::experiment::{self, Experiment};
use crate::scenario::{Scenario, Telemetry};

mod estimate;

pub use self::estimate::Estimate;

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
    /// How long each trial's window is, in seconds; in an experiment that of each step.
    pub measure_seconds: f64,
    /// How many slices each window is cut into. With more than one, the arms of
    /// a block are alive together and take turns, slice by slice.
    #[serde(default = "one")]
    pub slices: u32,
    /// How many trials of a block are carried out at the same time, each on nodes of its own.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub parallel: u32,
    /// The pause after each slice, in seconds.
    #[serde(default = "pause")]
    pub pause_seconds: f64,
    /// The smallest difference between two arms that this many blocks should
    /// see in four of five runs, assumed from the spread of recorded runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_detectable_ratio: Option<f64>,
    /// The scenario whose agent attaches its programs several times over, arm
    /// by arm: a labelled experiment about what one copy costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amplified: Option<String>,
    /// The search that each trial carries out in place of one window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<Experiment>,
    /// What the run does without here, for the report.
    pub limitations: Vec<String>,
    /// Scenarios that were asked for with all others and can't run here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// The arms: each scenario as it was resolved from its file and the defaults.
    pub arms: Vec<Scenario>,
    /// The trials, in the order in which they run.
    pub trials: Vec<TrialPlan>,
}

/// A scenario that can't run here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// What it asks.
    pub question: String,
    /// What is missing, and what to do about it.
    pub missing: Vec<String>,
}

/// A window in one piece.
pub fn one() -> u32 {
    1
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

/// Pause after each turn, where no scenario asks for more, in seconds: several
/// times what a request takes at the rates that are offered, and enough to read
/// all counters in it.
pub fn pause() -> f64 {
    0.010
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
    /// Which turns under load are its own, of all that its block has, counted
    /// from 1; empty when it has its window to itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<u32>,
}

/// One stretch of a trial's window: the trial is under load, the others of its block wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    /// Which of the trials that are carried out together.
    pub seat: usize,
    /// When its requests begin, in seconds since the load began.
    pub start_seconds: f64,
    /// How long requests are sent.
    pub seconds: f64,
    /// How long nothing is sent after it, so that answers come in before the next, and
    /// what an agent sends late.
    pub pause_seconds: f64,
}

/// Lays out complete blocks: every arm once in each, in an order drawn from the seed.
///
/// Interleaving keeps slow drift of the machine from becoming one arm's
/// overhead; drawing the order keeps any arm from always following another.
///
/// With more than one slice the arms of a block take turns: every round gives
/// each arm one turn, in an order drawn anew for every other round and
/// reversed in the round between (ABC CBA), so that whatever moves in a
/// straight line over two rounds hits all arms alike.
pub fn trials(arms: &[String], blocks: u32, slices: u32, seed: u64) -> Vec<TrialPlan> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut trials = Vec::with_capacity(arms.len() * blocks as usize);
    for block in 1..=blocks {
        let mut order: Vec<usize> = (0..arms.len()).collect();
        order.shuffle(&mut rng);
        let mut turns = vec![Vec::new(); arms.len()];
        if slices > 1 {
            let mut round = order.clone();
            for n in 0..slices {
                if n % 2 == 0 {
                    round.shuffle(&mut rng);
                } else {
                    round.reverse();
                }
                for (place, &arm) in round.iter().enumerate() {
                    turns[arm].push(n * arms.len() as u32 + place as u32 + 1);
                }
            }
        }
        for arm in order {
            trials.push(TrialPlan {
                trial: trials.len() as u32 + 1,
                block,
                arm: arms[arm].clone(),
                turns: std::mem::take(&mut turns[arm]),
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

/// How long an arm's agent takes until it has reported a request, where it says what it reports.
fn reported_after(arm: &Scenario) -> Option<f64> {
    let telemetry = arm.agent.as_ref()?.telemetry.as_ref();
    telemetry.map(Telemetry::settle_seconds)
}

/// How long the counters of all targets and agents take to be read, in seconds.
pub const READING_SECONDS: f64 = 0.25;

/// How long it takes until every agent has reported what was asked before the first turn, and
/// until that is read.
fn settle_seconds<'a>(arms: impl IntoIterator<Item = &'a Scenario>) -> f64 {
    let longest = arms.into_iter().filter_map(reported_after).reduce(f64::max);
    longest.map_or(0.0, |longest| longest + READING_SECONDS)
}

/// How many slices give every arm turns as long as the longest that one asks for.
///
/// Each entry is an arm's window in seconds, and its slices. The window is the longest of all.
pub fn common_slices(arms: impl IntoIterator<Item = (f64, u32)> + Clone) -> u32 {
    let longest = arms.clone().into_iter().map(|(window, _)| window);
    let longest = longest.fold(0.0, f64::max);
    let turns = arms.into_iter().filter(|(_, slices)| *slices > 1);
    let turn = turns
        .map(|(window, slices)| window / f64::from(slices))
        .fold(0.0, f64::max);
    if turn <= 0.0 {
        return 1;
    }
    ((longest / turn).round() as u32).max(2)
}

/// Spread of a block's log-ratio between two identical arms, before any was
/// measured: what recorded runs on a quiet two-core virtual machine had.
/// `docs/METHODOLOGY.md` has them.
pub fn assumed_deviation(measure_seconds: f64, slices: u32) -> f64 {
    /// Two arms that take turns: falls with the root of the time under load.
    const TURNS: f64 = 0.020;
    /// Trial after trial: what moves between trials does not average out within them.
    const SEPARATE: f64 = 0.025;
    if slices > 1 && measure_seconds > 0.0 {
        TURNS / measure_seconds.sqrt()
    } else {
        SEPARATE
    }
}

impl Plan {
    /// The resolved scenario of an arm.
    pub fn arm(&self, name: &str) -> Option<&Scenario> {
        self.arms.iter().find(|arm| arm.name == name)
    }

    /// How long the trials take at least, without starting and stopping.
    pub fn duration(&self) -> Duration {
        let block: f64 = self.block().map(|batch| self.load_seconds(batch)).sum();
        Duration::from_secs_f64(f64::from(self.blocks()) * block)
    }

    /// How long trials that are carried out together are under load, in seconds.
    fn load_seconds(&self, batch: &[TrialPlan]) -> f64 {
        if let Some(experiment) = &self.experiment {
            return experiment.trial_seconds(
                self.warmup_seconds,
                self.measure_seconds,
                experiment::step_extra_seconds(&self.backend),
            );
        }
        let ends = |turn: &Turn| turn.start_seconds + turn.seconds + turn.pause_seconds;
        self.turns(batch).last().map_or(0.0, ends)
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> u32 {
        self.trials.last().map_or(0, |trial| trial.block)
    }

    /// The trials that are carried out together: a block whose arms take turns, those of a
    /// block that have nodes of their own at the same time, or one trial.
    pub fn batches(&self) -> impl Iterator<Item = &[TrialPlan]> {
        let most = match self.slices {
            0 | 1 => self.parallel.max(1) as usize,
            _ => usize::MAX,
        };
        self.trials
            .chunk_by(|a, b| a.block == b.block)
            .flat_map(move |block| block.chunks(most))
    }

    /// The batches of one block; all blocks are alike but for their order.
    fn block(&self) -> impl Iterator<Item = &[TrialPlan]> {
        let first = self.trials.first().map(|trial| trial.block);
        self.batches()
            .take_while(move |batch| batch.first().map(|trial| trial.block) == first)
    }

    /// When a trial of a batch warms up, in seconds since the load began: with turns each as
    /// long as its own scenario asks for, since the others wait meanwhile.
    pub fn warmup(&self, seat: usize, batch: &[TrialPlan]) -> Turn {
        if self.slices <= 1 {
            return Turn {
                seat,
                start_seconds: 0.0,
                seconds: self.warmup_seconds,
                pause_seconds: 0.0,
            };
        }
        let own = |trial: &TrialPlan| {
            let arm = self.arm(&trial.arm);
            arm.map_or(self.warmup_seconds, |arm| arm.trials.warmup_seconds)
        };
        let earlier = batch[..seat]
            .iter()
            .map(|trial| own(trial) + self.pause_seconds);
        Turn {
            seat,
            start_seconds: earlier.sum(),
            seconds: own(&batch[seat]),
            pause_seconds: self.pause_seconds,
        }
    }

    /// How long nothing is sent between the last warm-up and the first turn, so that what the
    /// agents report of the warm-up can be told from what they report of the window.
    pub fn settle_seconds(&self, batch: &[TrialPlan]) -> f64 {
        match self.slices {
            0 | 1 => 0.0,
            _ => settle_seconds(batch.iter().filter_map(|trial| self.arm(&trial.arm))),
        }
    }

    /// Every turn of a batch, in the order of time.
    pub fn turns(&self, batch: &[TrialPlan]) -> Vec<Turn> {
        let Some(last) = batch.len().checked_sub(1) else {
            return Vec::new();
        };
        let warmup = self.warmup(last, batch);
        let begin = warmup.start_seconds
            + warmup.seconds
            + warmup.pause_seconds
            + self.settle_seconds(batch);
        if self.slices <= 1 {
            return (0..batch.len())
                .map(|seat| Turn {
                    seat,
                    start_seconds: begin,
                    seconds: self.measure_seconds,
                    pause_seconds: 0.0,
                })
                .collect();
        }
        let seconds = self.measure_seconds / f64::from(self.slices);
        let mut turns: Vec<(u32, usize)> = batch
            .iter()
            .enumerate()
            .flat_map(|(seat, trial)| trial.turns.iter().map(move |&turn| (turn, seat)))
            .collect();
        turns.sort_unstable();
        turns
            .into_iter()
            .map(|(turn, seat)| Turn {
                seat,
                start_seconds: begin + f64::from(turn - 1) * (seconds + self.pause_seconds),
                seconds,
                pause_seconds: self.pause_seconds,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every block holds every arm exactly once, and the same seed gives the same plan.
        #[test]
        fn blocks_are_complete(arms in 1usize..6, blocks in 1u32..12, slices in 1u32..9, seed: u64) {
            let names: Vec<String> = (0..arms).map(|n| format!("arm-{n}")).collect();
            let plan = trials(&names, blocks, slices, seed);
            prop_assert_eq!(plan.len(), arms * blocks as usize);
            for block in 1..=blocks {
                let mut seen: Vec<_> = plan.iter().filter(|t| t.block == block).map(|t| t.arm.clone()).collect();
                seen.sort();
                prop_assert_eq!(&seen, &names);
            }
            prop_assert!(plan.iter().enumerate().all(|(n, t)| t.trial as usize == n + 1));
            prop_assert_eq!(plan, trials(&names, blocks, slices, seed));
        }

        /// Every turn of a block belongs to one trial, every trial has as many,
        /// and each round of turns holds every trial once.
        #[test]
        fn turns_are_dealt_evenly(arms in 2usize..6, slices in 2u32..20, seed: u64) {
            let names: Vec<String> = (0..arms).map(|n| format!("arm-{n}")).collect();
            let block = trials(&names, 1, slices, seed);
            let mut owner = vec![usize::MAX; arms * slices as usize];
            for (seat, trial) in block.iter().enumerate() {
                prop_assert_eq!(trial.turns.len(), slices as usize);
                for &turn in &trial.turns {
                    prop_assert_eq!(std::mem::replace(&mut owner[turn as usize - 1], seat), usize::MAX);
                }
            }
            for rounds in owner.chunks(2 * arms) {
                let mut first = rounds[..arms].to_vec();
                if let Some(second) = rounds.get(arms..) && !second.is_empty() {
                    prop_assert!(first.iter().rev().eq(second));
                }
                first.sort_unstable();
                prop_assert!(first.into_iter().eq(0..arms));
            }
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
    fn the_longest_turn_is_everyone_s() {
        assert_eq!(common_slices([(1.6, 8), (1.6, 8)]), 8);
        // Turns of a second, in a window of four.
        assert_eq!(common_slices([(1.6, 8), (4.0, 4)]), 4);
        assert_eq!(common_slices([(8.0, 8), (1.6, 1)]), 8);
        assert_eq!(common_slices([(8.0, 1), (1.6, 1)]), 1);
    }

    #[test]
    fn order_differs_between_seeds() {
        let names: Vec<String> = (0..5).map(|n| n.to_string()).collect();
        assert_ne!(trials(&names, 4, 3, 1), trials(&names, 4, 3, 2));
    }
}
