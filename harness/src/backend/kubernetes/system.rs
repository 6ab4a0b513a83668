//! One arm in the cluster: brought up, asked whether it works, watched, taken down.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams};
use kube::core::DynamicObject;
use serde_json::json;

use super::client::{ApiError, is_transient, reason};
use super::groups::{self, Group, GroupError};
use super::load::job;
use super::load::watch::role_pod;
use super::manifest::{self, Document};
use super::object::{OWNER, ROLE, TRIAL, object};
use super::target::{self, Place};
use super::wait::{self, last_words, trouble};
use super::{Cluster, ClusterError, RolePod, apply, intake};
use crate::backend::TrialError;
use crate::experiment::Limits;
use crate::intake::Addresses;
use crate::observer::delivered::DeliveredReader;
use crate::observer::prometheus::Endpoint;
use crate::observer::target::TargetMetrics;
use crate::observer::telemetry::TelemetryReader;
use crate::sample::Subject;
use crate::scenario::kubernetes::Secret;
use crate::scenario::placeholder::{self, Placeholder};
use crate::scenario::{Scenario, Start, Telemetry};

/// How long an image may take to be pulled and a container to start, besides what the program itself takes.
const START: Duration = Duration::from_secs(60);
/// Time between two looks at pods under load.
const WATCH: Duration = Duration::from_secs(2);
/// How long the API server may be away while load runs.
const AWAY: Duration = Duration::from_secs(60);

/// Where an arm is brought up.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The arm.
    pub arm: &'a Scenario,
    /// The documents of its agent's manifests.
    pub documents: &'a [Document],
    /// The trial, counted from 1; 0 before the first.
    pub trial: u32,
    /// The namespace.
    pub namespace: &'a str,
    /// The nodes that the arm has to itself.
    pub group: &'a Group,
    /// The nodes of the intake.
    pub monitoring: &'a Group,
    /// What the target may use.
    pub limits: Limits,
}

impl Site<'_> {
    fn place(&self) -> Place<'_> {
        Place {
            run: &self.cluster.run,
            namespace: self.namespace,
            trial: self.trial,
            group: self.group,
            limits: self.limits,
        }
    }

    /// What selects every pod of the trial.
    pub fn selector(&self) -> String {
        self.cluster.run.selector(None, Some(self.trial))
    }

    /// Leaves the arm's nodes to nobody: while it is measured on another, nothing of it may be placed here.
    pub async fn vacate(&self) {
        let Cluster { client, run, .. } = self.cluster;
        for node in &self.group.nodes {
            match groups::assign(client, node, &run.owner, None).await {
                Ok(()) => {}
                // Said already, by what it ended.
                Err(error @ GroupError::Lost { .. }) => log::debug!("{error}"),
                Err(error) => log::warn!("node {node} stays {}'s: {error}", self.arm.name),
            }
        }
    }
}

/// What a trial applied, the way it is taken down again.
#[derive(Default)]
pub struct Stage {
    objects: Vec<DynamicObject>,
}

impl Stage {
    async fn apply(
        &mut self,
        cluster: &Cluster,
        objects: Vec<DynamicObject>,
    ) -> Result<(), ClusterError> {
        for object in objects {
            // Noted down before, so that an interrupt in between leaves nothing.
            self.objects.push(object.clone());
            apply::apply(cluster, &object).await?;
        }
        Ok(())
    }

    /// Notes down what somebody else is about to create for the trial.
    pub fn note(&mut self, objects: Vec<DynamicObject>) {
        self.objects.extend(objects);
    }

    /// Deletes what was applied and noted down, the load first, and waits until the trial's pods are gone.
    pub async fn down(&mut self, site: &Site<'_>) {
        self.down_to(site, &site.selector()).await;
    }

    /// The same, of a stage that holds load alone: the trial's other pods stay.
    pub async fn load_down(&mut self, site: &Site<'_>) {
        let pods = site.cluster.run.selector(Some(job::ROLE), Some(site.trial));
        self.down_to(site, &pods).await;
    }

    async fn down_to(&mut self, site: &Site<'_>, pods: &str) {
        let objects = std::mem::take(&mut self.objects);
        if objects.is_empty() {
            return;
        }
        let down = apply::delete_all(site.cluster, &objects, pods);
        if let Err(error) = down.await {
            log::warn!("cannot take down {}: {error}", site.arm.name);
        }
    }
}

