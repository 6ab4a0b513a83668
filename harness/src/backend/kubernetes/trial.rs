//! The life of trials in the cluster: set up, load, cool down, read, take down.

use std::cell::RefCell;

use super::backend::KubernetesBackend;
use super::load::{LoadOrder, LoadOutcome};
use super::system::{Site, Stage, System};
use super::{Scene, load, metrics, observer};
use crate::backend::{Observed, Sink, TrialError};
use crate::plan::{Plan, TrialPlan};
use crate::sample::{Phase, Reading, Sample, Subject};
use crate::trial::PhaseSpan;

/// On which of the lanes a trial takes place. Over the blocks every arm comes to
/// every lane, so that a slow node can't become one agent's overhead: trials
/// that follow one another share a block's node, those that run at the same time
/// move on by one from block to block.
pub fn lane(plan: &Plan, trial: &TrialPlan, place: usize, lanes: usize) -> usize {
    let block = trial.block as usize - 1;
    let lanes = lanes.max(1);
    if plan.parallel <= 1 {
        return block % lanes;
    }
    let arm = plan.arms.iter().position(|arm| arm.name == trial.arm);
    let all_at_once = plan.parallel as usize >= plan.arms.len();
    let base = if all_at_once {
        arm.unwrap_or(place)
    } else {
        place
    };
    (base + block) % lanes
}

impl KubernetesBackend {
    /// Carries out trials at the same time, each on a lane of its own; whatever
    /// happens, nothing of them is left.
    pub(super) async fn run_batch(
        &self,
        plan: &Plan,
        trials: &[TrialPlan],
        sink: &mut dyn Sink,
    ) -> Vec<Result<Observed, TrialError>> {
        sink.phase(Phase::Setup, None);
        let sink = RefCell::new(sink);
        let all = trials.iter().enumerate().map(|(place, trial)| {
            let lane = lane(plan, trial, place, self.lanes());
            self.one(plan, trial, lane, &sink)
        });
        futures_util::future::join_all(all).await
    }

    async fn one(
        &self,
        plan: &Plan,
        trial: &TrialPlan,
        lane: usize,
        sink: &RefCell<&mut dyn Sink>,
    ) -> Result<Observed, TrialError> {
        let arm = plan
            .arm(&trial.arm)
            .expect("a plan's trials name its own arms");
        let spot = self.spot(arm, lane);
        let site = spot.site(self, arm, trial.trial);
        let mut stage = Stage::default();
        let mut observed = Observed {
            node: Some(spot.node().to_owned()),
            ..Observed::default()
        };
        let order = self.order(plan, site);
        let outcome = tokio::select! {
            // Nothing begins on nodes that are another run's by now.
            biased;
            error = self.ended() => Err(error),
            outcome = self.phases(site, &order, &mut stage, &mut observed, sink) => outcome,
        };
        let start = self.now();
        sink.borrow_mut().phase(Phase::Teardown, None);
        stage.down(&site).await;
        site.vacate().await;
        observed.phases.push(PhaseSpan {
            phase: Phase::Teardown,
            start,
            end: self.now(),
        });
        outcome.map(|()| observed)
    }

