//! How long a run takes, roughly: the one sum for choosing the blocks, announcing the run, and the
//! time that is left of it.

use std::time::Duration;

use super::{Plan, TrialPlan, reported_after};

/// How long a plan takes, roughly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Before the first trial and after the last, in seconds: checks, calibration, taking what the
    /// run needs and giving it back.
    pub around_seconds: f64,
    /// One block, in seconds.
    pub block_seconds: f64,
    /// How many blocks there are.
    pub blocks: u32,
}

/// What a backend takes besides the load, roughly, in seconds.
struct Extra {
    /// Once.
    around: f64,
    /// For each arm that is tried before the first trial; the twin is not.
    tried: f64,
    /// For trials that are carried out together.
    batch: f64,
    /// For each trial.
    trial: f64,
    /// Whether what an agent takes to report its first, checked request comes on top.
    proofs: bool,
}

const LOCAL: Extra = Extra {
    around: 5.0,
    tried: 0.0,
    batch: 0.0,
    trial: 0.25,
    proofs: true,
};

/// What trials in a cluster take besides their load, roughly, in seconds: pods are placed, started
/// and ended.
const CLUSTER_TRIAL_EXTRA_SECONDS: f64 = 20.0;

/// Around all of it nodes are prepared, and given back as they were.
const CLUSTER: Extra = Extra {
    around: 60.0,
    tried: CLUSTER_TRIAL_EXTRA_SECONDS,
    batch: CLUSTER_TRIAL_EXTRA_SECONDS,
    trial: 0.0,
    proofs: false,
};

impl Plan {
    /// How long it takes, roughly.
    pub fn estimate(&self) -> Estimate {
        let extra = match self.backend.as_str() {
            "kubernetes" => CLUSTER,
            _ => LOCAL,
        };
        let tried = self.arms.len().saturating_sub(1) as f64;
        let batch = |batch: &[TrialPlan]| {
            let arms = batch.iter().filter_map(|trial| self.arm(&trial.arm));
            let proofs: f64 = arms.filter_map(reported_after).sum();
            self.load_seconds(batch)
                + extra.batch
                + extra.trial * batch.len() as f64
                + if extra.proofs { proofs } else { 0.0 }
        };
        Estimate {
            around_seconds: extra.around + extra.tried * tried,
            block_seconds: self.block().map(batch).sum(),
            blocks: self.blocks(),
        }
    }
}

impl Estimate {
    /// All trials.
    pub fn trials(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.blocks) * self.block_seconds)
    }

    /// The whole run.
    pub fn total(&self) -> Duration {
        self.trials() + Duration::from_secs_f64(self.around_seconds)
    }

    /// How many blocks like these there is time for.
    pub fn blocks_within(&self, time: Duration) -> u32 {
        let left = time.as_secs_f64() - self.around_seconds;
        (left / self.block_seconds).floor().clamp(0.0, 10_000.0) as u32
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::plan::{LoadDriver, LoadPlan, RateSource, pause, trials};
    use crate::scenario::{Scenario, wire};

    const QUESTION: &str = "question: q\ntrials: {warmup: 2s}\n";
    const REPORTING: &str = "question: q\nagent:\n  version: '1'\n  processes: [{name: a, command: [a]}]\n  telemetry: {prometheus: {url: 'http://127.0.0.1:1/metrics', metric: seen_total, settle: 3s}}\n";

    /// A plan of two blocks of three arms, the last of which has this file.
    fn plan(backend: &str, slices: u32, parallel: u32, last: &str) -> Plan {
        let names = ["baseline", "baseline-twin", "agent"].map(String::from);
        let texts = [QUESTION, QUESTION, last];
        let arms = names.iter().zip(texts).map(|(name, text)| Scenario {
            name: name.clone(),
            ..wire::parse(Path::new("x.yaml"), text).unwrap()
        });
        Plan {
            schema_version: 1,
            run: "x".into(),
            started: "2026-01-02T03:04:05Z".into(),
            backend: backend.into(),
            seed: 1,
            confidence: 0.95,
            load: LoadPlan {
                driver: LoadDriver::Builtin,
                rate: 100.0,
                rate_source: RateSource::Given,
                capacity: None,
            },
            warmup_seconds: 5.0,
            measure_seconds: 20.0,
            slices,
            parallel,
            pause_seconds: pause(),
            expected_detectable_ratio: None,
            amplified: None,
            experiment: None,
            limitations: Vec::new(),
            left_out: Vec::new(),
            arms: arms.collect(),
            trials: trials(&names, 2, slices, 1),
        }
    }

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
    }

    #[test]
    fn arms_beside_one_another_in_a_cluster_take_the_time_of_one() {
        let serial = plan("kubernetes", 1, 1, QUESTION).estimate();
        assert_close(serial.around_seconds, 60.0 + 2.0 * 20.0);
        assert_close(serial.block_seconds, 3.0 * (5.0 + 20.0 + 20.0));
        assert_eq!(serial.total(), Duration::from_secs(100 + 2 * 135));
        let parallel = plan("kubernetes", 1, 3, QUESTION).estimate();
        assert_close(parallel.block_seconds, 45.0);
        // The third arm has a batch to itself.
        assert_close(
            plan("kubernetes", 1, 2, QUESTION).estimate().block_seconds,
            90.0,
        );
        let time = Duration::from_secs(600);
        assert_eq!(serial.blocks_within(time), 3);
        assert_eq!(parallel.blocks_within(time), 11);
        assert_eq!(serial.blocks_within(Duration::from_secs(99)), 0);
    }

    #[test]
    fn arms_on_one_machine_follow_one_another_or_take_turns() {
        let serial = plan("local", 1, 1, QUESTION);
        assert_close(serial.estimate().block_seconds, 3.0 * (5.0 + 20.0 + 0.25));
        assert_eq!(serial.duration(), Duration::from_secs(2 * 75));
        let turns = plan("local", 8, 1, QUESTION);
        let load = 3.0 * (2.0 + 20.0 + 9.0 * pause());
        assert_close(turns.estimate().block_seconds, load + 3.0 * 0.25);
        assert_close(turns.duration().as_secs_f64(), 2.0 * load);
        // An agent has to report a request before it is measured.
        let reporting = plan("local", 1, 1, REPORTING).estimate();
        assert_close(reporting.block_seconds, 3.0 * 25.25 + 3.0);
    }
}
