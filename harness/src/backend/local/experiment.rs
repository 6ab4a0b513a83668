//! One trial of an experiment on this machine: a search, step by step.
//!
//! Rates are tried one after another on one target, whose limits stand from its
//! start. Every memory limit has a target of its own, as the kernel ends one that
//! it is too little for. Only the target is limited; an agent beside it has a
//! control group of its own.

use super::LocalBackend;
use super::batch::{RESULT_LIMIT, Stage};
use super::evidence::{self, Before};
use super::sampler::{RoleObserver, Sampler};
use super::system::System;
use crate::backend::search::{self, Stepper};
use crate::backend::{Observed, Sink, TrialError};
use crate::clock::{monotonic_ns, sleep_until_ns};
use crate::experiment::{Experiment, Limits, Question};
use crate::load::driver::{GRACE, Loop};
use crate::load::{Driver, LEAD_NS, LoadSpec};
use crate::observer::ebpf::Programs;
use crate::observer::node::NodeObserver;
use crate::plan::{Plan, TrialPlan};
use crate::sample::{Edge, Phase, Reading, Sample, Subject};
use crate::scenario::Scenario;
use crate::trial::PhaseSpan;

impl LocalBackend {
    /// Whether the limits of an experiment can be set here.
    ///
    /// # Errors
    /// When they can't, with what is missing.
    pub fn require_limits(&self, question: &Question) -> Result<(), TrialError> {
        if let Question::CpuLimit { cores, .. } = question {
            let cpus = self.workshop.cpu_sets[&Subject::Target].len();
            require_bite(*cores, cpus)?;
        }
        let limits = match question {
            Question::MemoryLimit => limited_memory((1u64 << 40) as f64),
            Question::CpuLimit { .. } | Question::Saturation { .. } => question.limits(),
        };
        Ok(limits.try_on(self.workshop.tree.as_ref())?)
    }

    /// Carries out a trial's search; whatever happens, nothing of it is left.
    pub(super) async fn run_search(
        &mut self,
        plan: &Plan,
        experiment: &Experiment,
        trial: &TrialPlan,
        sink: &mut dyn Sink,
    ) -> Result<Observed, TrialError> {
        let begun = self.clock.now();
        let loaded = Programs::list().ok();
        let mut stage = Stage::default();
        let mut cancel = self.cancel.clone();
        let mut observed = Observed::default();
        let outcome = tokio::select! {
            outcome = self.search(plan, experiment, trial, &mut stage, &mut observed, sink) => outcome,
            _ = cancel.wait_for(|cancelled| *cancelled) => Err(TrialError::Interrupted),
        };
        sink.phase(Phase::Teardown, None);
        let teardown = self.clock.now();
        stage.down().await;
        outcome?;
        if let Some(loaded) = &loaded {
            self.left((begun, loaded), [trial.trial], sink).await?;
        }
        observed.phases.push(PhaseSpan {
            phase: Phase::Teardown,
            start: teardown,
            end: self.clock.now(),
        });
        Ok(observed)
    }

    async fn search(
        &self,
        plan: &Plan,
        experiment: &Experiment,
        trial: &TrialPlan,
        stage: &mut Stage,
        observed: &mut Observed,
        sink: &mut dyn Sink,
    ) -> Result<(), TrialError> {
        let mut bench = Bench {
            backend: self,
            plan,
            experiment,
            trial: trial.trial,
            arm: plan
                .arm(&trial.arm)
                .expect("a plan's trials name its own arms"),
            stage,
            harness: self.harness_observer()?,
            node: self.node_observer()?,
        };
        let mut phase = |phase: Phase, start: f64| {
            let end = self.clock.now();
            observed.phases.push(PhaseSpan { phase, start, end });
            end
        };
        sink.phase(Phase::Setup, None);
        let mut now = self.clock.now();
        let before = match experiment.is_of_rates() {
            true => Some(bench.up(experiment.question.limits(), sink).await?),
            false => None,
        };
        now = phase(Phase::Setup, now);
        sink.phase(Phase::Measure, None);
        search::carry_out(experiment, &mut bench, sink).await?;
        now = phase(Phase::Measure, now);
        if let Some(before) = before {
            sink.phase(Phase::Cooldown, None);
            bench.cool_down(&before, sink).await?;
            phase(Phase::Cooldown, now);
        }
        Ok(())
    }
}

