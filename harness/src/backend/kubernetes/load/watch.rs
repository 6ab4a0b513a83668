//! Waits for the end of k6's pod, and says how it ended.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use kube::api::{Api, ListParams, LogParams};
use tokio::time::{Instant, sleep};

use super::{LoadOrder, Starter, job, test_run};
use crate::backend::kubernetes::client::{ApiError, is_transient};
use crate::backend::kubernetes::{Cluster, ClusterError, RolePod};
use crate::sample::Subject;

/// Pause between two looks.
pub const POLL: Duration = Duration::from_millis(250);
/// Looks at an API server that is away: it has 45 s to come back.
pub const TRIES: u32 = 180;
/// How long k6 may take until its container runs: a node may have to pull the image.
const START: Duration = Duration::from_secs(180);
/// How much longer than its load k6 may take: to begin, to sum up, to end.
const GRACE: Duration = Duration::from_secs(45);
/// What is kept of k6's output; it writes a few lines.
const OUTPUT: i64 = 1 << 20;
/// Lines of it that an error shows.
const TAIL: usize = 10;

/// A k6 that has ended with success.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its pod.
    pub pod: RolePod,
    /// Everything that it wrote.
    pub output: String,
}

/// How long k6 may run.
pub fn limit(order: &LoadOrder) -> Duration {
    let spec = &order.spec;
    let load = spec.warmup_seconds + spec.measure_seconds + spec.timeout_seconds;
    START + GRACE + Duration::from_secs_f64(load.max(0.0).ceil())
}

/// Waits until k6 has ended.
///
/// # Errors
/// When its pod can't start, goes away, does not end in time, or when k6 fails.
pub async fn end(
    cluster: &Cluster,
    starter: Starter,
    order: &LoadOrder,
) -> Result<Ended, ClusterError> {
    let namespace = &cluster.run.namespace;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let selector = match starter {
        Starter::Operator => test_run::selector(order),
        Starter::Job => format!("job-name={}", order.name),
    };
    let params = ListParams::default().labels(&selector);
    let began = Instant::now();
    let mut running: Option<Instant> = None;
    let mut away = 0;
    loop {
        let listed = match pods.list(&params).await {
            Ok(listed) => listed,
            Err(error) if is_transient(&error) && away < TRIES => {
                away += 1;
                sleep(POLL).await;
                continue;
            }
            Err(error) => {
                let action = format!("list pods {selector} in namespace {namespace}");
                return Err(ApiError::new(action, error).into());
            }
        };
        away = 0;
        let state = match listed.items.first() {
            None if running.is_some() => {
                return Err(ClusterError::Load(format!(
                    "the pod of {} was deleted while it ran",
                    order.name
                )));
            }
            None => absent(cluster, starter, order).await?,
            Some(pod) => match state(pod) {
                State::Ended(ended) => return conclude(&pods, pod, &ended).await,
                State::Gone(why) => return Err(ClusterError::Load(why)),
                State::Running => {
                    running.get_or_insert_with(Instant::now);
                    "it runs".to_owned()
                }
                State::Waiting(why) => why,
            },
        };
        let over = match running {
            Some(since) => since.elapsed() > limit(order) - START,
            None => began.elapsed() > START,
        };
        if over {
            return Err(ClusterError::Load(format!(
                "k6 of {} has not ended within {:?}: {state}",
                order.name,
                began.elapsed()
            )));
        }
        sleep(POLL).await;
    }
}

/// What there is to say while there is no pod yet.
async fn absent(
    cluster: &Cluster,
    starter: Starter,
    order: &LoadOrder,
) -> Result<String, ClusterError> {
    if starter == Starter::Job {
        return Ok("its Job has no pod yet".into());
    }
    let api: Api<kube::core::DynamicObject> = Api::namespaced_with(
        cluster.client.clone(),
        &cluster.run.namespace,
        &test_run::resource(),
    );
    let found = match api.get_opt(&order.name).await {
        Ok(found) => found,
        Err(error) if is_transient(&error) => None,
        Err(error) => {
            return Err(ApiError::new(format!("get TestRun {}", order.name), error).into());
        }
    };
    let Some(found) = found else {
        return Ok("its TestRun is not to be seen".into());
    };
    if let Some(why) = test_run::failure(&found) {
        return Err(ClusterError::Load(format!("the k6 operator {why}")));
    }
    Ok(match test_run::stage(&found) {
        "" => "the k6 operator has not looked at it; does it run? `kubectl -n k6-operator-system get pods`, or use --load k6-job".into(),
        stage => format!("the k6 operator says it is `{stage}`"),
    })
}

