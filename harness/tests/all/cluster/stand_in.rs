//! A stand-in for the k6 operator, where the real one can't be had: its kind,
//! with the fields that `api/v1alpha1/testrun_types.go` has at v1.6.0, and a
//! loop that makes the runner's Job as `pkg/resources/jobs/runner.go` does and
//! walks through the stages. It starts k6 at once: no initializer, no starter.

use std::time::Duration;

use flora_bench::backend::kubernetes::Cluster;
use flora_bench::backend::kubernetes::load::test_run;
use flora_bench::backend::kubernetes::object::object;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const CRD: &str = "testruns.k6.io";

/// The kind and the loop.
pub struct Operator {
    reconciles: JoinHandle<()>,
}

impl Operator {
    /// Adds the kind to the cluster and begins.
    pub async fn install(cluster: &Cluster) -> Operator {
        let api = definitions(cluster);
        api.create(&PostParams::default(), &definition())
            .await
            .unwrap();
        for _ in 0..200 {
            let served = test_runs(cluster)
                .list(&ListParams::default())
                .await
                .is_ok();
            if served
                && flora_bench::backend::kubernetes::load::starter(cluster)
                    .await
                    .unwrap()
                    == flora_bench::backend::kubernetes::load::Starter::Operator
            {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        let own = cluster.clone();
        let reconciles = tokio::spawn(async move {
            loop {
                if let Ok(all) = test_runs(&own).list(&ListParams::default()).await {
                    for one in all {
                        reconcile(&own, &one).await;
                    }
                }
                sleep(Duration::from_millis(300)).await;
            }
        });
        Operator { reconciles }
    }

    /// Takes the kind away again.
    pub async fn remove(self, cluster: &Cluster) {
        self.reconciles.abort();
        let api = definitions(cluster);
        api.delete(CRD, &DeleteParams::default()).await.unwrap();
        while api.get_opt(CRD).await.unwrap().is_some() {
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The stage, once it is the last.
    pub async fn stage(&self, cluster: &Cluster, name: &str) -> String {
        for _ in 0..50 {
            let found = test_runs(cluster).get(name).await.unwrap();
            if test_run::stage(&found) == "finished" {
                return "finished".into();
            }
            sleep(Duration::from_millis(200)).await;
        }
        "another".into()
    }

    /// What the API server kept of the object.
    pub async fn spec(&self, cluster: &Cluster, name: &str) -> Value {
        test_runs(cluster).get(name).await.unwrap().data["spec"].clone()
    }
}

/// That every field that was sent is there, with its value.
pub fn assert_kept(sent: &Value, kept: &Value) {
    match (sent, kept) {
        (Value::Object(sent), Value::Object(kept)) => {
            for (name, value) in sent {
                assert_kept(
                    value,
                    kept.get(name)
                        .unwrap_or_else(|| panic!("{name} was dropped")),
                );
            }
        }
        _ => assert_eq!(sent, kept),
    }
}

fn definitions(cluster: &Cluster) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    Api::all_with(cluster.client.clone(), &ApiResource::from_gvk(&kind))
}

fn test_runs(cluster: &Cluster) -> Api<DynamicObject> {
    let namespace = &cluster.run.namespace;
    Api::namespaced_with(cluster.client.clone(), namespace, &test_run::resource())
}

async fn reconcile(cluster: &Cluster, one: &DynamicObject) {
    let name = one.metadata.name.clone().unwrap();
    let jobs: Api<Job> = Api::namespaced(cluster.client.clone(), &cluster.run.namespace);
    let stage = match test_run::stage(one) {
        "" => "created",
        "created" => {
            let job = serde_json::from_value(runner(one)).unwrap();
            let _ = jobs.create(&PostParams::default(), &job).await;
            "started"
        }
        "started" => {
            let job = jobs.get(&format!("{name}-1")).await.ok();
            let status = job.and_then(|job| job.status).unwrap_or_default();
            // As the real one: whatever became of it.
            let over = status.active.unwrap_or(0) == 0
                && (status.failed.unwrap_or(0) > 0 || status.succeeded.unwrap_or(0) > 0);
            if !over {
                return;
            }
            "finished"
        }
        _ => return,
    };
    let status = Patch::Merge(json!({"status": {"stage": stage}}));
    let _ = test_runs(cluster)
        .patch_status(&name, &PatchParams::default(), &status)
        .await;
}

/// The runner's Job: command, labels and mounts of the operator's own.
fn runner(one: &DynamicObject) -> Value {
    let name = one.metadata.name.clone().unwrap();
    let (spec, runner) = (&one.data["spec"], &one.data["spec"]["runner"]);
    let script = &spec["script"]["configMap"];
    let mut command: Vec<String> = ["k6", "run", "--quiet"].map(Into::into).into();
    let arguments = spec["arguments"].as_str().unwrap_or_default();
    command.extend(arguments.split_whitespace().map(Into::into));
    command.push(format!("/test/{}", script["file"].as_str().unwrap()));
    command.push("--address=0.0.0.0:6565".into());
    for tag in ["instance_id=1".to_owned(), format!("testrun_name={name}")] {
        command.extend(["--tag".to_owned(), tag]);
    }
    let mut labels = json!({"app": "k6", "k6_cr": name, "runner": "true"});
    for (key, value) in runner["metadata"]["labels"].as_object().unwrap() {
        let labels = labels.as_object_mut().unwrap();
        labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    json!({
        "metadata": {
            "name": format!("{name}-1"),
            "namespace": one.metadata.namespace,
            "labels": labels,
            "ownerReferences": [{
                "apiVersion": "k6.io/v1alpha1", "kind": "TestRun", "name": name,
                "uid": one.metadata.uid, "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "automountServiceAccountToken": runner["automountServiceAccountToken"] != "false",
                    "restartPolicy": "Never",
                    "nodeSelector": runner["nodeSelector"],
                    "tolerations": runner["tolerations"],
                    "securityContext": runner["securityContext"],
                    "containers": [{
                        "name": "k6",
                        "image": runner["image"],
                        "imagePullPolicy": runner["imagePullPolicy"],
                        "command": command,
                        "env": runner["env"],
                        "resources": runner["resources"],
                        "securityContext": runner["containerSecurityContext"],
                        "volumeMounts": [{"name": "k6-test-volume", "mountPath": "/test"}],
                    }],
                    "volumes": [{"name": "k6-test-volume", "configMap": {"name": script["name"]}}],
                },
            },
        },
    })
}

/// The kind. What a field holds further down is Kubernetes' own and kept as it
/// is; the fields' names are the operator's, and any other is dropped.
fn definition() -> DynamicObject {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let text = json!({"type": "string"});
    let list = json!({"type": "array", "items": any});
    let pod = json!({"type": "object", "properties": {
        "disabled": {"type": "boolean", "default": false},
        "affinity": any,
        "automountServiceAccountToken": text,
        "env": list,
        "image": text,
        "imagePullSecrets": list,
        "imagePullPolicy": text,
        "metadata": {"type": "object", "properties": {
            "annotations": {"type": "object", "additionalProperties": text},
            "labels": {"type": "object", "additionalProperties": text},
        }},
        "nodeSelector": {"type": "object", "additionalProperties": text},
        "tolerations": list,
        "topologySpreadConstraints": list,
        "resources": any,
        "serviceAccountName": text,
        "securityContext": any,
        "containerSecurityContext": any,
        "envFrom": list,
        "readinessProbe": any,
        "livenessProbe": any,
        "initContainers": list,
        "volumes": list,
        "volumeMounts": list,
        "priorityClassName": text,
        "schedulerName": text,
    }});
    let script = json!({"type": "object", "properties": {
        "configMap": {"type": "object", "required": ["name"], "properties": {
            "name": text, "file": text,
        }},
        "volumeClaim": any,
        "localFile": text,
    }});
    let spec = json!({"type": "object", "required": ["script", "parallelism"], "properties": {
        "script": script,
        "parallelism": {"type": "integer", "format": "int32"},
        "separate": {"type": "boolean"},
        "arguments": text,
        "ports": list,
        "initializer": pod,
        "starter": pod,
        "runner": pod,
        "quiet": {"type": "string", "default": "true"},
        "paused": {"type": "string", "default": "true"},
        "scuttle": any,
        "cleanup": {"type": "string", "enum": ["post"]},
        "cloud": any,
        "testRunId": text,
        "token": text,
    }});
    let stages = [
        "initialization",
        "initialized",
        "created",
        "started",
        "stopped",
        "finished",
        "error",
    ];
    let status = json!({"type": "object", "properties": {
        "stage": {"type": "string", "enum": stages},
        "testRunId": text,
        "aggregationVars": text,
        "conditions": list,
    }});
    object(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD},
        "spec": {
            "group": test_run::GROUP,
            "names": {"kind": test_run::KIND, "plural": test_run::PLURAL, "singular": "testrun"},
            "scope": "Namespaced",
            "versions": [{
                "name": test_run::VERSION, "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": spec, "status": status},
                }},
            }],
        },
    }))
}
