//! Waits: a condition, a limit, and what is wrong where the limit passes.

use std::cell::Cell;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{Api, ListParams, LogParams};
use kube::core::DynamicObject;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::Cluster;
use super::client::{ApiError, code, is_transient};
use super::object::describe;

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(250);
/// How long a pod may stay where it can't be placed before that is an error.
const PENDING: Duration = Duration::from_secs(15);
/// Lines of a container's log that an error shows.
const LOG_LINES: i64 = 12;

/// What was waited for did not come.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// Something is wrong that does not pass by itself.
    #[error("{what} {problem}")]
    Broken {
        /// What was waited for.
        what: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The limit passed.
    #[error("{what} was not ready within {limit:?}: {state}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// How far it was.
        state: String,
    },
    /// The API server refused something.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// How far something is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum State {
    /// As wanted.
    Ready,
    /// Not yet: what it lacks.
    NotYet(String),
    /// Never, unless somebody does something: what is wrong.
    Broken(String),
}

/// Looks at something until it is ready. An API server that is away for a while
/// is waited for as anything else is.
///
/// # Errors
/// When it breaks, or the limit passes.
pub async fn until<F: Future<Output = Result<State, ApiError>>>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> F,
) -> Result<(), WaitError> {
    let deadline = Instant::now() + limit;
    loop {
        let state = match look().await {
            Ok(State::Ready) => return Ok(()),
            Ok(State::Broken(problem)) => {
                return Err(WaitError::Broken {
                    what: what.to_owned(),
                    problem,
                });
            }
            Ok(State::NotYet(state)) => state,
            Err(error) if is_transient(&error.source) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        if Instant::now() >= deadline {
            return Err(WaitError::TimedOut {
                what: what.to_owned(),
                limit,
                state,
            });
        }
        sleep(POLL).await;
    }
}

/// Waits until a workload is ready, looking at its pods for what keeps it. One that an operator
/// makes may not be there yet; one that was there must not go.
///
/// # Errors
/// When one of its pods can't start, or the limit passes.
pub async fn ready(
    cluster: &Cluster,
    object: &DynamicObject,
    api: &Api<DynamicObject>,
    pods: &str,
    limit: Duration,
) -> Result<(), WaitError> {
    let name = object.metadata.name.clone().unwrap_or_default();
    let what = describe(object);
    let began = Instant::now();
    let was_there = Cell::new(false);
    until(&what, limit, || async {
        let get = api.get_opt(&name).await;
        let now = get.map_err(|error| ApiError::new(format!("get {what}"), error))?;
        let Some(now) = now else {
            return Ok(match was_there.get() {
                true => State::Broken("was deleted by somebody else".into()),
                false => State::NotYet("nobody has made it yet".into()),
            });
        };
        was_there.set(true);
        let state = progress(&now);
        let State::NotYet(text) = state else {
            return Ok(state);
        };
        let namespace = object.metadata.namespace.clone().unwrap_or_default();
        let troubled = trouble_of(cluster, &namespace, pods, began.elapsed()).await?;
        Ok(match troubled {
            Some(Trouble { fatal: true, text }) => State::Broken(text),
            Some(Trouble { text, .. }) => State::NotYet(text),
            None => State::NotYet(text),
        })
    })
    .await
}

/// How far a workload is, from what its controller says of it.
pub fn progress(object: &DynamicObject) -> State {
    let kind = object
        .types
        .as_ref()
        .map_or("", |types| types.kind.as_str());
    let number = |path: &str| object.data.pointer(path).and_then(Value::as_i64);
    let status = |name: &str| number(&format!("/status/{name}")).unwrap_or(0);
    let seen = status("observedGeneration") >= object.metadata.generation.unwrap_or(0);
    let counted = |ready: i64, wanted: i64| {
        if seen && ready >= wanted {
            State::Ready
        } else {
            State::NotYet(format!("{ready} of {wanted} pods are ready"))
        }
    };
    match kind {
        "Deployment" | "StatefulSet" | "ReplicaSet" => {
            let wanted = number("/spec/replicas").unwrap_or(1);
            let updated = match kind {
                "ReplicaSet" => wanted,
                _ => status("updatedReplicas"),
            };
            counted(status("readyReplicas").min(updated), wanted)
        }
        "DaemonSet" => match status("desiredNumberScheduled") {
            0 => State::NotYet("no node is selected for its pods".into()),
            wanted => counted(
                status("numberReady").min(status("updatedNumberScheduled")),
                wanted,
            ),
        },
        "Job" => match number("/status/succeeded").unwrap_or(0) {
            0 => State::NotYet("it has not succeeded yet".into()),
            _ => State::Ready,
        },
        "Pod" => match condition(object, "Ready") {
            Some((true, _)) => State::Ready,
            _ => State::NotYet("it is not ready".into()),
        },
        // Whatever an operator makes of its own kinds: where it says a condition, that counts.
        _ => match condition(object, "Ready").or_else(|| condition(object, "Available")) {
            None | Some((true, _)) => State::Ready,
            Some((false, why)) => State::NotYet(why),
        },
    }
}

fn condition(object: &DynamicObject, name: &str) -> Option<(bool, String)> {
    let conditions = object.data.pointer("/status/conditions")?.as_array()?;
    let condition = conditions.iter().find(|one| one["type"] == name)?;
    let message = condition["message"].as_str().unwrap_or_default();
    Some((condition["status"] == "True", message.to_owned()))
}

/// What keeps a pod from being ready.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trouble {
    /// Whether it does not pass by itself.
    pub fatal: bool,
    /// What it is, and what to do.
    pub text: String,
}

