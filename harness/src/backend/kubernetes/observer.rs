//! The node observer: the harness's own image on every node that is measured,
//! reading control groups once a second.
//!
//! # Layout
//! - [`objects`]: its DaemonSet
//! - [`deploy`], [`read`]: what is asked of a cluster
//! - [`placed`]: readings → samples, without a cluster

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::try_join_all;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, ListParams};
use kube::core::DynamicObject;
use serde_json::json;
use tokio::time::{Instant, sleep};

use self::placed::NodeLog;
use super::client::{ApiError, is_transient};
use super::images::{HARNESS, Images};
use super::load::watch::role_pod;
use super::object::{GROUP, ROLE, Run, USER, container_security, object, pod_security};
use super::{Cluster, ClusterError, RolePod, Scene, apply, proxy};
use crate::clock::unix_seconds;
use crate::observe::{About, NodeReading};
use crate::sample::{Sample, Subject};

pub mod placed;

/// The DaemonSet, and what its objects are for in their labels.
pub const NAME: &str = "observer";
/// Where it listens.
pub const PORT: u16 = 9101;
/// How long it may take to run on every node.
const START: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(250);
/// How often a node's clock is asked; the quickest answer counts.
const ASKED: usize = 3;
/// Readings before the window that are fetched besides, in seconds.
const BEFORE: f64 = 3.0;
/// Answers of up to two minutes each that are fetched of one window: an hour's.
const ANSWERS: usize = 30;

/// Observers that run, one on each node.
#[derive(Clone, Debug, Default)]
pub struct Observers {
    /// Their pods, by node.
    pub pods: BTreeMap<String, RolePod>,
    /// Where CPU time comes from, by node: `cgroup v1`, `cgroup v2`.
    pub sources: BTreeMap<String, String>,
}

/// Every object of the observers: they run on all nodes that carry a group.
pub fn objects(run: &Run, images: &Images) -> Vec<DynamicObject> {
    let labels = run.labels(NAME, None);
    let host = |name: &str, path: &str| json!({"name": name, "hostPath": {"path": path, "type": "Directory"}});
    let mount = |name: &str, path: &str| json!({"name": name, "mountPath": path, "readOnly": true});
    let pod = json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 2,
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": GROUP, "operator": "Exists"}]}],
        }}},
        "tolerations": [{"key": GROUP, "operator": "Exists"}],
        "securityContext": pod_security(USER),
        "containers": [{
            "name": NAME,
            "image": images.of(HARNESS),
            "imagePullPolicy": "IfNotPresent",
            "args": [
                "observe",
                format!("--listen=0.0.0.0:{PORT}"),
                "--root=/host/cgroup",
                // Agents bring namespaces of their own, and a node that is
                // kept free runs few other pods: all are read.
                "--logs=/host/pods",
            ],
            "ports": [{"name": "readings", "containerPort": PORT}],
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 2},
            "resources": {
                "requests": {"cpu": "20m", "memory": "32Mi"},
                "limits": {"memory": "128Mi"},
            },
            "securityContext": container_security(),
            "volumeMounts": [mount("cgroup", "/host/cgroup"), mount("pods", "/host/pods")],
        }],
        "volumes": [host("cgroup", "/sys/fs/cgroup"), host("pods", "/var/log/pods")],
    });
    vec![object(json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": NAME, "namespace": run.namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": {ROLE: NAME}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }))]
}

/// Applies the observers and waits until each of these nodes has one that answers. Where that fails,
/// none stays: one that comes too late would cost what nobody accounts for.
///
/// # Errors
/// When policy forbids access to the host, or one does not start; the caller
/// goes on with cAdvisor's figures and says so.
pub async fn deploy(cluster: &Cluster, nodes: &[String]) -> Result<Observers, ClusterError> {
    let objects = objects(&cluster.run, &cluster.images);
    let started = start(cluster, &objects, nodes).await;
    if started.is_err() {
        for object in &objects {
            if let Err(error) = apply::delete(cluster, object).await {
                log::warn!("the node observers stay until the run's end: {error}");
            }
        }
    }
    started
}

