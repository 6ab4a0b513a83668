//! Load: what is sent to the target, and what came of it.
//!
//! # Layout
//! - [`LoadSpec`], [`LoadResult`]: what every driver takes and gives
//! - [`builtin`]: starts and talks with the built-in driver
//! - [`driver`]: that driver, an open loop in a process of its own
//! - [`k6`]: k6 in its place

pub mod builtin;
pub mod driver;
pub mod k6;

use std::path::Path;

use serde::{Deserialize, Serialize};

use self::builtin::Builtin;
use self::driver::Loop;
use self::k6::child::K6;
use crate::backend::TrialError;
use crate::backend::local::cgroup::Group;
use crate::backend::local::process::{Process, Spawn};
use crate::backend::local::sampler::RoleObserver;
use crate::backend::local::system::Workshop;
use crate::sample::{Phase, Reading, Sample, Subject};
use crate::scenario::Load;
use crate::victoria_metrics::ServerUrl;

/// One trial's load, the same for every driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSpec {
    /// Where every request goes, such as `http://127.0.0.1:8080/objects`.
    pub url: String,
    /// Whether requests accept gzip.
    pub gzip: bool,
    /// Keep-alive connections.
    pub connections: u32,
    /// Offered rate, in requests per second.
    pub rate: f64,
    /// Load before the window, in seconds.
    pub warmup_seconds: f64,
    /// The window, in seconds.
    pub measure_seconds: f64,
    /// How long an answer may take before the request counts as failed, in seconds.
    pub timeout_seconds: f64,
    /// When to send, for the built-in driver: its part of a batch. Empty: the
    /// warm-up at once, and the window right behind it.
    #[serde(default)]
    pub periods: Vec<Period>,
}

/// A time in which requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// When it begins, in seconds since the load began.
    pub start_seconds: f64,
    /// How long requests are sent.
    pub seconds: f64,
    /// How long after it answers still belong to it.
    pub pause_seconds: f64,
    /// Whether it is part of the window.
    pub measured: bool,
}

impl LoadSpec {
    /// What a scenario asks for, of the target at `url`, at this rate and for so long.
    pub fn new(load: &Load, url: &str, rate: f64, warmup: f64, measure: f64) -> Self {
        LoadSpec {
            url: format!("{url}{}", load.path),
            gzip: load.gzip,
            connections: load.connections,
            rate,
            warmup_seconds: warmup,
            measure_seconds: measure,
            timeout_seconds: load.timeout_seconds,
            periods: Vec::new(),
        }
    }

    /// When requests are sent, in the order of time.
    pub fn periods(&self) -> Vec<Period> {
        if !self.periods.is_empty() {
            return self.periods.clone();
        }
        let warmup = Period {
            start_seconds: 0.0,
            seconds: self.warmup_seconds,
            pause_seconds: 0.0,
            measured: false,
        };
        let window = Period {
            start_seconds: self.warmup_seconds,
            seconds: self.measure_seconds,
            measured: true,
            ..warmup
        };
        vec![warmup, window]
    }
}

/// What came of one trial's load, counted over its window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadResult {
    /// Requests whose intended start lies in the window.
    pub offered: u64,
    /// Complete 2xx answers received in the window, or in the pause behind a turn.
    pub completed: u64,
    /// Those of them that came in a turn itself or a moment behind it; none without pauses.
    pub completed_in_time: Option<u64>,
    /// Complete 2xx answers of the whole trial, warm-up and late ones included.
    pub answered_total: u64,
    /// Requests of the window that failed.
    pub failed: u64,
    /// Requests of the window that were never sent.
    pub dropped: u64,
    /// Length of the window, in seconds.
    pub window_seconds: f64,
    /// How late requests were handed to a connection: `[quantile, seconds]`. Part of
    /// every duration; what is left without it is the time since the actual send.
    pub send_lag: Vec<(f64, f64)>,
    /// Request durations: `[upper bound in seconds, count]` of each bucket that is not empty.
    pub buckets: Vec<(f64, u64)>,
    /// Request durations where the driver gives no histogram: `[quantile, seconds]`.
    pub quantiles: Vec<(f64, f64)>,
    /// The first few failures, in words.
    pub failures: Vec<String>,
}

