//! Experiments: what an agent takes from an application's limits, where a run at
//! a fixed rate asks what it costs a request.
//!
//! An experiment is a search, one for each trial: values are tried one after
//! another, and what each came to decides which is tried next. It goes through
//! the same plan, records, statistics and reports as everything else.
//!
//! # Layout
//! - [`Experiment`]: what is asked, and everything that decides the answer
//! - [`Step`]: what one try came to
//! - [`search`]: which value is tried next
//!
//! Pure. `backend/search.rs` carries a search out; `analysis/search.rs` computes
//! its steps from the samples that they left.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::search::{Goal, Search};
use crate::metric::Metric;

pub mod search;

/// A search that each trial of a run carries out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// What is asked.
    pub question: Question,
    /// Which values are tried: offered rates in requests per second, or memory limits in bytes.
    pub search: Search,
    /// Load before the window of a step, in seconds; before the first one it is the trial's
    /// warm-up where that is longer.
    pub settle_seconds: f64,
}

/// What an experiment asks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// Which rate does the target sustain under a CPU limit?
    CpuLimit {
        /// CPU seconds that it may use in a second.
        cores: f64,
        /// What the 99th percentile of durations may be, in seconds.
        latency_bound_seconds: f64,
    },
    /// With how little memory does the target survive the load?
    MemoryLimit,
    /// How do throughput and durations move as the rate rises, and where do they turn?
    Saturation {
        /// What the 99th percentile of durations may be, in seconds.
        latency_bound_seconds: f64,
    },
}

/// What a target may use; nothing is limited where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// CPU seconds per second.
    pub cpu_cores: Option<f64>,
    /// Memory, swap included, in bytes.
    pub memory_bytes: Option<f64>,
}

/// Load before the window of a step whose target runs already, in seconds: several
/// periods of a CPU quota, and what is left of the step before it is gone.
const SETTLE_SECONDS: f64 = 0.3;
/// The same in a cluster, where every step has connections of its own.
const CLUSTER_SETTLE_SECONDS: f64 = 2.0;
/// The share of the offered requests that must be answered within a step's window.
const ANSWERED_MIN: f64 = 0.99;

const MIB: f64 = 1024.0 * 1024.0;

impl Experiment {
    /// The experiment that asks this of targets with so many CPUs, where `rate` is what a run
    /// without it would offer: less than half of what the target can answer.
    pub fn new(question: Question, rate: f64, target_cpus: usize) -> Experiment {
        let rates = |start: f64, factor| Search {
            goal: Goal::Highest,
            start,
            factor,
            lowest: start / 1024.0,
            highest: start * 1024.0,
            resolution_ratio: 0.03,
        };
        let search = match question {
            // A target with half of its CPU time sustains about half of the rate.
            Question::CpuLimit { cores, .. } => {
                rates(rate * (cores / target_cpus.max(1) as f64).min(1.0), 2.0)
            }
            // From where nothing waits on, closely enough to make a curve.
            Question::Saturation { .. } => rates(rate / 2.0, std::f64::consts::SQRT_2),
            Question::MemoryLimit => Search {
                goal: Goal::Lowest,
                start: 64.0 * MIB,
                factor: 4.0,
                lowest: MIB / 16.0,
                highest: 1024.0 * 1024.0 * MIB,
                resolution_ratio: 0.02,
            },
        };
        Experiment {
            question,
            search,
            settle_seconds: SETTLE_SECONDS,
        }
    }

    /// The same where every step has a load driver of its own.
    pub fn in_cluster(self) -> Experiment {
        Experiment {
            settle_seconds: CLUSTER_SETTLE_SECONDS,
            ..self
        }
    }

    /// The figure that a trial's search finds, by which arms are compared.
    pub fn metric(&self) -> Metric {
        match self.question {
            Question::CpuLimit { .. } | Question::Saturation { .. } => {
                Metric::SustainedRequestsPerSecond
            }
            Question::MemoryLimit => Metric::MemoryLimitBytes,
        }
    }

    /// What the 99th percentile of durations may be, where that is bounded, in seconds.
    pub fn latency_bound_seconds(&self) -> Option<f64> {
        match self.question {
            Question::CpuLimit {
                latency_bound_seconds,
                ..
            }
            | Question::Saturation {
                latency_bound_seconds,
            } => Some(latency_bound_seconds),
            Question::MemoryLimit => None,
        }
    }

    /// Load before the window of a step, in seconds: the first one warms the target up.
    pub fn settle(&self, step: u32, warmup_seconds: f64) -> f64 {
        match step {
            1 => self.settle_seconds.max(warmup_seconds),
            _ => self.settle_seconds,
        }
    }

    /// Whether what is tried are rates, all on one target.
    pub fn is_of_rates(&self) -> bool {
        self.question != Question::MemoryLimit
    }

    /// How long a trial takes, roughly, in seconds; `extra_seconds` are what a step takes
    /// besides its load.
    pub fn trial_seconds(
        &self,
        warmup_seconds: f64,
        measure_seconds: f64,
        extra_seconds: f64,
    ) -> f64 {
        let steps = f64::from(self.search.usual_steps());
        if self.is_of_rates() {
            let each = self.settle_seconds + measure_seconds + extra_seconds;
            warmup_seconds + steps * each
        } else {
            // Each step has a target of its own, which warms up.
            steps * (warmup_seconds + measure_seconds + extra_seconds)
        }
    }
}

/// Starting a driver, late answers, reading counters: what a step on a backend takes besides
/// its load, in seconds. In a cluster the driver is a pod.
pub fn step_extra_seconds(backend: &str) -> f64 {
    match backend {
        "kubernetes" => 6.0,
        _ => 0.4,
    }
}