async fn start(
    cluster: &Cluster,
    objects: &[DynamicObject],
    nodes: &[String],
) -> Result<Observers, ClusterError> {
    for object in objects {
        apply::apply(cluster, object).await?;
    }
    let deadline = Instant::now() + START;
    let mut observers = Observers::default();
    loop {
        let listed = list(cluster).await?;
        observers.pods = running(&listed);
        let missing: Vec<&String> = nodes
            .iter()
            .filter(|node| !observers.pods.contains_key(*node))
            .collect();
        if missing.is_empty() {
            break;
        }
        let why = refusal(cluster).await;
        if Instant::now() >= deadline || (why.is_some() && listed.is_empty()) {
            let missing: Vec<&str> = missing.into_iter().map(String::as_str).collect();
            return Err(ClusterError::Observe(format!(
                "no observer answers on {}: {}",
                missing.join(", "),
                why.or_else(|| state(&listed))
                    .unwrap_or_else(|| "nobody says why".into())
            )));
        }
        sleep(POLL).await;
    }
    let asked = observers.pods.iter().map(async |(node, pod)| {
        let about = about(cluster, pod).await?;
        Ok::<_, ClusterError>((node.clone(), about.cgroups))
    });
    observers.sources = try_join_all(asked).await?.into_iter().collect();
    Ok(observers)
}

/// The observers' pods; none while the API server is away.
async fn list(cluster: &Cluster) -> Result<Vec<Pod>, ClusterError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.run.namespace);
    let params = ListParams::default().labels(&cluster.run.selector(Some(NAME), None));
    match pods.list(&params).await {
        Ok(listed) => Ok(listed.items),
        Err(error) if is_transient(&error) => Ok(Vec::new()),
        Err(error) => Err(ApiError::new("list the observers' pods", error).into()),
    }
}

/// Those that run, by node.
fn running(pods: &[Pod]) -> BTreeMap<String, RolePod> {
    let ready = pods.iter().filter(|pod| is_ready(pod));
    ready
        .map(|pod| role_pod(pod, Subject::Harness))
        .map(|pod| (pod.node.clone(), pod))
        .collect()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// Why the DaemonSet's pods are refused, as its events have it: admission
/// forbids the host's directories, most likely.
async fn refusal(cluster: &Cluster) -> Option<String> {
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.run.namespace);
    let selector =
        format!("involvedObject.kind=DaemonSet,involvedObject.name={NAME},reason=FailedCreate");
    let listed = events.list(&ListParams::default().fields(&selector)).await;
    listed.ok()?.items.pop()?.message
}

/// What the first pod that does not run says.
fn state(pods: &[Pod]) -> Option<String> {
    pods.iter().find(|pod| !is_ready(pod)).and_then(|pod| {
        let status = pod.status.as_ref()?;
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let containers = status.container_statuses.iter().flatten();
        let mut states = containers.filter_map(|container| container.state.as_ref());
        let told = states.find_map(|state| {
            let waiting = state.waiting.as_ref().map(|it| (&it.reason, &it.message));
            let ended = state
                .terminated
                .as_ref()
                .map(|it| (&it.reason, &it.message));
            let (reason, message) = waiting.or(ended)?;
            let text = |part: &Option<String>| part.clone().unwrap_or_default();
            Some(format!("{}: {}", text(reason), text(message)))
        });
        let told = told.or(status.message.clone()).or(status.phase.clone())?;
        Some(format!("pod {name}: {told}"))
    })
}

/// A trial's readings: both edges of the window, and one a second between them,
/// of every pod of the scene and of the target's node.
///
/// # Errors
/// When an observer does not answer, or has no readings of a pod in the window.
pub async fn read(
    cluster: &Cluster,
    observers: &Observers,
    scene: &Scene,
) -> Result<Vec<Sample>, ClusterError> {
    // One may have been put on a node since, or in another's place.
    let mut pods = running(&list(cluster).await?);
    for (node, pod) in &observers.pods {
        pods.entry(node.clone()).or_insert_with(|| pod.clone());
    }
    // Nodes may share a machine, and then all their observers' cost is that machine's.
    let mut clocks = BTreeMap::new();
    for (node, pod) in &pods {
        match clock(cluster, pod).await {
            Ok(clock) => {
                clocks.insert(node.clone(), (pod, clock));
            }
            // Another node's is not needed, or missed where it is.
            Err(error) if *node != scene.node => log::warn!("{error}"),
            Err(error) => return Err(error),
        }
    }
    // The window is in the wall clock of the load driver's node, which its own
    // observer ties to the run's clock.
    let load = scene.pods.iter().find(|pod| pod.subject == Subject::Load);
    let load = load.and_then(|pod| clocks.get(&pod.node));
    let wall = match load {
        Some((_, clock)) => clock.epoch,
        None => unix_seconds() - cluster.clock.now(),
    };
    let window = (
        scene.window.open_unix - wall,
        scene.window.close_unix - wall,
    );
    let mut logs = BTreeMap::new();
    for (node, (pod, clock)) in clocks {
        // One that lies behind the window, so that there is something to place its end before.
        get(cluster, pod, "read").await?;
        let mut since = window.0 - BEFORE - clock.offset;
        let mut readings: Vec<NodeReading> = Vec::new();
        for _ in 0..ANSWERS {
            let text = get(cluster, pod, &format!("readings?since={since}")).await?;
            let before = readings.len();
            for line in text.lines() {
                readings.push(parse(pod, line)?);
            }
            match readings.last() {
                Some(last)
                    if readings.len() > before && last.monotonic + clock.offset < window.1 =>
                {
                    since = last.monotonic;
                }
                _ => break,
            }
        }
        let log = NodeLog {
            observer: pod.clone(),
            boot_id: clock.boot_id,
            offset: clock.offset,
            readings,
        };
        logs.insert(node, log);
    }
    placed::samples(scene, window, &logs).map_err(ClusterError::Observe)
}