/// What keeps the pods that a selector matches from being ready; none when nothing is known.
///
/// # Errors
/// When the API server refuses it.
pub async fn trouble_of(
    cluster: &Cluster,
    namespace: &str,
    selector: &str,
    waited: Duration,
) -> Result<Option<Trouble>, ApiError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let listed = pods.list(&ListParams::default().labels(selector)).await;
    let listed = listed
        .map_err(|error| ApiError::new(format!("list pods in namespace {namespace}"), error))?;
    for pod in &listed.items {
        if let Some((mut trouble, crashed)) = trouble(pod, waited) {
            if let Some(container) = crashed {
                trouble.text += &last_words(&pods, pod, &container).await;
            }
            return Ok(Some(trouble));
        }
    }
    Ok(None)
}

/// What keeps one pod, and the container whose log says why.
pub fn trouble(pod: &Pod, waited: Duration) -> Option<(Trouble, Option<String>)> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.as_ref()?;
    let plain = |fatal, text: String| Some((Trouble { fatal, text }, None));
    let containers = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten();
    for container in containers {
        if let Some(found) = container_trouble(name, container) {
            return Some(found);
        }
    }
    if status.phase.as_deref() == Some("Failed") {
        let why = status.message.as_deref().or(status.reason.as_deref());
        let why = why.unwrap_or("no reason is given");
        return plain(true, format!("failed: pod {name}: {why}"));
    }
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    let why = unscheduled.message.as_deref().unwrap_or("nobody says why");
    plain(
        waited >= PENDING,
        format!(
            "can't be placed: pod {name} is pending: {why}; make room on that node, or choose nodes with --node-selector"
        ),
    )
}

fn container_trouble(pod: &str, status: &ContainerStatus) -> Option<(Trouble, Option<String>)> {
    let state = status.state.as_ref();
    let name = &status.name;
    let found = |fatal, text| Some((Trouble { fatal, text }, None));
    let crashed = |how: &str| {
        let text = format!("crashes: container {name} of pod {pod} {how}");
        Some((Trouble { fatal: true, text }, Some(name.clone())))
    };
    if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
        let why = waiting.message.as_deref().unwrap_or_default();
        match waiting.reason.as_deref().unwrap_or_default() {
            reason @ ("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName"
            | "ErrImageNeverPull") => {
                let text = format!(
                    "can't start: the image {} of pod {pod} can't be pulled ({reason}: {why}); load it into the nodes or a registry that they reach, or name another with --image",
                    status.image
                );
                // The first failure may be the registry's hiccup; the second is a fact.
                return found(reason != "ErrImagePull", text);
            }
            reason @ ("CreateContainerConfigError"
            | "CreateContainerError"
            | "RunContainerError") => {
                let text = format!("can't start: container {name} of pod {pod}: {reason}: {why}");
                return found(true, text);
            }
            "CrashLoopBackOff" => return crashed(&ended(status)),
            _ => {}
        }
    }
    let terminated = state.and_then(|state| state.terminated.as_ref());
    if terminated.is_some_and(|ended| ended.exit_code != 0) || status.restart_count > 0 {
        return crashed(&ended(status));
    }
    None
}

/// How a container ended last.
fn ended(status: &ContainerStatus) -> String {
    let states = [&status.state, &status.last_state];
    let terminated = states
        .into_iter()
        .flatten()
        .find_map(|state| state.terminated.as_ref());
    match terminated {
        Some(ended) => format!(
            "ended with code {} ({})",
            ended.exit_code,
            ended.reason.as_deref().unwrap_or("no reason is given")
        ),
        None => format!("was restarted {} times", status.restart_count),
    }
}

