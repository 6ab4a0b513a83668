//! One trial of an experiment in the cluster: a search, step by step.
//!
//! Every step has a k6 of its own. Rates are tried one after another on one
//! target, whose CPU limit stands in its Deployment from the start. Every memory
//! limit has a target of its own, as the kernel ends one that it is too little
//! for. Only the target's container is limited; one beside it has its own limits.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::api::{Api, ListParams};
use tokio::time::{Instant, sleep};

use super::backend::KubernetesBackend;
use super::client::ApiError;
use super::load::LoadOrder;
use super::system::{Site, Stage, System};
use super::trial::{lane, scene};
use super::wait::WaitError;
use super::{ClusterError, load, observer, target};
use crate::backend::search::{self, Stepper};
use crate::backend::{Observed, Sink, TrialError};
use crate::experiment::{Experiment, Question};
use crate::load::LoadSpec;
use crate::plan::{Plan, TrialPlan};
use crate::sample::{Phase, Reading, Sample, Subject};
use crate::trial::PhaseSpan;

/// How long a kubelet may take to say that a container has ended.
const SAID: Duration = Duration::from_secs(10);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(500);

/// What stands in the cluster: the arm, and the load of the step that is under way.
#[derive(Default)]
struct Stages {
    system: Stage,
    load: Stage,
}

impl Stages {
    async fn down(&mut self, site: &Site<'_>) {
        self.load.load_down(site).await;
        self.system.down(site).await;
    }
}

impl KubernetesBackend {
    /// Carries out a trial's search; whatever happens, nothing of it is left.
    pub(super) async fn run_search(
        &self,
        plan: &Plan,
        experiment: &Experiment,
        trial: &TrialPlan,
        sink: &mut dyn Sink,
    ) -> Result<Observed, TrialError> {
        let arm = plan
            .arm(&trial.arm)
            .expect("a plan's trials name its own arms");
        let spot = self.spot(arm, lane(plan, trial, 0, self.lanes()));
        let site = Site {
            limits: experiment.question.limits(),
            ..spot.site(self, arm, trial.trial)
        };
        let mut observed = Observed {
            node: Some(spot.node().to_owned()),
            ..Observed::default()
        };
        let mut stages = Stages::default();
        let bench = Bench {
            backend: self,
            plan,
            experiment,
            site,
            stages: &mut stages,
            system: None,
        };
        let outcome = tokio::select! {
            // Nothing begins on nodes that are another run's by now.
            biased;
            error = self.ended() => Err(error),
            outcome = bench.search(&mut observed, sink) => outcome,
        };
        sink.phase(Phase::Teardown, None);
        let start = self.now();
        stages.down(&site).await;
        site.vacate().await;
        observed.phases.push(PhaseSpan {
            phase: Phase::Teardown,
            start,
            end: self.now(),
        });
        outcome.map(|()| observed)
    }
}

/// Where one trial's steps are carried out.
struct Bench<'a> {
    backend: &'a KubernetesBackend,
    plan: &'a Plan,
    experiment: &'a Experiment,
    site: Site<'a>,
    stages: &'a mut Stages,
    /// The target that is up, and its agent.
    system: Option<System>,
}

impl Stepper for Bench<'_> {
    async fn step(&mut self, number: u32, value: f64) -> Result<Vec<Sample>, TrialError> {
        let settle = self.experiment.settle(number, self.plan.warmup_seconds);
        let mut samples = Vec::new();
        match self.experiment.question {
            Question::MemoryLimit => {
                samples.push(self.one(Subject::Target, Reading::MemoryLimitBytes, value));
                self.survives(number, value, &mut samples).await?;
            }
            Question::CpuLimit { cores, .. } => {
                samples.push(self.one(Subject::Target, Reading::CpuLimitCores, cores));
                self.load(number, value, settle, &mut samples).await?;
            }
            Question::Saturation { .. } => {
                self.load(number, value, settle, &mut samples).await?;
            }
        }
        Ok(samples)
    }
}