    async fn phases(
        &self,
        site: Site<'_>,
        order: &LoadOrder,
        stage: &mut Stage,
        observed: &mut Observed,
        sink: &RefCell<&mut dyn Sink>,
    ) -> Result<(), TrialError> {
        let begun = self.now();
        let system = System::up(site, stage).await?;
        let keep = |samples: Vec<Sample>| sink.borrow_mut().samples(&samples);
        let (before, ahead) = self.before(site, &system).await?;
        keep(before)?;
        let loading = self.now();
        observed.phases.push(PhaseSpan {
            phase: Phase::Setup,
            start: begun,
            end: loading,
        });

        // Warm-up and window: k6 does both, and says afterwards when they were.
        let seconds = order.spec.warmup_seconds + order.spec.measure_seconds;
        sink.borrow_mut().phase(Phase::Measure, Some(seconds));
        // Noted down before, so that an interrupt in between leaves nothing.
        stage.note(load::objects(&self.cluster.run, self.starter(), order));
        let outcome = tokio::select! {
            outcome = load::run(&self.cluster, self.starter(), order) => outcome?,
            error = system.broken(site) => return Err(error.into()),
        };
        system.unbroken(site).await?;
        let window = outcome.window;
        let (open, close) = (self.at(window.open_unix), self.at(window.close_unix));
        for (phase, start, end) in [
            (Phase::Warmup, loading.min(open), open),
            (Phase::Measure, open, close),
        ] {
            observed.phases.push(PhaseSpan { phase, start, end });
        }
        observed.window_unix = Some((window.open_unix, window.close_unix));
        observed.failures.clone_from(&outcome.result.failures);

        // Cooldown: what counts the late answers too.
        sink.borrow_mut().phase(Phase::Cooldown, None);
        let load = |reading, value| {
            let (phase, subject) = (Phase::Measure, Subject::Load);
            Sample::new(site.trial, phase, subject, reading, value, close)
        };
        let mut of_load = outcome.result.samples(load);
        of_load.push(load(Reading::CpuLimitCores, self.load_cores()));
        keep(of_load)?;
        self.after(site, &system, ahead, keep).await?;
        let scene = scene(site, &system, &outcome);
        keep(self.readings(&scene).await?)?;
        observed.phases.push(PhaseSpan {
            phase: Phase::Cooldown,
            start: close,
            end: self.now().max(close),
        });
        Ok(())
    }

    /// What target, agent and intake have counted once the agent is proven to
    /// work, and by how much the agent is ahead of the target.
    pub(super) async fn before(
        &self,
        site: Site<'_>,
        system: &System,
    ) -> Result<(Vec<Sample>, f64), TrialError> {
        let one =
            |subject, reading, value| self.reading(site, Phase::Setup, subject, reading, value);
        let seen = system.prove(site).await?;
        let served = system.metrics.requests().await?;
        let mut samples = vec![one(Subject::Target, Reading::HttpRequestsTotal, served)];
        samples.extend(seen.map(|seen| one(Subject::Agent, Reading::TelemetryRequestsTotal, seen)));
        if let Some(reader) = &system.delivered {
            let intake = |reading, value| one(Subject::Intake, reading, value);
            samples.extend(reader.samples(intake).await?);
        }
        Ok((samples, seen.unwrap_or(0.0) - served))
    }

    /// The same counts when the last answer is in, each kept as it comes: what is cut short while
    /// the agent is waited for has left the others.
    pub(super) async fn after(
        &self,
        site: Site<'_>,
        system: &System,
        ahead: f64,
        mut keep: impl FnMut(Vec<Sample>) -> Result<(), TrialError>,
    ) -> Result<(), TrialError> {
        let one =
            |subject, reading, value| self.reading(site, Phase::Cooldown, subject, reading, value);
        let served = system.served(site).await?;
        let reading = Reading::HttpRequestsTotal;
        keep(vec![one(Subject::Target, reading, served)])?;
        if let Some(reader) = &system.telemetry {
            let counted = reader.settled(served + ahead).await?;
            let reading = Reading::TelemetryRequestsTotal;
            keep(vec![one(Subject::Agent, reading, counted)])?;
        }
        if let Some(reader) = &system.delivered {
            let intake = |reading, value| one(Subject::Intake, reading, value);
            keep(reader.samples(intake).await?)?;
        }
        Ok(())
    }

    /// A plain reading of now.
    pub(super) fn reading(
        &self,
        site: Site<'_>,
        phase: Phase,
        subject: Subject,
        reading: Reading,
        value: f64,
    ) -> Sample {
        Sample::new(site.trial, phase, subject, reading, value, self.now())
    }