/// A target that answers, and its agent.
pub struct System {
    /// The target's address, as pods reach it.
    pub url: String,
    /// The target's pod.
    pub target: RolePod,
    /// The agent's pods on the target's node.
    pub agent: Vec<RolePod>,
    /// Its pods on other nodes, which are no part of what a node pays.
    pub elsewhere: Vec<RolePod>,
    /// The intake's, where there is one.
    pub intake: Option<RolePod>,
    /// The target's request counter.
    pub metrics: TargetMetrics,
    /// The agent's own count of requests, where it says how it counts.
    pub telemetry: Option<TelemetryReader>,
    /// What was sent to the intake, where there is one.
    pub delivered: Option<DeliveredReader>,
}

/// What an arm applies, in groups that are waited for one after another.
pub struct Objects {
    /// What its agent sends to.
    pub intake: Vec<DynamicObject>,
    /// Its agent.
    pub agent: Vec<DynamicObject>,
    /// Whether the agent comes before the target.
    pub agent_first: bool,
    /// Its target.
    pub target: Vec<DynamicObject>,
}

/// Everything that an arm applies. Pure, so that a plan can show it.
///
/// # Errors
/// When a manifest asks for what is not known in a cluster, or a Secret's value is not there.
pub fn objects(
    place: &Place<'_>,
    images: &super::images::Images,
    arm: &Scenario,
    documents: &[Document],
    monitoring: &Group,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Objects, ClusterError> {
    let addresses = arm
        .uses_intake()
        .then(|| intake::addresses(place.namespace));
    let value = |word| word_value(word, arm, place.namespace, addresses.as_ref());
    let env: BTreeMap<String, String> = target::environment(arm)
        .iter()
        .map(|(name, text)| (name.clone(), placeholder::fill(text, value)))
        .collect();
    let said = arm.kubernetes.clone().unwrap_or_default();
    let mut agent = Vec::new();
    for secret in &said.secrets {
        let mut data = serde_json::Map::new();
        for (key, name) in &secret.variables {
            let value = secret_value(arm, secret, name, &variable)?;
            data.insert(key.clone(), value.into());
        }
        agent.push(object(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": place.metadata(&secret.name, "agent"),
            "stringData": data,
        })));
    }
    agent.extend(manifest::objects(
        documents,
        &manifest::Patch {
            run: place.run,
            namespace: place.namespace,
            trial: Some(place.trial),
            group: place.group,
            images,
            replaced: &said.images,
        },
        value,
    )?);
    // One that is watched from outside comes after what it watches, unless the target sends to it.
    let agent_first = arm.agent.as_ref().is_some_and(|agent| {
        let early = |process: &crate::scenario::AgentProcess| process.start == Start::BeforeTarget;
        agent.processes.is_empty() || agent.processes.iter().any(early)
    });
    Ok(Objects {
        intake: match &addresses {
            Some(_) => intake::objects(place, images, monitoring),
            None => Vec::new(),
        },
        agent,
        agent_first,
        target: target::objects(place, arm, images, &env),
    })
}