impl Bench<'_> {
    async fn search(
        mut self,
        observed: &mut Observed,
        sink: &mut dyn Sink,
    ) -> Result<(), TrialError> {
        let clock = self.backend.cluster.clock;
        let mut phase = |phase: Phase, start: f64| {
            let end = clock.now();
            observed.phases.push(PhaseSpan { phase, start, end });
            end
        };
        sink.phase(Phase::Setup, None);
        let mut now = clock.now();
        let mut ahead = 0.0;
        if self.experiment.is_of_rates() {
            let before;
            (before, ahead) = self.up().await?;
            sink.samples(&before)?;
        }
        now = phase(Phase::Setup, now);
        sink.phase(Phase::Measure, None);
        search::carry_out(self.experiment, &mut self, sink).await?;
        now = phase(Phase::Measure, now);
        if let Some(system) = &self.system {
            sink.phase(Phase::Cooldown, None);
            let keep = |samples: Vec<Sample>| sink.samples(&samples);
            self.backend.after(self.site, system, ahead, keep).await?;
            phase(Phase::Cooldown, now);
        }
        Ok(())
    }

    /// Brings up a fresh target that answers, and its agent.
    async fn up(&mut self) -> Result<(Vec<Sample>, f64), TrialError> {
        let system = System::up(self.site, &mut self.stages.system).await?;
        let system = self.system.insert(system);
        self.backend.before(self.site, system).await
    }

    /// Offers a rate, and reads what k6 and the node's observer say of it.
    async fn load(
        &mut self,
        number: u32,
        rate: f64,
        settle: f64,
        samples: &mut Vec<Sample>,
    ) -> Result<(), TrialError> {
        let KubernetesBackend {
            cluster, observers, ..
        } = self.backend;
        let site = self.site;
        samples.push(self.one(Subject::Load, Reading::OfferedRequestsPerSecond, rate));
        let system = self.system.as_ref().expect("the target is up");
        let served = system.metrics.requests().await?;
        samples.push(self.one(Subject::Target, Reading::HttpRequestsTotal, served));
        let order = self.order(number, rate, settle);
        // Noted down before, so that an interrupt in between leaves nothing.
        let starter = self.backend.starter();
        let objects = load::objects(&cluster.run, starter, &order);
        self.stages.load.note(objects);
        let outcome = tokio::select! {
            outcome = load::run(cluster, starter, &order) => outcome?,
            error = system.broken(site) => return Err(error.into()),
        };
        let served = system.served(site).await?;
        samples.push(self.one(Subject::Target, Reading::HttpRequestsTotal, served));
        let one = |reading, value| self.one(Subject::Load, reading, value);
        samples.extend(outcome.result.samples(one));
        samples.push(one(Reading::CpuLimitCores, self.backend.load_cores()));
        if let Some(observers) = observers {
            let scene = scene(site, system, &outcome);
            samples.extend(observer::read(cluster, observers, &scene).await?);
        }
        self.stages.load.load_down(&site).await;
        Ok(())
    }

    fn order(&self, number: u32, rate: f64, settle: f64) -> LoadOrder {
        let order = self.backend.order(self.plan, self.site);
        LoadOrder {
            name: format!("{}-s{number}", order.name),
            spec: LoadSpec {
                rate,
                warmup_seconds: settle,
                ..order.spec
            },
            // Its series know no steps.
            remote_write: None,
            ..order
        }
    }

    /// Whether a target of its own survives the load with so much memory.
    async fn survives(
        &mut self,
        number: u32,
        bytes: f64,
        samples: &mut Vec<Sample>,
    ) -> Result<(), TrialError> {
        self.site.limits.memory_bytes = Some(bytes);
        let failure = match self.under_load(number, samples).await {
            Err(error @ (TrialError::Interrupted | TrialError::Record(_))) => Err(error),
            // Whatever fails beside a target that had too little fails because of that.
            Err(error) => {
                let failure = self.failure(is_timeout(&error)).await?;
                failure.map(Some).ok_or(error)
            }
            Ok(failure) => Ok(failure),
        };
        self.system = None;
        self.stages.down(&self.site).await;
        samples.extend(failure?.map(|failure| self.failed(failure)));
        Ok(())
    }

    /// Gives what kept a target from being started at all.
    async fn under_load(
        &mut self,
        number: u32,
        samples: &mut Vec<Sample>,
    ) -> Result<Option<Failure>, TrialError> {
        let site = self.site;
        tokio::select! {
            up = self.up() => up.map(|_| ())?,
            failure = no_sandbox(site) => return Ok(Some(failure)),
        }
        let (rate, warmup) = (self.plan.load.rate, self.plan.warmup_seconds);
        self.load(number, rate, warmup, samples).await?;
        Ok(None)
    }

    /// What became of the target's container, as its kubelet says within a moment.
    async fn failure(&self, timed_out: bool) -> Result<Option<Failure>, ClusterError> {
        let deadline = Instant::now() + SAID;
        loop {
            let pods = targets(self.site).await?;
            let failure = pods.iter().find_map(|pod| failure(pod, timed_out));
            if failure.is_some() || Instant::now() >= deadline {
                return Ok(failure);
            }
            sleep(POLL).await;
        }
    }

    fn failed(&self, failure: Failure) -> Sample {
        match failure {
            Failure::OomKilled => self.one(Subject::Target, Reading::OomKillsTotal, 1.0),
            Failure::Other(how) => Sample {
                name: Some(how),
                ..self.one(Subject::Target, Reading::ContainerFailuresTotal, 1.0)
            },
        }
    }

    fn one(&self, subject: Subject, reading: Reading, value: f64) -> Sample {
        self.backend
            .reading(self.site, Phase::Measure, subject, reading, value)
    }
}

