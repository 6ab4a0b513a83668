//! The k6 operator's `TestRun` (`k6.io/v1alpha1`), and what it says of itself.
//!
//! Field names are those of the operator's `api/v1alpha1/testrun_types.go` at
//! v1.6.0; two of them are strings where one expects a boolean.

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use super::LoadOrder;
use super::job::{self, SCRIPT};
use crate::backend::kubernetes::object::{self, Run};

/// The API group.
pub const GROUP: &str = "k6.io";
/// Its version.
pub const VERSION: &str = "v1alpha1";
/// The kind.
pub const KIND: &str = "TestRun";
/// The kind's name in addresses.
pub const PLURAL: &str = "testruns";

/// How the API server knows it.
pub fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, KIND), PLURAL)
}

/// The object: one runner, whose Job the operator calls `<name>-1`.
pub fn object(run: &Run, order: &LoadOrder) -> DynamicObject {
    let labels = run.labels(job::ROLE, Some(order.trial));
    let placement = json!({
        "nodeSelector": order.group.node_selector(),
        "tolerations": order.group.tolerations(),
        "automountServiceAccountToken": "false",
        "imagePullPolicy": "IfNotPresent",
        "metadata": {"labels": labels},
        "securityContext": object::pod_security(job::USER),
    });
    let own = json!({
        "image": order.images.k6,
        "env": job::environment(order),
        "resources": job::resources(order),
        "containerSecurityContext": object::container_security(),
    });
    // It only tells k6 to begin: curl, for a moment.
    let small = json!({"cpu": "50m", "memory": "32Mi"});
    let starter = json!({
        "image": order.images.starter,
        "resources": {"requests": small, "limits": small},
        "containerSecurityContext": object::container_security(),
    });
    // The script is the program's own and known to be valid. An operator that
    // knows no `disabled` yet drops the field and finds a runner's settings;
    // it needs a shell in the image then, and a place to write to.
    let initializer = json!({
        "disabled": true,
        "containerSecurityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
        },
    });
    object::object(json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": KIND,
        "metadata": {"name": order.name, "namespace": run.namespace, "labels": labels},
        "spec": {
            "parallelism": 1,
            "script": {"configMap": {"name": job::script_name(order), "file": SCRIPT}},
            // One string that is split at spaces: every version of the operator knows it.
            "arguments": job::arguments(order).join(" "),
            "runner": merged(&[&placement, &own]),
            "initializer": merged(&[&placement, &own, &initializer]),
            "starter": merged(&[&placement, &starter]),
        },
    }))
}

/// Objects laid over each other, the later ones on top.
fn merged(parts: &[&Value]) -> Value {
    let parts = parts.iter().filter_map(|part| part.as_object());
    Value::Object(parts.flat_map(Clone::clone).collect())
}

/// The selector of its runner's pod.
pub fn selector(order: &LoadOrder) -> String {
    format!("app=k6,k6_cr={},runner=true", order.name)
}

/// Why the operator gave up, if it did.
pub fn failure(test_run: &DynamicObject) -> Option<String> {
    (stage(test_run) == "error").then(|| {
        let conditions = test_run.data.pointer("/status/conditions");
        let told: Vec<&str> = conditions
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|condition| condition["message"].as_str())
            .filter(|message| !message.is_empty())
            .collect();
        match told.is_empty() {
            true => "gave up; its log says why (`kubectl -n k6-operator-system logs deployment/k6-operator-controller-manager`)".into(),
            false => format!("gave up: {}", told.join("; ")),
        }
    })
}

/// How far it is, in the operator's word; empty before it has looked.
pub fn stage(test_run: &DynamicObject) -> &str {
    let stage = test_run.data.pointer("/status/stage");
    stage.and_then(Value::as_str).unwrap_or_default()
}
