//! Load from inside the cluster: k6 as a plain Job, or as the k6 operator's `TestRun`.

use kube::core::DynamicObject;

use super::groups::Group;
use super::object::Run;
use super::{Cluster, ClusterError, RolePod, Window};
use crate::load::{LoadResult, LoadSpec};

/// Who starts k6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Starter {
    /// The k6 operator, told by a `TestRun`.
    Operator,
    /// Nobody else: a Job with the same image, script and placement.
    Job,
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
    /// k6's image.
    pub image: String,
    /// Where it runs.
    pub group: Group,
    /// CPUs that it gets.
    pub cpus: u32,
    /// Where k6 writes its metrics to; none without VictoriaMetrics.
    pub remote_write: Option<String>,
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
    let _ = (run, starter, order);
    Vec::new()
}

/// Which starter the cluster has: the operator when its kind is served.
///
/// # Errors
/// When the API server does not answer.
pub async fn starter(cluster: &Cluster) -> Result<Starter, ClusterError> {
    let _ = cluster;
    Ok(Starter::Job)
}

/// Sends a trial's load and waits for its end. What it applied carries the
/// trial's labels and is deleted with the trial, also when this is cancelled.
///
/// # Errors
/// When k6 can't be started, fails, or leaves no result; with its last output.
pub async fn run(
    cluster: &Cluster,
    starter: Starter,
    order: &LoadOrder,
) -> Result<LoadOutcome, ClusterError> {
    let _ = (cluster, starter, order);
    Err(ClusterError::Load("is not sent yet".into()))
}
