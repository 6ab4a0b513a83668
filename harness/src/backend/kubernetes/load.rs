//! Load from inside the cluster: k6 as a plain Job, or as the k6 operator's `TestRun`.
//!
//! Both run the same script with the same settings on the same nodes, one k6
//! process in one pod. Whether it succeeded is read from its exit code; what it
//! counted and when its window was, from what it wrote. The operator's stages
//! are never taken for either: `finished` says only that no runner is active,
//! and it is looked at every 15 s.
//!
//! # Layout
//! - [`LoadOrder`], [`LoadOutcome`]: what is asked for, what came of it
//! - [`job`]: the script's ConfigMap, the pod, the Job
//! - [`test_run`]: the operator's object, and what it says of itself
//! - [`watch`]: waits for the pod's end

use kube::api::{Api, PostParams};
use kube::core::{ApiResource, DynamicObject};

use super::client::{ApiError, code, is_transient};
use super::groups::{self, Group};
use super::images::Images;
use super::object::Run;
use super::{Cluster, ClusterError, RolePod, Window, system};
use crate::error;
use crate::load::{LoadResult, LoadSpec, k6};
use crate::plan::Plan;
use crate::scenario::Scenario;

pub mod job;
pub mod test_run;
pub mod watch;

/// Who starts k6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Starter {
    /// The k6 operator, told by a `TestRun`.
    Operator,
    /// Nobody else: a Job with the same image, script and placement.
    Job,
}

/// k6, of the version that the tests on one machine run.
const IMAGE: &str = "grafana/k6:1.1.0";
/// What the operator starts the runners with, of the version that is documented.
const STARTER_IMAGE: &str = "ghcr.io/grafana/k6-operator:starter-v1.6.0";

/// Thousandths of a CPU that k6 gets, where the load's node has as many for each of them.
pub const MILLICPUS: u32 = 1000;

/// Thousandths of a CPU for each of several that run on one node at the same time, so that none
/// waits for another's end: most of what the node has to give.
pub fn share(node_millicpus: Option<u32>, together: usize) -> u32 {
    let together = u32::try_from(together.max(1)).unwrap_or(u32::MAX);
    node_millicpus.map_or(MILLICPUS, |has| {
        (has * 4 / 5 / together).clamp(10, MILLICPUS)
    })
}

/// The images of a trial's load.
#[derive(Clone, Debug)]
pub struct LoadImages {
    /// k6.
    pub k6: String,
    /// What the operator starts it with.
    pub starter: String,
}

impl LoadImages {
    /// The pinned ones, unless the command line gives others.
    pub fn of(images: &Images) -> Self {
        LoadImages {
            k6: images.or("k6", IMAGE),
            starter: images.or("k6-operator-starter", STARTER_IMAGE),
        }
    }
}

/// One trial's load.
#[derive(Clone, Debug)]
pub struct LoadOrder {
    /// A name that no other trial of the run has, such as `t12-flora`.
    pub name: String,
    /// The trial, counted from 1.
    pub trial: u32,
    /// The arm that it measures.
    pub arm: String,
    /// What is sent; its address is the target's Service.
    pub spec: LoadSpec,
    /// What it runs.
    pub images: LoadImages,
    /// Where it runs.
    pub group: Group,
    /// Thousandths of a CPU that it gets.
    pub millicpus: u32,
    /// Where k6 writes its metrics to; none without VictoriaMetrics.
    pub remote_write: Option<String>,
}

/// Characters of an arm's name that are kept: more stands before and behind it.
const ARM_MAX: usize = 30;

/// A name that no other trial of the run has, in the characters that objects' names are made of
/// (RFC 1123): those of a Service, which the operator names after it, are the fewest.
pub fn name(trial: u32, arm: &str) -> String {
    let plain = arm.chars().map(|c| c.to_ascii_lowercase());
    let plain = plain.map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let arm: String = plain.take(ARM_MAX).collect();
    format!("t{trial}-{arm}").trim_end_matches('-').to_owned()
}