/// What a variable of the environment holds for a Secret.
fn secret_value(
    arm: &Scenario,
    secret: &Secret,
    name: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<String, ClusterError> {
    variable(name).ok_or_else(|| {
        ClusterError::Missing(format!(
            "{} needs the environment variable {name}, for the Secret {}; set it and start again",
            arm.name, secret.name
        ))
    })
}

/// What an arm lacks to run in a cluster, as far as that can be told without one: what a run of all
/// scenarios goes by.
pub fn missing(
    arm: &Scenario,
    images: &super::images::Images,
    variable: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut errors = Vec::new();
    errors.extend(manifest::documents(arm).err());
    for secret in arm.kubernetes.iter().flat_map(|said| &said.secrets) {
        let values = secret.variables.values();
        errors.extend(values.filter_map(|name| secret_value(arm, secret, name, &variable).err()));
    }
    let mut missing: Vec<String> = errors.iter().map(ToString::to_string).collect();
    missing.extend(target::lacks_image(arm, images));
    missing
}

fn word_value(
    word: Placeholder,
    arm: &Scenario,
    namespace: &str,
    intake: Option<&Addresses>,
) -> String {
    let port = target::port(arm);
    match word {
        Placeholder::TargetUrl => Some(url(arm, namespace)),
        Placeholder::TargetPort => Some(port.to_string()),
        Placeholder::TargetRoute => Some(arm.load.route().to_owned()),
        Placeholder::Copies => {
            let copies = arm.agent.as_ref().and_then(|agent| agent.copies);
            Some(copies.unwrap_or(1).to_string())
        }
        Placeholder::IntakeOtlpHttp
        | Placeholder::IntakeOtlpGrpc
        | Placeholder::IntakeDatadog
        | Placeholder::IntakeStatsd
        | Placeholder::IntakeStatsdPort => {
            let word = intake.and_then(|addresses| addresses.word(word));
            word.map(str::to_owned)
        }
        // Refused before, with where they stand.
        Placeholder::TargetPid
        | Placeholder::TargetCgroup
        | Placeholder::AgentPort
        | Placeholder::Scenarios => None,
    }
    .unwrap_or_default()
}

/// The target's address, as pods reach it.
pub fn url(arm: &Scenario, namespace: &str) -> String {
    format!(
        "http://{}.{namespace}.svc:{}",
        target::NAME,
        target::port(arm)
    )
}

impl System {
    /// Gives the arm its nodes, applies its objects in their order, and waits until all of them are ready.
    ///
    /// # Errors
    /// When something can't be applied or does not become ready.
    pub async fn up(site: Site<'_>, stage: &mut Stage) -> Result<System, ClusterError> {
        let Site { cluster, arm, .. } = site;
        for node in &site.group.nodes {
            let owner = &cluster.run.owner;
            groups::assign(&cluster.client, node, owner, Some(&site.group.name)).await?;
        }
        let place = site.place();
        let objects = objects(
            &place,
            &cluster.images,
            arm,
            site.documents,
            site.monitoring,
            |name| std::env::var(name).ok(),
        )?;
        let own = START + Duration::from_secs_f64(arm.target.startup_timeout_seconds);
        let limit = arm.agent.as_ref().map_or(own, |agent| {
            START + Duration::from_secs_f64(agent.startup_timeout_seconds)
        });
        let uses_intake = !objects.intake.is_empty();
        stage.apply(cluster, objects.intake.clone()).await?;
        site.ready(workloads(&objects.intake), intake::NAME, own)
            .await?;
        let awaited = site.awaited(&objects.agent)?;
        for is_agent in [objects.agent_first, !objects.agent_first] {
            if is_agent {
                stage.apply(cluster, objects.agent.clone()).await?;
                site.ready(awaited.clone(), "agent", limit).await?;
            } else {
                stage.apply(cluster, objects.target.clone()).await?;
                site.ready(workloads(&objects.target), target::ROLE_NAME, own)
                    .await?;
            }
        }
        let pods = site.pods().await?;
        let one = |subject| pods.iter().find(|pod| pod.subject == subject).cloned();
        let target = one(Subject::Target).ok_or_else(|| {
            ClusterError::Missing("the target's pod went away as soon as it was ready".into())
        })?;
        let intake = one(Subject::Intake);
        let agent = pods.iter().filter(|pod| pod.subject == Subject::Agent);
        let (agent, elsewhere): (Vec<RolePod>, Vec<RolePod>) =
            agent.cloned().partition(|pod| pod.node == target.node);
        let port = target::port(arm);
        let serves = |pods: &[String], port, path: &str| {
            Endpoint::pods(cluster.client.clone(), site.namespace, pods, port, path)
        };
        let metrics = serves(std::slice::from_ref(&target.name), port, "/metrics");
        let counts = intake
            .as_ref()
            .map(|pod| serves(std::slice::from_ref(&pod.name), intake::METRICS, "/metrics"));
        debug_assert_eq!(uses_intake, counts.is_some());
        let mut system = System {
            url: url(arm, site.namespace),
            metrics: TargetMetrics::at(metrics, arm.load.route()),
            telemetry: None,
            delivered: counts.clone().map(DeliveredReader::at),
            target,
            agent,
            elsewhere,
            intake,
        };
        if let Some(agent) = &arm.agent
            && let Some(telemetry) = &agent.telemetry
        {
            let endpoint = match (telemetry, counts) {
                (Telemetry::Intake(_), counts) => counts,
                (Telemetry::Prometheus(_), _) => site.agent_metrics().await?,
            };
            let fill = |text: &str| {
                placeholder::fill(text, |word| word_value(word, arm, site.namespace, None))
            };
            if let Some(endpoint) = endpoint {
                let reader = TelemetryReader::at(endpoint, telemetry, fill);
                let limit = Duration::from_secs_f64(agent.startup_timeout_seconds);
                served(arm, &reader, limit).await?;
                system.telemetry = Some(reader);
            }
        }
        Ok(system)
    }

    /// Has the target answer a checked request, and waits until the agent
    /// accounts for one: the proof that it works before any load.
    ///
    /// Gives what the agent counts then, and 0 when it saw nothing in its time.
    ///
    /// # Errors
    /// When the answer is not what was asked for, or the agent does not answer.
    pub async fn prove(&self, site: Site<'_>) -> Result<Option<f64>, TrialError> {
        self.check(site).await?;
        let (Some(agent), Some(reader)) = (&site.arm.agent, &self.telemetry) else {
            return Ok(None);
        };
        let limit = Duration::from_secs_f64(agent.startup_timeout_seconds);
        let ask = async || self.check(site).await.map_err(TrialError::from);
        reader.proven(limit, ask).await.map(Some)
    }

    /// Sends one request as the load will and looks at the answer.
    async fn check(&self, site: Site<'_>) -> Result<(), ClusterError> {
        let path = &site.arm.load.path;
        let port = target::port(site.arm);
        let pods = std::slice::from_ref(&self.target.name);
        let client = site.cluster.client.clone();
        let answer = Endpoint::pods(client, site.namespace, pods, port, path)
            .text()
            .await;
        let answer = answer.map_err(|error| {
            ClusterError::Missing(format!(
                "the target does not answer {path}: {}",
                error.source
            ))
        })?;
        let value = serde_json::from_str::<serde_json::Value>(&answer);
        if !value.is_ok_and(|value| value.is_array()) {
            return Err(ClusterError::Missing(format!(
                "the target answers {path} with something else than a JSON array"
            )));
        }
        Ok(())
    }

    /// Looks at the pods until something is no more what the trial began with.
    pub async fn broken(&self, site: Site<'_>) -> ClusterError {
        let mut answered = Instant::now();
        loop {
            tokio::time::sleep(WATCH).await;
            match self.unbroken(site).await {
                Ok(()) => answered = Instant::now(),
                Err(ClusterError::Api(error))
                    if is_transient(&error.source) && answered.elapsed() < AWAY =>
                {
                    log::debug!("{error}");
                }
                Err(error) => return error,
            }
        }
    }

    /// What the target has answered, once the load is over and everything has stood it.
    ///
    /// # Errors
    /// When something has not, or the target does not say.
    pub async fn served(&self, site: Site<'_>) -> Result<f64, TrialError> {
        let served = self.metrics.requests().await;
        // Asked afterwards: the end of a container is known a moment late, and one that was started
        // anew answers, too.
        self.unbroken(site).await?;
        Ok(served?)
    }

    /// Whether every pod is still the one that the trial began with, was never
    /// restarted, and is on a node that is ready.
    ///
    /// # Errors
    /// With what is not.
    pub async fn unbroken(&self, site: Site<'_>) -> Result<(), ClusterError> {
        let pods: Api<Pod> = Api::namespaced(site.cluster.client.clone(), site.namespace);
        for expected in std::iter::once(&self.target).chain(&self.agent) {
            let RolePod {
                subject,
                name,
                uid,
                node,
                ..
            } = expected;
            let found = pods.get_opt(name).await;
            let found = found.map_err(|error| {
                ApiError::new(format!("get pod {}/{name}", site.namespace), error)
            })?;
            let lost = |how: &str| {
                Err(ClusterError::Missing(format!(
                    "the {subject}'s pod {name} on node {node} {how} while it was measured"
                )))
            };
            let Some(pod) = found else {
                return lost("was deleted");
            };
            if pod.metadata.uid.as_deref() != Some(uid) {
                return lost("was replaced by another");
            }
            if pod.metadata.deletion_timestamp.is_some() {
                return lost("was deleted");
            }
            if let Some((trouble, crashed)) = trouble(&pod, Duration::MAX) {
                let tail = match crashed {
                    Some(container) => last_words(&pods, &pod, &container).await,
                    None => String::new(),
                };
                return Err(ClusterError::Missing(format!(
                    "the {subject} {}{tail}",
                    trouble.text
                )));
            }
        }
        let nodes: Api<Node> = Api::all(site.cluster.client.clone());
        let node = &self.target.node;
        let found = nodes.get(node).await;
        let found = found.map_err(|error| ApiError::new(format!("get node {node}"), error))?;
        let conditions = found.status.unwrap_or_default().conditions;
        let ready = conditions
            .into_iter()
            .flatten()
            .find(|one| one.type_ == "Ready");
        match ready {
            Some(ready) if ready.status == "True" => Ok(()),
            other => Err(ClusterError::Missing(format!(
                "node {node} is not ready any more: {}",
                other
                    .and_then(|condition| condition.message)
                    .unwrap_or_else(|| "nobody says why".into())
            ))),
        }
    }
}

/// Waits until an agent's counter can be read: its pods may be ready before they serve it.
async fn served(
    arm: &Scenario,
    reader: &TelemetryReader,
    limit: Duration,
) -> Result<(), ClusterError> {
    if tokio::time::timeout(limit, reader.ready()).await.is_ok() {
        return Ok(());
    }
    match reader.requests().await {
        Ok(_) => Ok(()),
        Err(error) => Err(ClusterError::Missing(format!(
            "the agent of {} did not serve {} within {limit:?} (`agent.startup_timeout`): {}",
            arm.name,
            reader.describe(),
            error.source
        ))),
    }
}

fn is_workload(object: &DynamicObject) -> bool {
    let kind = object
        .types
        .as_ref()
        .map_or("", |types| types.kind.as_str());
    ["Deployment", "DaemonSet", "StatefulSet", "Job", "Pod"].contains(&kind)
}

impl Site<'_> {
    /// What of an agent's objects must be ready: what the scenario says, or every workload.
    fn awaited(&self, objects: &[DynamicObject]) -> Result<Vec<DynamicObject>, ClusterError> {
        let said = self.arm.kubernetes.as_ref();
        let ready = said.map(|kubernetes| kubernetes.ready.as_slice());
        let ready = ready.unwrap_or_default();
        if ready.is_empty() {
            return Ok(workloads(objects));
        }
        ready
            .iter()
            .map(|wanted| {
                let (kind, name) = wanted.split_once('/').unwrap_or_default();
                let found = objects.iter().find(|object| {
                    let own = object.types.as_ref().map(|types| types.kind.to_lowercase());
                    own.as_deref() == Some(kind) && object.metadata.name.as_deref() == Some(name)
                });
                found.cloned().or_else(|| made_by_others(kind, name, self.namespace)).ok_or_else(|| {
                    ClusterError::Missing(format!(
                        "`kubernetes.ready` of {} names {wanted}, which is in none of its manifests",
                        self.arm.name
                    ))
                })
            })
            .collect()
    }

    async fn ready(
        &self,
        objects: Vec<DynamicObject>,
        role: &str,
        limit: Duration,
    ) -> Result<(), ClusterError> {
        let selector = self.cluster.run.selector(Some(role), Some(self.trial));
        for object in objects {
            let api = apply::api(self.cluster, &object).await?;
            wait::ready(self.cluster, &object, &api, &selector, limit).await?;
        }
        Ok(())
    }

    /// Every pod of the trial, with its containers. One that carries no role is
    /// an operator's work, and the agent's; one that has done its work costs nothing any more.
    async fn pods(&self) -> Result<Vec<RolePod>, ClusterError> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), self.namespace);
        let listed = pods.list(&ListParams::default()).await;
        let listed = listed.map_err(|error| {
            ApiError::new(format!("list pods in namespace {}", self.namespace), error)
        })?;
        let trial = self.trial.to_string();
        let roles = listed.items.iter().filter_map(|pod| {
            let labels = pod.metadata.labels.clone().unwrap_or_default();
            let of_run = labels.get(OWNER) == Some(&self.cluster.run.owner);
            let phase = pod.status.as_ref()?.phase.as_deref();
            if (of_run && labels.get(TRIAL) != Some(&trial)) || phase == Some("Succeeded") {
                return None;
            }
            let subject = match labels.get(ROLE).map(String::as_str) {
                Some(target::ROLE_NAME) => Subject::Target,
                Some(intake::NAME) => Subject::Intake,
                Some("agent") | None => Subject::Agent,
                Some(_) => return None,
            };
            Some(role_pod(pod, subject))
        });
        Ok(roles.collect())
    }

    /// Who serves the agent's own counter.
    async fn agent_metrics(&self) -> Result<Option<Endpoint>, ClusterError> {
        let said = self.arm.kubernetes.as_ref();
        let Some(metrics) = said.and_then(|kubernetes| kubernetes.metrics.as_ref()) else {
            return Ok(None);
        };
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), self.namespace);
        let listed = pods
            .list_metadata(&ListParams::default().labels(&metrics.pods))
            .await;
        let listed = listed.map_err(|error| {
            ApiError::new(format!("list pods in namespace {}", self.namespace), error)
        })?;
        let names: Vec<String> = listed
            .items
            .into_iter()
            .filter_map(|pod| pod.metadata.name)
            .collect();
        if names.is_empty() {
            return Err(ClusterError::Missing(format!(
                "no pod has the labels {} that `kubernetes.metrics.pods` of {} asks for",
                metrics.pods, self.arm.name
            )));
        }
        let client = self.cluster.client.clone();
        Ok(Some(Endpoint::pods(
            client,
            self.namespace,
            &names,
            metrics.port,
            &metrics.path,
        )))
    }
}

