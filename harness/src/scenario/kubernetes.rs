//! What a scenario says for clusters: the same target and agent, as pods.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a scenario's target and agent run in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kubernetes {
    /// The target's image; that of its program without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The target's environment there, in place of `target.env` where it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// Files with the agent's objects, as its vendor publishes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<PathBuf>,
    /// Images to put in place of those that the manifests name, by image without its tag.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// Objects that must be ready before load is sent, `kind/name` in lower
    /// case; every workload of the manifests without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ready: Vec<String>,
    /// Secrets made from the harness's own environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// Which pods serve the counter of `agent.telemetry.prometheus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<PodMetrics>,
}

/// A Secret whose values stand in environment variables of the harness, so that no file holds them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// Environment variables by the Secret's keys.
    pub variables: BTreeMap<String, String>,
}

/// Pods that serve Prometheus text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodMetrics {
    /// A label selector, such as `app.kubernetes.io/name=flora-agent`.
    pub pods: String,
    /// The port.
    pub port: u16,
    /// The path.
    pub path: String,
}
