//! The phases of one trial: set up, warm up, measure, cool down, take down.

use std::path::Path;
use std::time::Duration;

use super::LocalBackend;
use super::monitor::Monitor;
use super::sampler::{RoleObserver, Sampler};
use super::system::System;
use crate::backend::{Observed, Sink, TrialError};
use crate::clock::{monotonic_ns, sleep_until_ns, unix_seconds};
use crate::load::driver::{GRACE, Loop};
use crate::load::{Driver, LoadResult};
use crate::observer::node::NodeObserver;
use crate::observer::target::TargetMetrics;
use crate::plan::{LoadDriver, Plan, TrialPlan};
use crate::sample::{Edge, Phase, Reading, Sample, Subject};
use crate::trial::PhaseSpan;

/// Time between two readings of the series beside the edges, in nanoseconds.
const SERIES_NS: u64 = 1_000_000_000;
/// How long the load driver may take to end after its grace period.
const RESULT_LIMIT: Duration = Duration::from_secs(30);

/// Everything of one trial that must be taken down.
#[derive(Default)]
struct Stage {
    system: Option<System>,
    driver: Option<Driver>,
}

impl LocalBackend {
    /// Carries out one trial; whatever happens, nothing of it is left.
    pub(super) async fn run_trial(
        &mut self,
        plan: &Plan,
        trial: &TrialPlan,
        sink: &mut dyn Sink,
    ) -> Result<Observed, TrialError> {
        let mut stage = Stage::default();
        let mut observed = Observed::default();
        let mut cancel = self.cancel.clone();
        let outcome = tokio::select! {
            outcome = self.phases(plan, trial, sink, &mut stage, &mut observed) => outcome,
            _ = cancel.wait_for(|cancelled| *cancelled) => Err(TrialError::Interrupted),
        };
        let teardown = self.clock.now();
        sink.phase(Phase::Teardown, None);
        if let Some(driver) = stage.driver.take() {
            driver.stop().await;
        }
        if let Some(system) = stage.system.take() {
            system.teardown().await;
        }
        observed.phases.push(PhaseSpan {
            phase: Phase::Teardown,
            start: teardown,
            end: self.clock.now(),
        });
        outcome.map(|()| observed)
    }

    async fn phases(
        &self,
        plan: &Plan,
        trial: &TrialPlan,
        sink: &mut dyn Sink,
        stage: &mut Stage,
        observed: &mut Observed,
    ) -> Result<(), TrialError> {
        let mut phase_start = self.clock.now();
        let mut end_phase = |phase, at: f64| {
            let span = PhaseSpan {
                phase,
                start: phase_start,
                end: at,
            };
            phase_start = at;
            span
        };

        // Setup: a fresh target that answers, an agent beside it, a driver that is connected.
        sink.phase(Phase::Setup, None);
        let arm = plan
            .arm(&trial.arm)
            .expect("a plan's trials name its own arms");
        let program = &self.targets[&arm.target.program];
        let system = System::up(&self.workshop, arm, program, &mut stage.system).await?;
        // Before the driver, which may begin by itself.
        let before = system.metrics.requests().await?;
        let spec = self.load_spec(
            arm,
            system,
            plan.load.rate,
            plan.warmup_seconds,
            plan.measure_seconds,
        );
        let (driver, load) = match plan.load.driver {
            LoadDriver::Builtin => {
                Driver::builtin(&self.workshop, spec, Loop::Open, &mut system.groups).await?
            }
            LoadDriver::K6 => {
                let k6 = self
                    .k6
                    .as_ref()
                    .and_then(|program| program.command.as_deref());
                let number = trial.trial.to_string();
                Driver::k6(
                    &self.workshop,
                    Path::new(k6.expect("preflight found k6")),
                    spec,
                    self.monitor.as_ref().map(Monitor::server),
                    &[("trial", &number), ("arm", &trial.arm)],
                    &mut system.groups,
                )?
            }
        };
        let driver = stage.driver.insert(driver);
        let harness = self.harness_observer()?;
        let node = NodeObserver::open(self.hierarchies.machine_cpu_usage().as_deref()).map_err(
            |source| TrialError::Observe {
                what: "/proc/stat".into(),
                source,
            },
        )?;
        // Taken out so that readers and processes can be used side by side.
        let observers = std::mem::take(&mut system.observers);
        let sampler = Sampler {
            trial: trial.trial,
            clock: self.clock,
            roles: observers
                .iter()
                .chain([&load, &harness])
                .chain(self.monitor.as_ref().and_then(Monitor::observer))
                .collect(),
            node: &node,
        };
        let mut watch = Watch {
            sampler: &sampler,
            monitor: self.monitor.as_ref(),
            metrics: system.metrics.clone(),
            sink,
            taken: Vec::new(),
        };
        let startup = system.startup.as_secs_f64();
        watch.keep(vec![
            sampler.one(
                Phase::Setup,
                Subject::Target,
                Reading::StartupSeconds,
                startup,
            ),
            sampler.one(
                Phase::Setup,
                Subject::Target,
                Reading::HttpRequestsTotal,
                before,
            ),
        ])?;
        let window = driver.begin().await?;
        observed
            .phases
            .push(end_phase(Phase::Setup, self.clock.now()));

        // Warm-up: the measured load, nothing counts.
        watch.sink.phase(Phase::Warmup, Some(plan.warmup_seconds));
        wait(system, driver, &mut watch, Phase::Warmup, window.open_ns).await?;
        let open_unix = unix_seconds();
        watch.edge(Edge::Open)?;
        observed
            .phases
            .push(end_phase(Phase::Warmup, self.clock.at(window.open_ns)));

        // Measure: counters at both edges, a reading a second between them.
        watch.sink.phase(Phase::Measure, Some(plan.measure_seconds));
        wait(system, driver, &mut watch, Phase::Measure, window.close_ns).await?;
        watch.edge(Edge::Close)?;
        observed.window_unix = Some((open_unix, unix_seconds()));
        observed
            .phases
            .push(end_phase(Phase::Measure, self.clock.at(window.close_ns)));

        // Cooldown: late answers.
        watch.sink.phase(Phase::Cooldown, None);
        let result = tokio::select! {
            result = tokio::time::timeout(GRACE + RESULT_LIMIT, driver.result()) => {
                result.map_err(|_| TrialError::Load("did not end".into()))??
            }
            error = system.ended(Phase::Cooldown) => return Err(error),
        };
        let after = system.metrics.requests().await?;
        watch.keep(vec![sampler.one(
            Phase::Cooldown,
            Subject::Target,
            Reading::HttpRequestsTotal,
            after,
        )])?;
        watch.keep(load_samples(&sampler, &result))?;
        if let Some(monitor) = &self.monitor {
            monitor.push(&watch.taken).await;
        }
        observed.failures = result.failures;
        observed
            .phases
            .push(end_phase(Phase::Cooldown, self.clock.now()));
        Ok(())
    }