/// One node's clocks in the run's time.
struct Clock {
    boot_id: String,
    /// The run's clock when the node's monotonic clock stood at 0.
    offset: f64,
    /// The node's wall clock when the run's clock stood at 0.
    epoch: f64,
}

/// Asks a node for its clocks; the error is half of what the quickest answer
/// took (Cristian, "Probabilistic clock synchronization", 1989).
async fn clock(cluster: &Cluster, pod: &RolePod) -> Result<Clock, ClusterError> {
    let mut best: Option<(f64, Clock)> = None;
    for _ in 0..ASKED {
        let asked = cluster.clock.now();
        let about = about(cluster, pod).await?;
        let answered = cluster.clock.now();
        let (took, middle) = (answered - asked, (asked + answered) / 2.0);
        if best.as_ref().is_none_or(|(least, _)| took < *least) {
            let clock = Clock {
                boot_id: about.boot_id,
                offset: middle - about.monotonic,
                epoch: about.unix - middle,
            };
            best = Some((took, clock));
        }
    }
    Ok(best.expect("it was asked at least once").1)
}

async fn about(cluster: &Cluster, pod: &RolePod) -> Result<About, ClusterError> {
    parse(pod, &get(cluster, pod, "about").await?)
}

/// What an observer answers; an API server that is away has a moment to come back.
async fn get(cluster: &Cluster, pod: &RolePod, path: &str) -> Result<String, ClusterError> {
    let deadline = Instant::now() + Duration::from_secs(45);
    loop {
        match proxy::pod(cluster, (&pod.namespace, &pod.name), PORT, path).await {
            Ok(text) => return Ok(text),
            Err(error) if is_transient(&error.source) && Instant::now() < deadline => {}
            Err(error) => return Err(error.into()),
        }
        sleep(POLL).await;
    }
}

fn parse<T: serde::de::DeserializeOwned>(pod: &RolePod, text: &str) -> Result<T, ClusterError> {
    serde_json::from_str(text).map_err(|error| {
        ClusterError::Observe(format!(
            "{} on {} answers in an unexpected form ({error}); is its image of this version?",
            pod.name, pod.node
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::kubernetes::{golden, mock};

    #[test]
    fn objects_are_as_agreed() {
        golden::check("observer", &objects(&mock::run(), &Images::default()));
    }

    /// What a namespace's policy has against the host's directories is told, and at once.
    #[tokio::test]
    async fn a_policy_that_forbids_it_is_quoted() {
        let (cluster, log) = mock::cluster(|asked: &mock::Asked, _| {
            if asked.what.starts_with("PATCH") {
                return (200, asked.body.to_string());
            }
            if asked.what.starts_with("DELETE") {
                let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
                return (200, gone.to_string());
            }
            let event = json!({
                "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
                "involvedObject": {}, "message": "violates PodSecurity \"restricted:latest\": hostPath volumes",
            });
            let events = asked.what.contains("/events");
            (200, mock::list(if events { vec![event] } else { vec![] }))
        })
        .await;
        let error = deploy(&cluster, &["n1".into()])
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("n1") && error.contains("PodSecurity"),
            "{error}"
        );
        let asked = log.lock().unwrap();
        let last = &asked.last().unwrap().what;
        let gone = "DELETE /apis/apps/v1/namespaces/bench/daemonsets/observer";
        assert!(last.starts_with(gone), "none of it stays: {last}");
    }
}
