//! The target's own objects: a Deployment of one pod, and the Service that load is sent to.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::groups::Group;
use super::images::{self, Images};
use super::object::{OWNER, ROLE, Run, TRIAL, USER, container_security, object, pod_security};
use crate::experiment::Limits;
use crate::scenario::Scenario;

/// The name of Deployment, Service and container.
pub const NAME: &str = "target";
/// The port that it listens on, unless the scenario says another.
pub const PORT: u16 = 8080;
/// What it is called in labels.
pub const ROLE_NAME: &str = "target";

/// Where one trial's objects go.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The run.
    pub run: &'a Run,
    /// The namespace.
    pub namespace: &'a str,
    /// The trial; 0 in a plan that is only shown.
    pub trial: u32,
    /// The nodes.
    pub group: &'a Group,
    /// What the target may use.
    pub limits: Limits,
}

impl Place<'_> {
    /// `metadata` of an object with that name and role.
    pub fn metadata(&self, name: &str, role: &str) -> Value {
        json!({
            "name": name,
            "namespace": self.namespace,
            "labels": self.run.labels(role, Some(self.trial)),
        })
    }

    /// What selects the pods of a role in this trial.
    pub fn selector(&self, role: &str) -> Value {
        json!({OWNER: self.run.owner, ROLE: role, TRIAL: self.trial.to_string()})
    }
}

/// The port that a scenario's target listens on in a cluster.
pub fn port(arm: &Scenario) -> u16 {
    arm.target.port.unwrap_or(PORT)
}

/// The image of a scenario's target.
pub fn image(arm: &Scenario, images: &Images) -> String {
    let said = arm.kubernetes.as_ref();
    let said = said.and_then(|kubernetes| kubernetes.image.as_deref());
    match said {
        Some(image) => images.or(&arm.target.program, image),
        None => images.of(&arm.target.program),
    }
}

/// Why there is no image of a scenario's target, where none is given and this project makes none.
pub fn lacks_image(arm: &Scenario, images: &Images) -> Option<String> {
    let program = arm.target.program.as_str();
    let said = arm.kubernetes.as_ref().is_some_and(|it| it.image.is_some());
    let known = said || images.given(program).is_some() || images::BUILT.contains(&program);
    (!known).then(|| {
        format!("there is no image of {program}; name one with --image {program}=REFERENCE")
    })
}

/// The target's environment before its placeholders are filled in.
pub fn environment(arm: &Scenario) -> &BTreeMap<String, String> {
    let own = arm.kubernetes.as_ref();
    own.and_then(|kubernetes| kubernetes.env.as_ref())
        .unwrap_or(&arm.target.env)
}

/// The target's objects, with its environment filled in.
pub fn objects(
    place: &Place<'_>,
    arm: &Scenario,
    images: &Images,
    env: &BTreeMap<String, String>,
) -> Vec<DynamicObject> {
    let port = port(arm);
    let env: Vec<Value> = env
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": place.metadata(NAME, ROLE_NAME),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": place.selector(ROLE_NAME)},
            "template": {
                "metadata": {"labels": place.run.labels(ROLE_NAME, Some(place.trial))},
                "spec": {
                    // It asks the API server nothing, and variables of every Service would be in its environment.
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 5,
                    "nodeSelector": place.group.node_selector(),
                    "tolerations": place.group.tolerations(),
                    "securityContext": pod_security(USER),
                    "containers": [{
                        "name": NAME,
                        "image": image(arm, images),
                        "imagePullPolicy": "IfNotPresent",
                        "args": arm.target.arguments(&format!("0.0.0.0:{port}")),
                        "env": env,
                        "ports": [{"name": "http", "containerPort": port}],
                        "readinessProbe": {
                            "httpGet": {"path": "/healthz", "port": "http"},
                            "periodSeconds": 1,
                        },
                        "resources": resources(place.limits),
                        "securityContext": container_security(),
                    }],
                },
            },
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": place.metadata(NAME, ROLE_NAME),
        "spec": {
            "selector": place.selector(ROLE_NAME),
            "ports": [{"name": "http", "port": port, "targetPort": "http"}],
        },
    });
    vec![object(deployment), object(service)]
}

/// What the target's container asks for, and what it may use: nothing is limited
/// outside of an experiment, as a quota would turn CPU cost into latency.
fn resources(limits: Limits) -> Value {
    let mut resources = json!({"requests": {"cpu": "100m", "memory": "64Mi"}});
    let cpu = limits.cpu_cores.map(|cores| format!("{:.0}m", cores * 1e3));
    let memory = limits.memory_bytes.map(|bytes| format!("{bytes:.0}"));
    for (name, limit) in [("cpu", cpu), ("memory", memory)] {
        if let Some(limit) = limit {
            // A request above the limit is refused, and one below it promises less than is measured.
            resources["requests"][name] = limit.clone().into();
            resources["limits"][name] = limit.into();
        }
    }
    resources
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::wire;
    use std::path::Path;

    #[test]
    fn an_image_that_nobody_makes_is_missed() {
        let lacks = |text: &str, images: &Images| {
            let arm = wire::parse(Path::new("s.yaml"), text).unwrap();
            lacks_image(&arm, images).is_some()
        };
        let oldest = "question: q\ntarget: {program: target-app-go-oldest}\n";
        assert!(lacks(oldest, &Images::default()));
        let name = "target-app-go-oldest".to_owned();
        let given = Images::new([(name, "registry.example/oldest:1".to_owned())].into());
        assert!(!lacks(oldest, &given));
        let said = format!("{oldest}kubernetes: {{image: registry.example/oldest:1}}\n");
        assert!(!lacks(&said, &Images::default()));
        assert!(!lacks("question: q\n", &Images::default()));
    }

    #[test]
    fn what_is_limited_is_asked_for() {
        let none = resources(Limits::default());
        assert_eq!(none, json!({"requests": {"cpu": "100m", "memory": "64Mi"}}));
        let cpu = resources(Limits {
            cpu_cores: Some(0.05),
            ..Limits::default()
        });
        let expected =
            json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "50m"}});
        assert_eq!(cpu, expected);
        let memory = resources(Limits {
            memory_bytes: Some(6_000_000.4),
            ..Limits::default()
        });
        assert_eq!(memory["limits"], json!({"memory": "6000000"}));
        assert_eq!(memory["requests"]["memory"], "6000000");
    }
}