    fn harness_observer(&self) -> Result<RoleObserver, TrialError> {
        let group = match &self.workshop.tree {
            Some(tree) => Some(tree.role(Subject::Harness)?),
            None => None,
        };
        RoleObserver::open(Subject::Harness, group.as_ref(), vec![std::process::id()])
    }
}

/// Where a trial's readings go: into the records, and before whoever scrapes.
struct Watch<'a> {
    sampler: &'a Sampler<'a>,
    monitor: Option<&'a Monitor>,
    metrics: TargetMetrics,
    sink: &'a mut dyn Sink,
    /// Kept for a server that gets them pushed after the trial, not during it.
    taken: Vec<Sample>,
}

impl Watch<'_> {
    fn keep(&mut self, samples: Vec<Sample>) -> Result<(), TrialError> {
        self.sink.samples(&samples)?;
        if let Some(monitor) = self.monitor {
            monitor.publish(&samples);
            if monitor.wants_request_counts() {
                self.taken.extend(samples);
            }
        }
        Ok(())
    }

    fn edge(&mut self, edge: Edge) -> Result<(), TrialError> {
        let samples = self.sampler.read(Phase::Measure, Some(edge))?;
        self.keep(samples)
    }

    async fn series(&mut self, phase: Phase) -> Result<(), TrialError> {
        let mut samples = self.sampler.read(phase, None)?;
        if self.monitor.is_some_and(Monitor::wants_request_counts) {
            let counted = self.metrics.requests().await?;
            samples.push(self.sampler.one(
                phase,
                Subject::Target,
                Reading::HttpRequestsTotal,
                counted,
            ));
        }
        self.keep(samples)
    }
}

/// Waits for a moment, reading the series meanwhile; ends early when anything breaks.
async fn wait(
    system: &mut System,
    driver: &mut Driver,
    watch: &mut Watch<'_>,
    phase: Phase,
    deadline_ns: u64,
) -> Result<(), TrialError> {
    let series = async {
        let mut next = monotonic_ns() + SERIES_NS;
        // The reading at the deadline is the caller's.
        while next < deadline_ns {
            sleep_until_ns(next).await;
            watch.series(phase).await?;
            next += SERIES_NS;
        }
        sleep_until_ns(deadline_ns).await;
        Ok(())
    };
    tokio::select! {
        outcome = series => outcome,
        error = system.ended(phase) => Err(error),
        error = driver.ended(phase) => Err(error),
    }
}

fn load_samples(sampler: &Sampler<'_>, result: &LoadResult) -> Vec<Sample> {
    let one = |reading, value| sampler.one(Phase::Measure, Subject::Load, reading, value);
    let mut samples = vec![
        one(Reading::RequestsOffered, result.offered as f64),
        one(Reading::RequestsCompleted, result.completed as f64),
        one(Reading::RequestsAnsweredTotal, result.answered_total as f64),
        one(Reading::RequestsFailed, result.failed as f64),
        one(Reading::RequestsDropped, result.dropped as f64),
        one(Reading::WindowSeconds, result.window_seconds),
    ];
    for &(quantile, seconds) in &result.send_lag {
        samples.push(Sample {
            quantile: Some(quantile),
            ..one(Reading::SendLagSeconds, seconds)
        });
    }
    if !result.buckets.is_empty() {
        let count: u64 = result.buckets.iter().map(|(_, count)| count).sum();
        samples.push(Sample {
            buckets: result.buckets.clone(),
            ..one(Reading::RequestDurationSeconds, count as f64)
        });
    }
    for &(quantile, seconds) in &result.quantiles {
        samples.push(Sample {
            quantile: Some(quantile),
            ..one(Reading::RequestDurationSeconds, seconds)
        });
    }
    samples
}