impl LoadOrder {
    /// The load of a plan's trial on a target in this namespace, as a plan knows it: by itself on its
    /// node, and written nowhere.
    pub fn of(plan: &Plan, arm: &Scenario, trial: u32, namespace: &str, images: &Images) -> Self {
        LoadOrder {
            name: name(trial, &arm.name),
            trial,
            arm: arm.name.clone(),
            spec: LoadSpec::new(
                &arm.load,
                &system::url(arm, namespace),
                plan.load.rate,
                plan.warmup_seconds,
                plan.measure_seconds,
            ),
            images: LoadImages::of(images),
            group: Group::named(groups::LOAD),
            millicpus: MILLICPUS,
            remote_write: None,
        }
    }
}

/// What came of a trial's load.
#[derive(Clone, Debug)]
pub struct LoadOutcome {
    /// What k6 counted in its window.
    pub result: LoadResult,
    /// The window, from k6's own data.
    pub window: Window,
    /// The pod that k6 ran in.
    pub pod: RolePod,
}

/// Every object that a trial's load needs, in the order in which they are applied.
pub fn objects(run: &Run, starter: Starter, order: &LoadOrder) -> Vec<DynamicObject> {
    let main = match starter {
        Starter::Operator => test_run::object(run, order),
        Starter::Job => job::object(run, order),
    };
    vec![job::script(run, order), main]
}

/// Which starter the cluster has: the operator when its kind is served.
///
/// # Errors
/// When the API server does not answer.
pub async fn starter(cluster: &Cluster) -> Result<Starter, ClusterError> {
    let path = format!("/apis/{}/{}", test_run::GROUP, test_run::VERSION);
    let request = hyper::Request::get(&path).body(Vec::new());
    let request = request.expect("the path is a constant");
    let listed = cluster.client.request::<serde_json::Value>(request).await;
    match listed {
        Ok(list) => {
            let served = list["resources"]
                .as_array()
                .is_some_and(|kinds| kinds.iter().any(|kind| kind["name"] == test_run::PLURAL));
            Ok(if served {
                Starter::Operator
            } else {
                Starter::Job
            })
        }
        Err(error) if code(&error) == Some(404) => Ok(Starter::Job),
        Err(error) => Err(ApiError::new(format!("list the kinds of {path}"), error).into()),
    }
}

/// Sends a trial's load and waits for its end. What it creates ([`objects`]) carries
/// the trial's labels and is the caller's to remove, also when this was cancelled.
///
/// # Errors
/// When k6 can't be started, fails, or leaves no result; with its last output.
pub async fn run(
    cluster: &Cluster,
    starter: Starter,
    order: &LoadOrder,
) -> Result<LoadOutcome, ClusterError> {
    for object in objects(&cluster.run, starter, order) {
        create(cluster, &object).await?;
    }
    let ended = watch::end(cluster, starter, order).await?;
    let (result, (open_unix, close_unix)) =
        k6::read_output(&ended.output, &order.spec).map_err(|error| {
            let error = error::text(&error);
            ClusterError::Load(format!("k6: {error}{}", watch::tail(&ended.output)))
        })?;
    Ok(LoadOutcome {
        result,
        window: Window {
            open_unix,
            close_unix,
        },
        pod: ended.pod,
    })
}

/// Created and not applied: the name is new, what is there already is somebody
/// else's, and an operator that knows a field not yet drops it with a warning.
async fn create(cluster: &Cluster, object: &DynamicObject) -> Result<(), ClusterError> {
    let api = api(cluster, object);
    let mut tries = 0;
    loop {
        match api.create(&PostParams::default(), object).await {
            Ok(_) => return Ok(()),
            // The first try may have come through when its answer did not.
            Err(error) if tries > 0 && code(&error) == Some(409) => return Ok(()),
            Err(error) if is_transient(&error) && tries < watch::TRIES => tries += 1,
            Err(error) => {
                let what = super::object::describe(object);
                return Err(ApiError::new(format!("create {what}"), error).into());
            }
        }
        tokio::time::sleep(watch::POLL).await;
    }
}

fn api(cluster: &Cluster, object: &DynamicObject) -> Api<DynamicObject> {
    let types = object.types.clone().unwrap_or_default();
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let resource = match types.kind.as_str() {
        test_run::KIND => test_run::resource(),
        _ => {
            let (group, version) = types
                .api_version
                .split_once('/')
                .unwrap_or(("", &types.api_version));
            let kind = kube::core::GroupVersionKind::gvk(group, version, &types.kind);
            ApiResource::from_gvk(&kind)
        }
    };
    Api::namespaced_with(cluster.client.clone(), &namespace, &resource)
}

#[cfg(test)]
mod tests;