impl Question {
    /// What the target is limited to from its start on.
    pub fn limits(&self) -> Limits {
        Limits {
            cpu_cores: match *self {
                Question::CpuLimit { cores, .. } => Some(cores),
                Question::MemoryLimit | Question::Saturation { .. } => None,
            },
            memory_bytes: None,
        }
    }

    /// The name on the command line and in the names of runs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Question::CpuLimit { .. } => "cpu-limit",
            Question::MemoryLimit => "memory-limit",
            Question::Saturation { .. } => "saturation",
        }
    }
}

/// What one try of a search came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Counted from 1.
    pub step: u32,
    /// What was tried: a rate in requests per second, or a memory limit in bytes.
    pub value: f64,
    /// Rate that was offered, in requests per second.
    pub offered_requests_per_second: f64,
    /// Complete answers per second of the window; none where the load never came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<f64>,
    /// The 99th percentile of durations, in seconds; none without an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_seconds: Option<f64>,
    /// Periods of the CPU quota in which it held the target back ÷ periods; none without a quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_ratio: Option<f64>,
    /// Processes of the target that the kernel ended because memory ran out.
    pub oom_kills: u64,
    /// Whether the target held what was asked of it.
    pub passed: bool,
    /// Why not, when not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is known of a step, before it is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome<'a> {
    /// Rate that was offered, in requests per second.
    pub offered_requests_per_second: f64,
    /// Complete answers per second of the window.
    pub requests_per_second: Option<f64>,
    /// The 99th percentile of durations, in seconds.
    pub p99_seconds: Option<f64>,
    /// Requests that failed.
    pub failed: f64,
    /// Requests that were never sent.
    pub dropped: f64,
    /// Processes of the target that the kernel ended because memory ran out.
    pub oom_kills: f64,
    /// How the target's container failed otherwise.
    pub failure: Option<&'a str>,
}

impl Experiment {
    /// Why a target did not hold what was asked of it; none when it did.
    pub fn objection(&self, outcome: &Outcome<'_>) -> Option<String> {
        let Outcome {
            offered_requests_per_second: offered,
            requests_per_second,
            p99_seconds,
            failed,
            dropped,
            oom_kills,
            failure,
        } = *outcome;
        if oom_kills > 0.0 {
            let them = if oom_kills > 1.0 {
                "processes"
            } else {
                "process"
            };
            return Some(format!(
                "the kernel ended {oom_kills:.0} {them} of the target, as its control group was out of memory (OOM kill)"
            ));
        }
        if let Some(failure) = failure {
            return Some(format!("the target's container failed: {failure}"));
        }
        let Some(answered) = requests_per_second else {
            return Some("the target did not answer in time".into());
        };
        if failed + dropped > 0.0 {
            return Some(format!(
                "{failed:.0} requests failed, {dropped:.0} were never sent"
            ));
        }
        if answered < ANSWERED_MIN * offered {
            return Some(format!(
                "{answered:.1} of {offered:.1} requests per second were answered (at least {:.0} %)",
                ANSWERED_MIN * 100.0
            ));
        }
        let bound = self.latency_bound_seconds()?;
        let p99 = p99_seconds.unwrap_or(f64::INFINITY);
        (p99 > bound).then(|| {
            format!(
                "p99 was {:.1} ms (at most {:.1} ms)",
                p99 * 1e3,
                bound * 1e3
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Outcome<'_> = Outcome {
        offered_requests_per_second: 1_000.0,
        requests_per_second: Some(995.0),
        p99_seconds: Some(0.02),
        failed: 0.0,
        dropped: 0.0,
        oom_kills: 0.0,
        failure: None,
    };

    fn cpu_limit() -> Experiment {
        let question = Question::CpuLimit {
            cores: 0.5,
            latency_bound_seconds: 0.1,
        };
        Experiment::new(question, 1_000.0, 1)
    }

    #[test]
    fn what_is_held_against_a_step() {
        let limited = cpu_limit();
        assert_eq!(limited.objection(&FINE), None);
        for (outcome, expected) in [
            (
                Outcome {
                    requests_per_second: Some(989.0),
                    ..FINE
                },
                "989.0 of 1000.0",
            ),
            (
                Outcome {
                    p99_seconds: Some(0.11),
                    ..FINE
                },
                "p99 was 110.0 ms",
            ),
            (
                Outcome {
                    dropped: 1.0,
                    ..FINE
                },
                "1 were never sent",
            ),
            (
                Outcome {
                    requests_per_second: None,
                    ..FINE
                },
                "did not answer",
            ),
            (
                Outcome {
                    oom_kills: 1.0,
                    requests_per_second: None,
                    ..FINE
                },
                "1 process of the target",
            ),
            (
                Outcome {
                    failure: Some("StartError"),
                    requests_per_second: None,
                    ..FINE
                },
                "container failed: StartError",
            ),
        ] {
            let objection = limited.objection(&outcome).unwrap_or_default();
            assert!(objection.contains(expected), "{objection}");
        }
    }

    /// A slow answer is an answer where only survival is asked for.
    #[test]
    fn memory_has_no_latency_bound() {
        let memory = Experiment::new(Question::MemoryLimit, 1_000.0, 1);
        let slow = Outcome {
            p99_seconds: Some(3.0),
            ..FINE
        };
        assert_eq!(memory.objection(&slow), None);
    }

    #[test]
    fn half_of_a_cpu_begins_at_half_of_the_rate() {
        assert_eq!(cpu_limit().search.start, 500.0);
        let question = Question::CpuLimit {
            cores: 2.0,
            latency_bound_seconds: 0.1,
        };
        assert_eq!(Experiment::new(question, 1_000.0, 1).search.start, 1_000.0);
    }
}