/// Those of the objects that have pods.
fn workloads(objects: &[DynamicObject]) -> Vec<DynamicObject> {
    let workloads = objects.iter().filter(|one| is_workload(one));
    workloads.cloned().collect()
}

/// A workload that an operator makes, of which only the name is known.
fn made_by_others(kind: &str, name: &str, namespace: &str) -> Option<DynamicObject> {
    let (version, kind) = match kind {
        "deployment" => ("apps/v1", "Deployment"),
        "daemonset" => ("apps/v1", "DaemonSet"),
        "statefulset" => ("apps/v1", "StatefulSet"),
        "job" => ("batch/v1", "Job"),
        "pod" => ("v1", "Pod"),
        _ => return None,
    };
    Some(object(json!({
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
    })))
}

/// The images that a pod's containers run, with the digests that the runtime knows them by.
pub async fn images(cluster: &Cluster, pods: &[&RolePod]) -> Vec<(String, String)> {
    let mut images = Vec::new();
    for pod in pods {
        let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &pod.namespace);
        match api.get(&pod.name).await {
            Ok(found) => {
                let status = found.status.unwrap_or_default();
                for container in status.container_statuses.into_iter().flatten() {
                    images.push((container.image, container.image_id));
                }
            }
            Err(error) => log::debug!("cannot get pod {}: {}", pod.name, reason(&error)),
        }
    }
    images
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::kubernetes::images::Images;
    use crate::backend::kubernetes::mock::{self, Asked};
    use crate::scenario::{PrometheusCounter, wire};
    use std::path::Path;

    fn arm(text: &str) -> Scenario {
        wire::parse(Path::new("flora.yaml"), text).unwrap()
    }

    #[test]
    fn what_an_arm_lacks_is_told_without_a_cluster() {
        let keyed = "question: q\ntarget: {program: nobodys-app}\nkubernetes:\n  secrets: [{name: key, variables: {k: KEY}}]\n";
        let lacks = |variable: fn(&str) -> Option<String>| {
            let missing = missing(&arm(keyed), &Images::default(), variable);
            missing.join("; ")
        };
        let both = lacks(|_| None);
        assert!(both.contains("the environment variable KEY"), "{both}");
        assert!(both.contains("no image of nobodys-app"), "{both}");
        let image = lacks(|name| (name == "KEY").then(|| "secret".to_owned()));
        assert!(
            !image.contains("KEY") && image.contains("no image"),
            "{image}"
        );
        let plain = missing(&arm("question: q\n"), &Images::default(), |_| None);
        assert_eq!(plain, [""; 0]);
    }

    /// What comes of waiting so long for a counter that is refused so often.
    async fn waited(refused: usize, limit: Duration) -> Result<(), ClusterError> {
        let (cluster, _) = mock::cluster(move |_: &Asked, before| {
            if before < refused {
                return mock::refusal(503, "ServiceUnavailable", "connection refused");
            }
            (200, "seen_total 0\n".to_owned())
        })
        .await;
        let pods = ["flora-agent-0".to_owned()];
        let endpoint = Endpoint::pods(cluster.client, "bench", &pods, 9464, "/metrics");
        let counter = Telemetry::Prometheus(PrometheusCounter {
            url: String::new(),
            metric: "seen_total".into(),
            labels: BTreeMap::new(),
            settle_seconds: 0.0,
        });
        let reader = TelemetryReader::at(endpoint, &counter, str::to_owned);
        served(&arm("question: q\n"), &reader, limit).await
    }

    #[tokio::test]
    async fn an_agent_may_serve_its_counter_after_it_is_ready() {
        let waits = waited(2, Duration::from_secs(30)).await;
        assert!(waits.is_ok(), "{waits:?}");
        let error = waited(usize::MAX, Duration::from_millis(300)).await;
        let error = error.unwrap_err().to_string();
        // The client tries a 503 again by itself, so that time runs out before the reason is told.
        for part in ["the agent of flora", "seen_total", "no answer within 5s"] {
            assert!(error.contains(part), "{part} not in: {error}");
        }
    }
}