enum State {
    Waiting(String),
    Running,
    Ended(Box<ContainerStateTerminated>),
    Gone(String),
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let status = pod.status.as_ref()?;
    let mut containers = status.container_statuses.iter().flatten();
    containers.find(|container| container.name == job::CONTAINER)
}

/// How far a pod of k6's is.
fn state(pod: &Pod) -> State {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let own = container(pod).and_then(|container| container.state.as_ref());
    if let Some(ended) = own.and_then(|state| state.terminated.clone()) {
        return State::Ended(Box::new(ended));
    }
    // Evicted, or its node is lost: no container will ever say how it ended.
    if status.phase.as_deref() == Some("Failed") || pod.metadata.deletion_timestamp.is_some() {
        let why = status.message.or(status.reason);
        let why = why.unwrap_or_else(|| "it is being deleted".into());
        return State::Gone(format!("the pod {name} was taken away: {why}"));
    }
    if own.is_some_and(|state| state.running.is_some()) {
        return State::Running;
    }
    let waiting = own.and_then(|state| state.waiting.as_ref());
    if let Some(waiting) = waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let message = waiting.message.as_deref().unwrap_or_default();
        let told = format!("the pod {name} can't start: {reason}: {message}");
        return match reason {
            "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => State::Gone(format!(
                "{told}; load the image into the nodes, or name another with --image k6=REFERENCE"
            )),
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                State::Gone(told)
            }
            _ => State::Waiting(told),
        };
    }
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    State::Waiting(match unscheduled.and_then(|it| it.message.clone()) {
        Some(why) => format!("the pod {name} can't be placed: {why}"),
        None => format!("the pod {name} is pending"),
    })
}

/// Reads what k6 wrote; fails when k6 did.
async fn conclude(
    pods: &Api<Pod>,
    pod: &Pod,
    ended: &ContainerStateTerminated,
) -> Result<Ended, ClusterError> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let output = output(pods, &name).await?;
    if ended.exit_code != 0 {
        return Err(ClusterError::Load(format!(
            "k6 {}{}",
            meaning(ended),
            tail(&output)
        )));
    }
    Ok(Ended {
        pod: role_pod(pod, Subject::Load),
        output,
    })
}

async fn output(pods: &Api<Pod>, name: &str) -> Result<String, ClusterError> {
    let params = LogParams {
        container: Some(job::CONTAINER.into()),
        limit_bytes: Some(OUTPUT),
        ..LogParams::default()
    };
    let mut tries = 0;
    loop {
        match pods.logs(name, &params).await {
            Ok(output) => return Ok(output),
            Err(error) if is_transient(&error) && tries < TRIES => tries += 1,
            Err(error) => {
                return Err(ApiError::new(format!("read the log of {name}"), error).into());
            }
        }
        sleep(POLL).await;
    }
}

/// What an exit code of k6 means (`errext/exitcodes` in k6's source).
fn meaning(ended: &ContainerStateTerminated) -> String {
    let reason = ended.reason.as_deref().unwrap_or_default();
    let code = ended.exit_code;
    match (code, reason) {
        (_, "OOMKilled") => "was ended for want of memory (OOMKilled)".into(),
        (_, "DeadlineExceeded") => "was ended: its Job's deadline passed".into(),
        (99, _) => "ended with code 99: a threshold failed".into(),
        (104, _) => "ended with code 104: its script's settings are not valid".into(),
        (105, _) => "ended with code 105: somebody stopped it".into(),
        (107, _) => "ended with code 107: the script threw an exception".into(),
        (108, _) => "ended with code 108: the script aborted the test".into(),
        (137, _) => "was killed (code 137)".into(),
        (143, _) => "was terminated (code 143)".into(),
        _ => format!("ended with code {code} ({reason})"),
    }
}

/// The last lines of an output, for the end of a message.
pub fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.trim_end().lines().collect();
    if lines.is_empty() {
        return "; it wrote nothing".into();
    }
    let last = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    format!("; its last output:\n{last}")
}

/// A pod, as whoever reads its counters must know it.
pub fn role_pod(pod: &Pod, subject: Subject) -> RolePod {
    let metadata = pod.metadata.clone();
    let statuses = pod.status.clone().and_then(|it| it.container_statuses);
    let id = |container: &ContainerStatus| {
        let id = container.container_id.as_deref()?;
        Some(id.split_once("://").map_or(id, |(_, id)| id).to_owned())
    };
    RolePod {
        subject,
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name.unwrap_or_default(),
        uid: metadata.uid.unwrap_or_default(),
        node: pod
            .spec
            .clone()
            .and_then(|spec| spec.node_name)
            .unwrap_or_default(),
        containers: statuses
            .iter()
            .flatten()
            .filter_map(|container| Some((container.name.clone(), id(container)?)))
            .collect(),
    }
}