/// The pods of a trial's target.
async fn targets(site: Site<'_>) -> Result<Vec<Pod>, ApiError> {
    let Site {
        cluster, namespace, ..
    } = site;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let run = &cluster.run;
    let selector = run.selector(Some(target::ROLE_NAME), Some(site.trial));
    let listed = pods.list(&ListParams::default().labels(&selector)).await;
    let listed = listed
        .map_err(|error| ApiError::new(format!("list pods in namespace {namespace}"), error))?;
    Ok(listed.items)
}

/// Waits until a kubelet says that it can't make a target's pod: the limit holds for its sandbox
/// too, which is then tried again for as long as the pod stands. Only events tell, so where they
/// may not be read this waits for ever, and the pod's time to be ready passes.
async fn no_sandbox(site: Site<'_>) -> Failure {
    const REASON: &str = "FailedCreatePodSandBox";
    let events: Api<Event> = Api::namespaced(site.cluster.client.clone(), site.namespace);
    let params = ListParams::default().fields(&format!("involvedObject.kind=Pod,reason={REASON}"));
    loop {
        sleep(POLL).await;
        let (Ok(pods), Ok(events)) = (targets(site).await, events.list(&params).await) else {
            continue;
        };
        let is_about = |event: &Event| {
            let uid = &event.involved_object.uid;
            pods.iter().any(|pod| pod.metadata.uid == *uid)
        };
        if let Some(event) = events.items.into_iter().find(is_about) {
            return told(REASON, event.message.as_deref());
        }
    }
}

/// What became of a container that had too little memory.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Failure {
    /// The kernel ended it.
    OomKilled,
    /// It could not be started, ended by itself, or never became ready: how.
    Other(String),
}

fn is_timeout(error: &TrialError) -> bool {
    let TrialError::Cluster(ClusterError::Wait(error)) = error else {
        return false;
    };
    matches!(error, WaitError::TimedOut { .. })
}