impl LoadResult {
    /// It as samples, each made by `one` of what was read and its value.
    pub fn samples(&self, one: impl Fn(Reading, f64) -> Sample) -> Vec<Sample> {
        let mut samples = vec![
            one(Reading::RequestsOffered, self.offered as f64),
            one(Reading::RequestsCompleted, self.completed as f64),
            one(Reading::RequestsAnsweredTotal, self.answered_total as f64),
            one(Reading::RequestsFailed, self.failed as f64),
            one(Reading::RequestsDropped, self.dropped as f64),
            one(Reading::WindowSeconds, self.window_seconds),
        ];
        if let Some(in_time) = self.completed_in_time {
            samples.push(one(Reading::RequestsCompletedInTime, in_time as f64));
        }
        for &(quantile, seconds) in &self.send_lag {
            samples.push(Sample {
                quantile: Some(quantile),
                ..one(Reading::SendLagSeconds, seconds)
            });
        }
        if !self.buckets.is_empty() {
            let count: u64 = self.buckets.iter().map(|(_, count)| count).sum();
            samples.push(Sample {
                buckets: self.buckets.clone(),
                ..one(Reading::RequestDurationSeconds, count as f64)
            });
        }
        for &(quantile, seconds) in &self.quantiles {
            samples.push(Sample {
                quantile: Some(quantile),
                ..one(Reading::RequestDurationSeconds, seconds)
            });
        }
        samples
    }
}

/// Time between the order to begin and the first request, so that the order arrives before it.
pub const LEAD_NS: u64 = 20_000_000;

/// A load driver that is ready or runs.
#[derive(Debug)]
pub enum Driver {
    /// The built-in one.
    Builtin(Builtin),
    /// k6.
    K6(K6),
}

impl Driver {
    /// Starts the built-in driver in its own group and has it connect; also
    /// gives a reader of the driver's own cost.
    ///
    /// # Errors
    /// When it can't be started or can't reach the target.
    pub async fn builtin(
        workshop: &Workshop,
        spec: LoadSpec,
        kind: Loop,
        seat: usize,
        groups: &mut Vec<Group>,
    ) -> Result<(Driver, RoleObserver), TrialError> {
        let (program, args) = Builtin::command();
        let (process, observer) = spawn(workshop, seat, groups, &program, args, Vec::new(), true)?;
        let builtin = Builtin::prepare(process, spec, kind).await?;
        Ok((Driver::Builtin(builtin), observer))
    }

    /// Starts k6 in its own group; it begins by itself a moment later.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn k6(
        workshop: &Workshop,
        program: &Path,
        spec: LoadSpec,
        remote_write: Option<&ServerUrl>,
        tags: &[(&str, &str)],
        groups: &mut Vec<Group>,
    ) -> Result<(Driver, RoleObserver), TrialError> {
        let prepared = k6::child::prepare(workshop.work.path())?;
        let invocation = k6::command(&k6::K6Run {
            program,
            script: &prepared.script,
            summary: &prepared.summary,
            load: &spec,
            remote_write,
            tags,
        });
        let args = invocation
            .args
            .iter()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect();
        let (process, observer) = spawn(workshop, 0, groups, program, args, invocation.env, false)?;
        Ok((Driver::K6(K6::new(process, prepared, spec)), observer))
    }

    /// Begins at a moment of `CLOCK_MONOTONIC` a little ahead, in nanoseconds.
    /// Says when it really does: k6 begins by itself.
    ///
    /// # Errors
    /// When the driver has ended.
    pub async fn begin(&mut self, start_ns: u64) -> Result<u64, TrialError> {
        match self {
            Driver::Builtin(builtin) => {
                builtin.start(start_ns).await?;
                Ok(start_ns)
            }
            Driver::K6(k6) => k6.begun().await,
        }
    }

    /// Waits until the driver ends, which it must not do during the load.
    pub async fn ended(&mut self, phase: Phase) -> TrialError {
        match self {
            Driver::Builtin(builtin) => builtin.ended(phase).await,
            Driver::K6(k6) => k6.ended(phase).await,
        }
    }

    /// Waits for the outcome.
    ///
    /// # Errors
    /// When the driver ends without one.
    pub async fn result(&mut self) -> Result<LoadResult, TrialError> {
        match self {
            Driver::Builtin(builtin) => builtin.result().await,
            Driver::K6(k6) => k6.result().await,
        }
    }

    /// Ends the driver.
    pub async fn stop(self) {
        match self {
            Driver::Builtin(builtin) => builtin.stop().await,
            Driver::K6(k6) => k6.stop().await,
        }
    }
}

fn spawn(
    workshop: &Workshop,
    seat: usize,
    groups: &mut Vec<Group>,
    program: &Path,
    args: Vec<String>,
    env: Vec<(String, String)>,
    piped: bool,
) -> Result<(Process, RoleObserver), TrialError> {
    let group = workshop.group(Subject::Load, seat, groups)?;
    let process = Process::spawn(Spawn {
        subject: Subject::Load,
        program,
        args,
        env,
        cpus: &workshop.cpu_sets[&Subject::Load],
        group: group.as_ref(),
        log: workshop.log("load", seat),
        piped,
    })?;
    let pids = process.pid().into_iter().collect();
    let observer = RoleObserver::open(Subject::Load, group.as_ref(), pids)?;
    Ok((process, observer))
}