/// Whether a target with so many CPUs feels a limit at all: above them it has none, whatever the
/// report would call it.
fn require_bite(cores: f64, cpus: usize) -> Result<(), TrialError> {
    if cores <= cpus as f64 {
        return Ok(());
    }
    Err(TrialError::Missing(format!(
        "a limit of {cores} CPUs limits nothing here, because the target has {cpus} to itself; give --cpu-limit {cpus} or less, or let it have more (`target.cpus`, on a machine with so many)"
    )))
}

fn limited_memory(bytes: f64) -> Limits {
    Limits {
        memory_bytes: Some(bytes),
        ..Limits::default()
    }
}

/// Where one trial's steps are carried out.
struct Bench<'a> {
    backend: &'a LocalBackend,
    plan: &'a Plan,
    experiment: &'a Experiment,
    trial: u32,
    arm: &'a Scenario,
    stage: &'a mut Stage,
    harness: RoleObserver,
    node: NodeObserver,
}

impl Stepper for Bench<'_> {
    async fn step(&mut self, number: u32, value: f64) -> Result<Vec<Sample>, TrialError> {
        let settle = self.experiment.settle(number, self.plan.warmup_seconds);
        let mut samples = Vec::new();
        match self.experiment.question {
            Question::MemoryLimit => {
                samples.push(self.one(Subject::Target, Reading::MemoryLimitBytes, value));
                self.survives(value, &mut samples).await?;
            }
            Question::CpuLimit { cores, .. } => {
                samples.push(self.one(Subject::Target, Reading::CpuLimitCores, cores));
                self.load(value, settle, &mut samples).await?;
            }
            Question::Saturation { .. } => self.load(value, settle, &mut samples).await?,
        }
        Ok(samples)
    }
}

