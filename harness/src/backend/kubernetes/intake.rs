//! The intake as a pod: the harness's own image beside an arm whose agent sends to it.

use kube::core::DynamicObject;
use serde_json::json;

use super::groups::Group;
use super::images::{HARNESS, Images};
use super::object::{USER, container_security, object, pod_security};
use super::target::Place;
use crate::intake::{Addresses, SUBCOMMAND};

/// The name of Deployment, Service and container.
pub const NAME: &str = "intake";
/// Its ports: those that each protocol is known by.
const PORTS: [(&str, u16, &str); 5] = [
    ("otlp-http", 4318, "TCP"),
    ("otlp-grpc", 4317, "TCP"),
    ("datadog", 8080, "TCP"),
    ("metrics", METRICS, "TCP"),
    ("statsd", 8125, "UDP"),
];
/// The port of its own counts.
pub const METRICS: u16 = 9465;

/// Where pods reach it.
pub fn addresses(namespace: &str) -> Addresses {
    let at = |name| {
        let port = PORTS.into_iter().find(|(other, ..)| *other == name);
        let port = port.map_or(0, |(_, port, _)| port);
        format!("{NAME}.{namespace}.svc:{port}")
    };
    Addresses {
        otlp_http: at("otlp-http"),
        otlp_grpc: at("otlp-grpc"),
        datadog: at("datadog"),
        statsd: at("statsd"),
        metrics: at("metrics"),
    }
}

/// Its objects: on the monitoring nodes, so that what it costs is not on the target's.
pub fn objects(place: &Place<'_>, images: &Images, monitoring: &Group) -> Vec<DynamicObject> {
    let port = |(name, port, protocol): (&str, u16, &str)| json!({"name": name, "containerPort": port, "protocol": protocol});
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": place.metadata(NAME, NAME),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": place.selector(NAME)},
            "template": {
                "metadata": {"labels": place.run.labels(NAME, Some(place.trial))},
                "spec": {
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 2,
                    "nodeSelector": monitoring.node_selector(),
                    "tolerations": monitoring.tolerations(),
                    "securityContext": pod_security(USER),
                    "containers": [{
                        "name": NAME,
                        "image": images.of(HARNESS),
                        "imagePullPolicy": "IfNotPresent",
                        "args": [SUBCOMMAND, "--in-cluster"],
                        "ports": PORTS.map(port),
                        "readinessProbe": {
                            "httpGet": {"path": "/metrics", "port": "metrics"},
                            "periodSeconds": 1,
                        },
                        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
                        "securityContext": container_security(),
                    }],
                },
            },
        },
    });
    let service_port = |(name, port, protocol): (&str, u16, &str)| json!({"name": name, "port": port, "targetPort": name, "protocol": protocol});
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": place.metadata(NAME, NAME),
        "spec": {
            "selector": place.selector(NAME),
            "ports": PORTS.map(service_port),
        },
    });
    vec![object(deployment), object(service)]
}

/// The ports that the intake listens on in a cluster, in the order in which it opens them.
pub fn ports() -> [u16; 5] {
    PORTS.map(|(_, port, _)| port)
}
