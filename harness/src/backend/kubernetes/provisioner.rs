//! Where nodes come from: they are there already, or Karpenter makes them for the run.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use kube::core::DynamicObject;
use serde_json::json;

use super::apply::{self, ApplyError};
use super::client::ApiError;
use super::images::Images;
use super::object::{Run, object};
use super::wait::{self, State};
use super::{Cluster, ClusterError};

/// Label of the nodes that were made for a run.
pub const POOL: &str = "flora-bench.dev/pool";
/// How long a cloud may take to bring nodes.
const PATIENCE: Duration = Duration::from_secs(900);
/// A pod that only asks for a node.
const PAUSE: &str = "registry.k8s.io/pause:3.10";

/// Where nodes come from.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Provisioner {
    /// They are there already.
    #[default]
    Existing,
    /// Karpenter makes them, and takes them away when its `NodePool` is deleted.
    Karpenter(NodeClass),
}

/// Which machines Karpenter makes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodeClass {
    /// API group of the cloud's node class, such as `karpenter.k8s.aws`.
    pub group: String,
    /// Its kind, such as `EC2NodeClass`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The type of every machine, so that all are alike; the cloud's choice without it.
    pub instance_type: Option<String>,
}

impl std::str::FromStr for NodeClass {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split('/').collect::<Vec<_>>().as_slice() {
            [group, kind, name] if ![group, kind, name].iter().any(|part| part.is_empty()) => {
                Ok(NodeClass {
                    group: (*group).to_owned(),
                    kind: (*kind).to_owned(),
                    name: (*name).to_owned(),
                    instance_type: None,
                })
            }
            _ => Err(
                "expected GROUP/KIND/NAME, such as karpenter.k8s.aws/EC2NodeClass/default".into(),
            ),
        }
    }
}

impl Provisioner {
    /// How many nodes a run of so many arms has made: one for each, one for load, one for monitoring.
    pub fn nodes(arms: usize) -> usize {
        arms + 2
    }

    /// What it applies for so many nodes: the `NodePool`, and pods that ask for one node each.
    pub fn objects(&self, run: &Run, images: &Images, nodes: usize) -> Vec<DynamicObject> {
        let Provisioner::Karpenter(class) = self else {
            return Vec::new();
        };
        let pool = &run.namespace;
        let mut requirements = vec![json!({
            "key": "kubernetes.io/os", "operator": "In", "values": ["linux"],
        })];
        if let Some(instance_type) = &class.instance_type {
            requirements.push(json!({
                "key": "node.kubernetes.io/instance-type", "operator": "In", "values": [instance_type],
            }));
        }
        let node_pool = json!({
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "metadata": {"name": pool, "labels": run.labels("nodes", None)},
            "spec": {
                "template": {
                    "metadata": {"labels": {POOL: pool}},
                    "spec": {
                        "nodeClassRef": {"group": class.group, "kind": class.kind, "name": class.name},
                        "requirements": requirements,
                        "expireAfter": "Never",
                    },
                },
                // No node may go under a measurement, however empty it is between two trials.
                "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "Never"},
            },
        });
        let labels = run.labels("nodes", None);
        let placeholder = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "nodes", "namespace": run.namespace, "labels": labels},
            "spec": {
                "replicas": nodes,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "automountServiceAccountToken": false,
                        "terminationGracePeriodSeconds": 0,
                        "nodeSelector": {POOL: pool},
                        "affinity": {"podAntiAffinity": {
                            "requiredDuringSchedulingIgnoredDuringExecution": [{
                                "topologyKey": "kubernetes.io/hostname",
                                "labelSelector": {"matchLabels": labels},
                            }],
                        }},
                        "containers": [{"name": "pause", "image": images.or("pause", PAUSE)}],
                    },
                },
            },
        });
        vec![object(node_pool), object(placeholder)]
    }

    /// Makes so many nodes and waits until they are ready. Gives the selector that they match; none
    /// where nothing is made.
    ///
    /// # Errors
    /// When Karpenter is not there, or the nodes don't come.
    pub async fn provide(
        &self,
        cluster: &Cluster,
        nodes: usize,
    ) -> Result<Option<String>, ClusterError> {
        let objects = self.objects(&cluster.run, &cluster.images, nodes);
        for object in &objects {
            match apply::apply(cluster, object).await {
                Ok(_) => {}
                Err(ApplyError::UnknownKind { .. }) => {
                    return Err(ClusterError::Missing(
                        "this cluster has no Karpenter (kind NodePool of karpenter.sh/v1); install it, or use nodes that are there with --provisioner existing".into(),
                    ));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let Some(placeholder) = objects.last() else {
            return Ok(None);
        };
        let selector = format!("{POOL}={}", cluster.run.namespace);
        let api: Api<Node> = Api::all(cluster.client.clone());
        let what = format!("{nodes} nodes of the NodePool {}", cluster.run.namespace);
        wait::until(&what, PATIENCE, || async {
            let listed = api.list(&ListParams::default().labels(&selector)).await;
            let listed = listed.map_err(|error| ApiError::new("list nodes", error))?;
            let ready = listed.items.iter().filter(|node| is_ready(node));
            let names: BTreeSet<_> = ready.map(|node| node.metadata.name.clone()).collect();
            Ok(if names.len() >= nodes {
                State::Ready
            } else {
                State::NotYet(format!(
                    "{} are there; `kubectl describe nodepool {}` and Karpenter's log say why no more come",
                    names.len(),
                    cluster.run.namespace
                ))
            })
        })
        .await?;
        // The nodes stay without it: the pool never gives one up by itself.
        apply::delete(cluster, placeholder).await?;
        Ok(Some(selector))
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_of_one_kind_of_machine_and_gives_none_up() {
        let class: NodeClass = "karpenter.k8s.aws/EC2NodeClass/default".parse().unwrap();
        let provisioner = Provisioner::Karpenter(NodeClass {
            instance_type: Some("m5.large".into()),
            ..class
        });
        let run = Run {
            namespace: "run".into(),
            owner: "me-1-2".into(),
        };
        let objects = provisioner.objects(&run, &Images::default(), 3);
        let spec = &objects[0].data["spec"];
        assert_eq!(
            spec["template"]["spec"]["requirements"][1]["values"][0],
            "m5.large"
        );
        assert_eq!(spec["disruption"]["consolidateAfter"], "Never");
        assert_eq!(objects[1].data["spec"]["replicas"], 3);
        let existing = Provisioner::Existing.objects(&run, &Images::default(), 3);
        assert_eq!(existing, []);
        assert!("default".parse::<NodeClass>().is_err());
    }
}