impl Bench<'_> {
    /// A fresh target with these limits that answers, and its agent.
    async fn up(&mut self, limits: Limits, sink: &mut dyn Sink) -> Result<Before, TrialError> {
        let before = self.start(limits).await?;
        let system = self.stage.system.as_ref().expect("the target is up");
        sink.samples(&before.samples(system, &self.sampler(&[])).await?)?;
        Ok(before)
    }

    async fn start(&mut self, limits: Limits) -> Result<Before, TrialError> {
        let workshop = &self.backend.workshop;
        let program = &self.backend.targets[&self.arm.target.program];
        let slot = &mut self.stage.system;
        let system = System::up(workshop, self.arm, program, 0, limits, slot).await?;
        let before = Before::of(system, self.arm).await?;
        if before.saw_nothing() {
            return Err(system
                .unhealthy_agent("did not account for a request that the target answered".into()));
        }
        Ok(before)
    }

    /// Offers a rate, and reads every counter at the edges of the window.
    async fn load(
        &mut self,
        rate: f64,
        settle: f64,
        samples: &mut Vec<Sample>,
    ) -> Result<(), TrialError> {
        samples.push(self.one(Subject::Load, Reading::OfferedRequestsPerSecond, rate));
        let measure = self.plan.measure_seconds;
        let system = self.stage.system.as_mut().expect("the target is up");
        let served = system.metrics.requests().await?;
        let spec = LoadSpec::new(&self.arm.load, &system.url, rate, settle, measure);
        let workshop = &self.backend.workshop;
        let started = Driver::builtin(workshop, spec, Loop::Open, 0, &mut system.groups).await?;
        let (mut driver, load) = started;
        let start_ns = monotonic_ns() + LEAD_NS;
        driver.begin(start_ns).await?;
        self.stage.driver = Some(driver);
        samples.push(self.one(Subject::Target, Reading::HttpRequestsTotal, served));
        for (edge, seconds) in [(Edge::Open, settle), (Edge::Close, settle + measure)] {
            self.until(start_ns + (seconds * 1e9) as u64).await?;
            let sampler = self.sampler(std::slice::from_ref(&load));
            samples.extend(sampler.read(Phase::Measure, Some(edge))?);
        }
        let Stage { system, driver } = &mut *self.stage;
        let (Some(system), Some(running)) = (system, driver.as_mut()) else {
            unreachable!("both run");
        };
        let result = tokio::select! {
            result = tokio::time::timeout(GRACE + RESULT_LIMIT, running.result()) => {
                result.map_err(|_| TrialError::Load("did not end".into()))??
            }
            error = system.ended(Phase::Measure) => return Err(error),
        };
        if let Some(driver) = driver.take() {
            driver.stop().await;
        }
        let served = system.metrics.requests().await?;
        samples.push(self.one(Subject::Target, Reading::HttpRequestsTotal, served));
        samples.extend(result.samples(|reading, value| self.one(Subject::Load, reading, value)));
        Ok(())
    }

    /// Waits for a moment; nothing may end meanwhile.
    async fn until(&mut self, deadline_ns: u64) -> Result<(), TrialError> {
        tokio::select! {
            () = sleep_until_ns(deadline_ns) => Ok(()),
            error = self.stage.ended(Phase::Measure) => Err(error),
        }
    }

    /// Whether a target of its own survives the load with so much memory.
    async fn survives(&mut self, bytes: f64, samples: &mut Vec<Sample>) -> Result<(), TrialError> {
        let outcome = self.under_load(limited_memory(bytes), samples).await;
        let last = self.target_readings();
        self.stage.down().await;
        let killed =
            |sample: &Sample| sample.reading == Reading::OomKillsTotal && sample.value > 0.0;
        let is_outcome = match &outcome {
            // Reclaiming its memory over and over is no way to live either.
            Err(TrialError::Unhealthy { .. }) => true,
            Err(TrialError::Interrupted | TrialError::Record(_)) => false,
            // Whatever fails beside a target that the kernel ended fails because of that.
            Err(_) => last.iter().any(killed),
            Ok(()) => true,
        };
        samples.extend(last);
        match outcome {
            Err(error) if !is_outcome => Err(error),
            _ => Ok(()),
        }
    }

    async fn under_load(
        &mut self,
        limits: Limits,
        samples: &mut Vec<Sample>,
    ) -> Result<(), TrialError> {
        let before = self.start(limits).await?;
        samples.extend(before.attached(&self.sampler(&[])));
        self.load(self.plan.load.rate, self.plan.warmup_seconds, samples)
            .await
    }

    /// What the target's counters hold, also when it has ended.
    fn target_readings(&self) -> Vec<Sample> {
        let sampler = self.sampler(&[]);
        let target = sampler
            .roles
            .iter()
            .find(|role| role.is_of(Subject::Target));
        let readings = target.and_then(|role| role.read().ok()).unwrap_or_default();
        let readings = readings.into_iter();
        readings
            .map(|(reading, value)| self.one(Subject::Target, reading, value))
            .collect()
    }

    /// What agent and intake say when the last answer is in.
    async fn cool_down(&self, before: &Before, sink: &mut dyn Sink) -> Result<(), TrialError> {
        let system = self.stage.system.as_ref().expect("the target is up");
        let served = system.metrics.requests().await?;
        let keep = |samples: Vec<Sample>| sink.samples(&samples);
        evidence::after(system, &self.sampler(&[]), served, before.ahead(), keep).await
    }

    fn sampler<'s>(&'s self, load: &'s [RoleObserver]) -> Sampler<'s> {
        let system = self.stage.system.iter();
        let own = system.flat_map(|system| &system.observers);
        Sampler {
            trial: self.trial,
            clock: self.backend.clock,
            roles: own.chain(load).chain([&self.harness]).collect(),
            node: &self.node,
        }
    }

    fn one(&self, subject: Subject, reading: Reading, value: f64) -> Sample {
        let now = self.backend.clock.now();
        Sample::new(self.trial, Phase::Measure, subject, reading, value, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_above_the_target_s_cpus_is_none() {
        assert!(require_bite(0.5, 1).is_ok());
        assert!(require_bite(2.0, 2).is_ok());
        let message = require_bite(1.5, 1).unwrap_err().to_string();
        assert!(message.contains("has 1 to itself"), "{message}");
    }
}
