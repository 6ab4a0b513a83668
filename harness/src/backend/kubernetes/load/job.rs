//! k6 as a plain Job: the script's ConfigMap, the pod, the Job around it.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::LoadOrder;
use crate::backend::kubernetes::object::{self, Run};
use crate::load::k6;

/// The script's name in its ConfigMap, and the directory where it is mounted:
/// the operator's own for scripts.
pub const SCRIPT: &str = "fixed-rate.js";
const MOUNT: &str = "/test";
/// What the objects are for, in their labels.
pub const ROLE: &str = "load";
/// The container, as the operator calls it too.
pub const CONTAINER: &str = "k6";
/// Who k6 is in its image; it needs nothing that an account would give.
pub const USER: u32 = 12345;

/// The ConfigMap with the script.
pub fn script(run: &Run, order: &LoadOrder) -> DynamicObject {
    object::object(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": script_name(order),
            "namespace": run.namespace,
            "labels": run.labels(ROLE, Some(order.trial)),
        },
        "data": {SCRIPT: k6::SCRIPT},
    }))
}

/// The ConfigMap's name.
pub fn script_name(order: &LoadOrder) -> String {
    format!("{}-script", order.name)
}

/// The Job. It is never tried again: a second k6 would be another trial.
pub fn object(run: &Run, order: &LoadOrder) -> DynamicObject {
    let labels = run.labels(ROLE, Some(order.trial));
    let mut args: Vec<String> = ["run", "--quiet", "--address="].map(Into::into).into();
    args.extend(arguments(order));
    // The operator's own two, so that one query finds either's series.
    args.push("--tag=instance_id=1".into());
    args.push(format!("--tag=testrun_name={}", order.name));
    args.push(format!("{MOUNT}/{SCRIPT}"));
    object::object(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": order.name, "namespace": run.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": super::watch::limit(order).as_secs(),
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 2,
                    "nodeSelector": order.group.node_selector(),
                    "tolerations": order.group.tolerations(),
                    "securityContext": object::pod_security(USER),
                    "containers": [{
                        "name": CONTAINER,
                        "image": order.images.k6,
                        "imagePullPolicy": "IfNotPresent",
                        "args": args,
                        "env": environment(order),
                        "resources": resources(order),
                        "securityContext": object::container_security(),
                        "volumeMounts": [{"name": "script", "mountPath": MOUNT, "readOnly": true}],
                    }],
                    "volumes": [{"name": "script", "configMap": {"name": script_name(order)}}],
                },
            },
        },
    }))
}

/// k6's arguments, the same for whoever starts it.
pub fn arguments(order: &LoadOrder) -> Vec<String> {
    let trial = order.trial.to_string();
    let tags = [("trial", trial.as_str()), ("arm", order.arm.as_str())];
    k6::arguments(&tags, order.remote_write.is_some())
}

/// How long the target's Service may take to lead to its pod, on the load's node, in seconds.
const READY: u32 = 30;

/// The script's settings as a container has them.
pub fn environment(order: &LoadOrder) -> Value {
    let settings = k6::environment(&order.spec, order.remote_write.as_deref());
    settings
        .into_iter()
        .chain([("READY", READY.to_string())])
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect()
}

/// As much as it may use and no more, so that the scheduler keeps it free.
pub fn resources(order: &LoadOrder) -> Value {
    let own = json!({"cpu": format!("{}m", order.millicpus), "memory": "1Gi"});
    json!({"requests": own, "limits": own})
}
