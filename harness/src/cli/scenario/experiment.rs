//! The options of an experiment, and what can't be had together with one.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::backend::local::monitor::Choice;
use crate::cli::exit::{self, Failure};
use crate::cli::measure::{self, BackendName, LoadName};
use crate::experiment::Question;

/// CPU time that the target gets in a second, where nothing else is said.
const CPU_LIMIT: f64 = 0.5;
/// What the 99th percentile of durations may be, where nothing else is said.
const LATENCY_BOUND: Duration = Duration::from_millis(100);

/// What is asked, and of what.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// What is asked: what a request costs at a fixed rate, or what an agent
    /// takes from the application's limits, by a search in each trial.
    #[arg(long, value_enum, default_value_t)]
    experiment: Name,

    /// With --experiment cpu-limit: CPU time that the target gets in a
    /// second; 0.5 without it.
    #[arg(long, value_name = "CORES", value_parser = cores)]
    cpu_limit: Option<f64>,

    /// With --experiment cpu-limit or saturation: what the 99th percentile of
    /// durations may be for a rate to count as sustained; 100ms without it.
    #[arg(long, value_name = "DURATION", value_parser = bound)]
    latency_bound: Option<Duration>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Name {
    /// What a request costs.
    #[default]
    FixedRate,
    /// The highest rate that the target sustains under a CPU limit.
    CpuLimit,
    /// The smallest memory limit under which the target survives the load.
    MemoryLimit,
    /// Throughput and durations against the offered rate, up to the knee.
    Saturation,
}

impl Options {
    /// What the run's searches are to find; none at a fixed rate.
    ///
    /// # Errors
    /// When the options contradict one another.
    pub fn question(
        &self,
        options: &measure::Options,
        amplify: Option<u32>,
    ) -> Result<Option<Question>, Failure> {
        let refused = |why: &str| Err(Failure::message(exit::USAGE, why));
        if self.cpu_limit.is_some() && self.experiment != Name::CpuLimit {
            return refused("--cpu-limit belongs to --experiment cpu-limit");
        }
        let bounded = matches!(self.experiment, Name::CpuLimit | Name::Saturation);
        if self.latency_bound.is_some() && !bounded {
            return refused(
                "--latency-bound belongs to --experiment cpu-limit or --experiment saturation",
            );
        }
        let bound = self.latency_bound.unwrap_or(LATENCY_BOUND);
        let latency_bound_seconds = bound.as_secs_f64();
        let question = match self.experiment {
            Name::FixedRate => return Ok(None),
            Name::CpuLimit => Question::CpuLimit {
                cores: self.cpu_limit.unwrap_or(CPU_LIMIT),
                latency_bound_seconds,
            },
            Name::MemoryLimit => Question::MemoryLimit,
            Name::Saturation => Question::Saturation {
                latency_bound_seconds,
            },
        };
        if amplify.is_some() {
            return refused("--experiment and --amplify ask different things; use one of them");
        }
        let in_cluster = options.backend == BackendName::Kubernetes;
        if !in_cluster && !matches!(options.load, None | Some(LoadName::Builtin)) {
            return refused(
                "--experiment changes the rate from step to step, which on one machine only the built-in driver does; leave --load out",
            );
        }
        if options.cluster.parallel.is_some_and(|arms| arms > 1) {
            return refused(
                "--parallel can't be had with --experiment: searches at the same time would share the load's node, and it would be their limit; leave it out",
            );
        }
        if options.slices.is_some_and(|slices| slices > 1) {
            return refused(
                "--slices can't be had with --experiment: a target at its limit needs its window to itself; leave it out",
            );
        }
        if matches!(options.victoria_metrics, Some(Choice::Server(_))) {
            return refused(
                "--victoria-metrics can't be had with --experiment: its series know no steps; leave it out",
            );
        }
        Ok(Some(question))
    }
}

fn cores(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(cores) if (0.01..=1024.0).contains(&cores) => Ok(cores),
        _ => Err("expected 0.01 to 1024 CPUs".into()),
    }
}

fn bound(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(bound) if !bound.is_zero() => Ok(bound),
        Ok(_) => Err("a bound must be longer than nothing".into()),
        Err(error) => Err(error.to_string()),
    }
}