/// How the container of a target's pod failed; none where the pod has no node, and where it
/// has not failed and nothing was waited for in vain.
fn failure(pod: &Pod, timed_out: bool) -> Option<Failure> {
    let status = pod.status.as_ref()?;
    let holds = |name: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.any(|one| one.type_ == name && one.status == "True")
    };
    let mut containers = status.container_statuses.iter().flatten();
    if let Some(failure) = containers.find_map(container_failure) {
        return Some(failure);
    }
    (timed_out && holds("PodScheduled") && !holds("Ready"))
        .then(|| Failure::Other("it was not ready in time".into()))
}

fn container_failure(container: &ContainerStatus) -> Option<Failure> {
    let states = [&container.state, &container.last_state];
    let states = states.into_iter().flatten();
    let ended = states.clone().find_map(|state| state.terminated.as_ref());
    if let Some(ended) = ended {
        return Some(match ended.reason.as_deref() {
            Some("OOMKilled") => Failure::OomKilled,
            Some("Error") | None => {
                Failure::Other(format!("it ended with code {}", ended.exit_code))
            }
            Some(reason) => told(reason, ended.message.as_deref()),
        });
    }
    let mut waiting = states.filter_map(|state| state.waiting.as_ref());
    waiting.find_map(|waiting| match waiting.reason.as_deref() {
        Some(reason @ ("CreateContainerError" | "RunContainerError")) => {
            Some(told(reason, waiting.message.as_deref()))
        }
        _ => None,
    })
}

fn told(reason: &str, message: Option<&str>) -> Failure {
    Failure::Other(match message {
        Some(message) => format!("{reason}: {}", message.trim()),
        None => reason.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(state: Value, last: Value, ready: bool) -> Pod {
        let status = |holds| if holds { "True" } else { "False" };
        serde_json::from_value(json!({"metadata": {"name": "target-0"}, "status": {
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Ready", "status": status(ready)},
            ],
            "containerStatuses": [{
                "name": "target", "image": "app", "imageID": "", "ready": ready,
                "restartCount": 1, "state": state, "lastState": last,
            }],
        }}))
        .unwrap()
    }

    fn other(how: &str) -> Option<Failure> {
        Some(Failure::Other(how.into()))
    }

    #[test]
    fn what_became_of_a_container() {
        let running = json!({"running": {}});
        let ended =
            |reason: &str, code: i32| json!({"terminated": {"reason": reason, "exitCode": code}});
        let waiting =
            |reason: &str| json!({"waiting": {"reason": reason, "message": "no memory\n"}});
        for (state, last, ready, expected) in [
            (running.clone(), json!({}), true, None),
            (
                running.clone(),
                json!({}),
                false,
                other("it was not ready in time"),
            ),
            (
                running.clone(),
                ended("OOMKilled", 137),
                true,
                Some(Failure::OomKilled),
            ),
            (
                waiting("CrashLoopBackOff"),
                ended("OOMKilled", 137),
                false,
                Some(Failure::OomKilled),
            ),
            (
                ended("Error", 1),
                json!({}),
                false,
                other("it ended with code 1"),
            ),
            (
                ended("StartError", 128),
                json!({}),
                false,
                other("StartError"),
            ),
            (
                waiting("RunContainerError"),
                json!({}),
                false,
                other("RunContainerError: no memory"),
            ),
            (
                waiting("ContainerCreating"),
                json!({}),
                false,
                other("it was not ready in time"),
            ),
        ] {
            assert_eq!(failure(&pod(state, last, ready), true), expected);
        }
        let starting = pod(
            json!({"waiting": {"reason": "ContainerCreating"}}),
            json!({}),
            false,
        );
        assert_eq!(failure(&starting, false), None);
    }

    /// What no node can hold says nothing about a limit.
    #[test]
    fn a_pod_without_a_node_has_not_failed() {
        let pending = json!({"metadata": {}, "status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "message": "Insufficient memory"}]}});
        assert_eq!(
            failure(&serde_json::from_value(pending).unwrap(), true),
            None
        );
    }
}