/// The last lines of a container's log, as an error's tail.
pub async fn last_words(pods: &Api<Pod>, pod: &Pod, container: &str) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let mut text = String::new();
    for previous in [true, false] {
        let params = LogParams {
            container: Some(container.to_owned()),
            previous,
            tail_lines: Some(LOG_LINES),
            ..LogParams::default()
        };
        match pods.logs(name, &params).await {
            Ok(log) if !log.trim().is_empty() => {
                text = log;
                break;
            }
            Ok(_) => {}
            // There is no previous one before the first restart.
            Err(error) if code(&error) == Some(400) => {}
            Err(error) => log::debug!("no log of {name}/{container}: {error}"),
        }
    }
    if text.trim().is_empty() {
        "; it wrote nothing".into()
    } else {
        format!("; its last output:\n{}", text.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::kubernetes::object::object;
    use crate::backend::kubernetes::{apply, mock};
    use serde_json::json;

    /// What comes of waiting for a DaemonSet that is there at some looks and not at others.
    async fn waited(there: &'static [bool]) -> Result<(), WaitError> {
        let daemons = object(json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "vizier-pem", "namespace": "bench"},
        }));
        let (cluster, _) = mock::cluster(move |asked: &mock::Asked, look| {
            if !asked.what.contains("/daemonsets/") {
                return (200, mock::list(Vec::new()));
            }
            let last = look + 1 >= there.len();
            if !there[look.min(there.len() - 1)] {
                return mock::refusal(404, "NotFound", "it is not there");
            }
            let status = json!({"desiredNumberScheduled": 1, "numberReady": i32::from(last),
                "updatedNumberScheduled": 1});
            let now = json!({
                "apiVersion": "apps/v1", "kind": "DaemonSet",
                "metadata": {"name": "vizier-pem", "namespace": "bench"}, "status": status,
            });
            (200, now.to_string())
        })
        .await;
        let api = apply::api(&cluster, &daemons).await.unwrap();
        let limit = Duration::from_secs(5);
        ready(&cluster, &daemons, &api, "", limit).await
    }

    /// An operator takes its time to make what it is told to.
    #[tokio::test]
    async fn what_others_make_is_waited_for_until_it_was_there() {
        assert!(waited(&[false, false, true, true]).await.is_ok());
        let error = waited(&[false, true, false]).await.unwrap_err().to_string();
        assert!(error.contains("was deleted by somebody else"), "{error}");
    }

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap()
    }

    fn container(state: Value, restarts: u32) -> Value {
        json!({"containerStatuses": [{
            "name": "app", "image": "registry/app:1", "imageID": "", "ready": false,
            "restartCount": restarts, "state": state,
        }]})
    }

    #[test]
    fn what_keeps_a_pod_is_told() {
        let told = |status| trouble(&pod(status), PENDING).map(|(t, log)| (t.fatal, t.text, log));
        let back_off =
            json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}});
        let (fatal, text, _) = told(container(back_off, 0)).unwrap();
        assert!(
            fatal && text.contains("registry/app:1") && text.contains("--image"),
            "{text}"
        );
        let crash = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let (fatal, text, log) = told(container(crash, 3)).unwrap();
        assert!(
            fatal && text.starts_with("crashes: container app of pod p"),
            "{text}"
        );
        assert_eq!(log.as_deref(), Some("app"));
        let pending = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]});
        let (fatal, text, _) = told(pending.clone()).unwrap();
        assert!(fatal && text.contains("0/3 nodes are available"), "{text}");
        // A scheduler is given a moment.
        assert!(!trouble(&pod(pending), Duration::ZERO).unwrap().0.fatal);
        assert_eq!(told(container(json!({"running": {}}), 0)), None);
    }

    #[test]
    fn a_controller_that_has_not_looked_yet_is_waited_for() {
        let deployment = |generation: i64, observed: i64| {
            object(json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "d", "generation": generation},
                "spec": {"replicas": 1},
                "status": {"observedGeneration": observed, "readyReplicas": 1, "updatedReplicas": 1},
            }))
        };
        assert_eq!(progress(&deployment(1, 1)), State::Ready);
        assert!(matches!(progress(&deployment(2, 1)), State::NotYet(_)));
        let daemons = object(json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"},
            "status": {"desiredNumberScheduled": 0},
        }));
        assert!(matches!(progress(&daemons), State::NotYet(_)));
    }
}
