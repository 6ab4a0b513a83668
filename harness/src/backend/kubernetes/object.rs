//! The objects that a run applies: plain values, made without a cluster, so that
//! a plan can be printed and held against what it should be.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde_json::{Value, json};

/// Label of everything that belongs to a run: who made it ([`Run::owner`]).
pub const OWNER: &str = "flora-bench.dev/owner";
/// Label of everything that belongs to one trial: its number.
pub const TRIAL: &str = "flora-bench.dev/trial";
/// Label of what each object is for: `target`, `agent`, `load`, `observer`, `metrics`, `intake`.
pub const ROLE: &str = "flora-bench.dev/role";
/// Label and taint of a node: the arm, or the purpose, that it is kept free for.
pub const GROUP: &str = "flora-bench.dev/group";
/// Annotation of a node: what it was like before a run took it.
pub const BEFORE: &str = "flora-bench.dev/before";
/// Who applies, in the field managers of server-side apply.
pub const FIELD_MANAGER: &str = "flora-bench";

/// What all objects of one run have in common.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Run {
    /// The run's namespace.
    pub namespace: String,
    /// Who made it, as a label's value: host, its boot, process and its start.
    pub owner: String,
}

impl Run {
    /// The labels of an object: the owner, what it is for, and the trial that it goes with.
    pub fn labels(&self, role: &str, trial: Option<u32>) -> Value {
        let mut labels = json!({
            "app.kubernetes.io/managed-by": FIELD_MANAGER,
            OWNER: self.owner,
            ROLE: role,
        });
        if let Some(trial) = trial {
            labels[TRIAL] = trial.to_string().into();
        }
        labels
    }

    /// The selector of what [`Run::labels`] labels, as requests take it.
    pub fn selector(&self, role: Option<&str>, trial: Option<u32>) -> String {
        let mut selector = format!("{OWNER}={}", self.owner);
        if let Some(role) = role {
            selector += &format!(",{ROLE}={role}");
        }
        if let Some(trial) = trial {
            selector += &format!(",{TRIAL}={trial}");
        }
        selector
    }
}

/// Whose something is, by its labels: an empty name where it is none of ours.
pub fn owner_in(labels: Option<BTreeMap<String, String>>) -> String {
    let owner = labels.and_then(|mut labels| labels.remove(OWNER));
    owner.unwrap_or_default()
}

/// A namespace of a run's own.
pub fn namespace(run: &Run, name: &str) -> DynamicObject {
    let mut labels = run.labels("run", None);
    // Agents read the node; the stricter levels forbid that.
    labels["pod-security.kubernetes.io/enforce"] = "privileged".into();
    object(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels},
    }))
}

/// Thousandths of a CPU, from how Kubernetes writes CPUs: `2`, `1930m`.
pub fn millicpus(quantity: &str) -> Option<u32> {
    match quantity.strip_suffix('m') {
        Some(thousandths) => thousandths.parse().ok(),
        None => quantity.parse::<u32>().ok()?.checked_mul(1000),
    }
}

/// Who our own images run as.
pub const USER: u32 = 65532;

/// What the "restricted" pod security standard asks for, of a pod that runs as `user`.
pub fn pod_security(user: u32) -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": user,
        "runAsGroup": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

/// The container's part of it.
pub fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

/// An object from its JSON form.
///
/// # Panics
/// When the value is no object with `apiVersion` and `kind`: a mistake of the
/// program, since only its own literals are given.
pub fn object(value: Value) -> DynamicObject {
    let object: DynamicObject =
        serde_json::from_value(value).expect("the program's own objects are well-formed");
    assert!(object.types.is_some(), "an object has a kind");
    object
}

/// `kind namespace/name`, as messages name an object.
pub fn describe(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("", |types| &types.kind);
    let name = object.metadata.name.as_deref().unwrap_or_default();
    match &object.metadata.namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}