    /// What the nodes say of a trial: their observers' readings, and the kubelets'.
    async fn readings(&self, scene: &Scene) -> Result<Vec<Sample>, TrialError> {
        let cluster = &self.cluster;
        let mut samples = Vec::new();
        if let Some(observers) = &self.observers {
            samples.extend(observer::read(cluster, observers, scene).await?);
        }
        if let Some(metrics) = &self.metrics {
            let observed = self.observers.is_some();
            match metrics::read(cluster, metrics, scene, observed).await {
                Ok(read) => samples.extend(read),
                // Without observers they are the only source; beside them, a cross-check.
                Err(error) if !observed => return Err(error.into()),
                Err(error) => log::info!("no cross-check of trial {}: {error}", scene.trial),
            }
        }
        Ok(samples)
    }

    pub(super) fn order(&self, plan: &Plan, site: Site<'_>) -> LoadOrder {
        let images = &self.cluster.images;
        LoadOrder {
            millicpus: self.load_millicpus(),
            remote_write: self.metrics.as_ref().map(|m| m.remote_write.clone()),
            ..LoadOrder::of(plan, site.arm, site.trial, site.namespace, images)
        }
    }

    /// The run's clock.
    pub(super) fn now(&self) -> f64 {
        self.cluster.clock.now()
    }

    /// A moment of the epoch in the run's time.
    fn at(&self, unix: f64) -> f64 {
        self.now() - (crate::clock::unix_seconds() - unix)
    }
}

/// Every pod whose counters belong to a trial.
pub(super) fn scene(site: Site<'_>, system: &System, outcome: &LoadOutcome) -> Scene {
    let pods = std::iter::once(&system.target)
        .chain(&system.agent)
        .chain(&system.intake)
        .chain([&outcome.pod]);
    Scene {
        trial: site.trial,
        arm: site.arm.name.clone(),
        node: system.target.node.clone(),
        pods: pods.cloned().collect(),
        window: outcome.window,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::wire;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn plan(arms: &[&str], blocks: u32, parallel: u32) -> Plan {
        let names: Vec<String> = arms.iter().map(|name| (*name).to_owned()).collect();
        Plan {
            schema_version: 1,
            run: "run".into(),
            started: String::new(),
            backend: "kubernetes".into(),
            seed: 7,
            confidence: 0.95,
            load: crate::plan::LoadPlan {
                driver: crate::plan::LoadDriver::K6,
                rate: 1.0,
                rate_source: crate::plan::RateSource::Given,
                capacity: None,
            },
            warmup_seconds: 1.0,
            measure_seconds: 1.0,
            slices: 1,
            pause_seconds: 0.01,
            parallel,
            left_out: Vec::new(),
            expected_detectable_ratio: None,
            amplified: None,
            experiment: None,
            limitations: Vec::new(),
            arms: names
                .iter()
                .map(|name| {
                    let path = format!("{name}.yaml");
                    wire::parse(Path::new(&path), "question: q").unwrap()
                })
                .collect(),
            trials: crate::plan::trials(&names, blocks, 1, 7),
        }
    }

    /// Every arm comes to every lane, whichever way trials are carried out.
    #[test]
    fn arms_rotate_over_the_lanes() {
        for parallel in [1, 3] {
            let plan = plan(&["baseline", "baseline-twin", "flora"], 3, parallel);
            let mut seen = BTreeSet::new();
            for batch in plan.batches() {
                let lanes: Vec<usize> = batch
                    .iter()
                    .enumerate()
                    .map(|(place, trial)| lane(&plan, trial, place, 3))
                    .collect();
                let distinct: BTreeSet<&usize> = lanes.iter().collect();
                assert_eq!(distinct.len(), batch.len(), "two trials on one lane");
                seen.extend(batch.iter().map(|trial| trial.arm.clone()).zip(lanes));
            }
            assert_eq!(seen.len(), 9, "{seen:?}");
        }
    }
}
