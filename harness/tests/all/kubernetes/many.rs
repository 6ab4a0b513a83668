//! A hundred nodes. The API server, the scheduler and the controllers are real; ninety-eight of the
//! nodes are not: a stand-in for their kubelets says that their pods run, all of them at the address
//! of the one target, or the one observer, that does.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use flora_bench::backend::kubernetes::client::{Access, connect};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::cluster::{alone, kubeconfig, kubectl, scenario, state};
use super::faults::until;
use crate::support::scenarios;

const FAKE: usize = 98;
const LIMIT: Duration = Duration::from_secs(60);

fn name(n: usize) -> String {
    // Before `worker-…`, so that load and monitoring get real ones.
    format!("fake-{n:03}")
}

/// What a kubelet says of its node, again and again.
fn heartbeat() -> serde_json::Value {
    let now = Timestamp::now().to_string();
    let room = json!({"cpu": "8", "memory": "32Gi", "pods": "110"});
    json!({"status": {
        "capacity": room, "allocatable": room,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Pretended", "message": "it is not real",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        }],
    }})
}

async fn beat(nodes: &Api<Node>) -> Result<(), kube::Error> {
    let patch = Patch::Strategic(heartbeat());
    let all = (0..FAKE).map(|n| {
        let patch = &patch;
        async move {
            nodes
                .patch_status(&name(n), &PatchParams::default(), patch)
                .await
        }
    });
    for patched in futures_util::future::join_all(all).await {
        patched?;
    }
    Ok(())
}

/// Says of every pod of these nodes that it runs, and lets go of those that are to be deleted.
async fn pretend(client: Client, target: String, observer: String) {
    let nodes: Api<Node> = Api::all(client.clone());
    let pods: Api<Pod> = Api::all(client.clone());
    let mut last = Instant::now();
    loop {
        if last.elapsed() > Duration::from_secs(10) {
            // One that was missed is made up for by the next.
            let _ = beat(&nodes).await;
            last = Instant::now();
        }
        let listed = pods.list(&ListParams::default()).await;
        for pod in listed.map(|list| list.items).unwrap_or_default() {
            let spec = pod.spec.clone().unwrap_or_default();
            if !spec.node_name.is_some_and(|node| node.starts_with("fake-")) {
                continue;
            }
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            let own: Api<Pod> = Api::namespaced(client.clone(), &namespace);
            let name = pod.metadata.name.clone().unwrap_or_default();
            // What is gone meanwhile is no matter.
            if pod.metadata.deletion_timestamp.is_some() {
                let _ = own
                    .delete(&name, &DeleteParams::default().grace_period(0))
                    .await;
                continue;
            }
            let phase = pod.status.clone().and_then(|status| status.phase);
            if phase.as_deref() == Some("Running") {
                continue;
            }
            let observes = pod.metadata.labels.as_ref().is_some_and(|labels| {
                labels.get("flora-bench.dev/role").map(String::as_str) == Some("observer")
            });
            let address = if observes { &observer } else { &target };
            let now = Timestamp::now().to_string();
            let statuses: Vec<_> = spec
                .containers
                .iter()
                .map(|container| {
                    json!({
                        "name": container.name, "image": container.image, "imageID": "",
                        "containerID": format!("containerd://{name}"),
                        "ready": true, "started": true, "restartCount": 0,
                        "state": {"running": {"startedAt": now}},
                    })
                })
                .collect();
            let conditions = ["Initialized", "ContainersReady", "Ready"]
                .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": now}));
            let patch = Patch::Strategic(json!({"status": {
                "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
                "startTime": now, "conditions": conditions, "containerStatuses": statuses,
            }}));
            let _ = own
                .patch_status(&name, &PatchParams::default(), &patch)
                .await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Starts a pod and gives its address.
fn serving(config: &Path, namespace: &str, name: &str, image: &str, arguments: &[&str]) -> String {
    let image = format!("--image={image}");
    let start = ["-n", namespace, "run", name, &image, "--"];
    kubectl(config, &[&start[..], arguments].concat());
    let pod = format!("pod/{name}");
    let ready = ["--for=condition=Ready", "--timeout=60s"];
    kubectl(
        config,
        &[&["-n", namespace, "wait", &pod][..], &ready].concat(),
    );
    let address = "jsonpath={.status.podIP}";
    kubectl(config, &["-n", namespace, "get", &pod, "-o", address])
}

#[test]
fn a_hundred_nodes_are_planned_and_applied_within_a_minute() {
    let test = "kubernetes::a_hundred_nodes_are_planned_and_applied_within_a_minute";
    let _alone = alone();
    let Some(config) = kubeconfig(test) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let access = Access {
        kubeconfig: Some(config.clone()),
        ..Access::default()
    };
    let client = runtime.block_on(connect(&access)).unwrap().client;
    let nodes: Api<Node> = Api::all(client.clone());
    let target = "flora-bench-test-many";
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        kubectl(&config, &["create", "namespace", target]);
        let served =
            |name, image, arguments: &[&str]| serving(&config, target, name, image, arguments);
        let app = served(
            "target",
            "flora-bench/target-app:0.1.0",
            &["--listen", "0.0.0.0:8080"],
        );
        let observe = ["observe", "--listen=0.0.0.0:9101", "--root=/sys/fs/cgroup"];
        let observer = served("observer", "flora-bench/flora-bench:0.1.0", &observe);
        kubectl(
            &config,
            &["label", "node", "worker-1", "worker-2", "pool=many"],
        );
        runtime.block_on(async {
            for n in 0..FAKE {
                let node = json!({"metadata": {"name": name(n), "labels": {"pool": "many"}}});
                let node = serde_json::from_value(node).unwrap();
                nodes.create(&PostParams::default(), &node).await.unwrap();
            }
            beat(&nodes).await.unwrap();
        });
        runtime.spawn(pretend(client.clone(), app, observer));
        let ready = || {
            let taints = "jsonpath={.items[*].spec.taints}";
            kubectl(&config, &["get", "nodes", "-l", "pool=many", "-o", taints]).is_empty()
        };
        until("the nodes are free", Duration::from_secs(60), ready);
        let before = state(&config);

        let arms: Vec<String> = (0..FAKE - 2).map(|n| format!("arm-{n:02}")).collect();
        let texts: Vec<(&str, &str)> = arms
            .iter()
            .map(|arm| (arm.as_str(), "question: q\n"))
            .collect();
        let files = scenarios(&texts);
        let names: Vec<&str> = arms.iter().map(String::as_str).collect();
        let out = tempfile::tempdir().unwrap();
        let parallel = FAKE.to_string();
        let options = [
            ["--scenarios", files.path().to_str().unwrap()],
            ["--node-selector", "pool=many"],
            ["--parallel", &parallel],
            ["--rate", "1"],
        ]
        .concat();
        let errors = out.path().join("stderr");
        let began = Instant::now();
        let mut child = scenario(&config, out.path(), &names, &options)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let said = || std::fs::read_to_string(&errors).unwrap_or_default();
        // All that were ever there: the first may be over before the last has begun.
        let mut loads = BTreeSet::new();
        let labels = "flora-bench.dev/role=load,flora-bench.dev/trial";
        let jobs = ["get", "jobs", "-A", "-l", labels, "-o", "name"];
        while child.try_wait().unwrap().is_none() && began.elapsed() < 3 * LIMIT {
            loads.extend(kubectl(&config, &jobs).lines().map(str::to_owned));
            if loads.len() >= FAKE {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let took = began.elapsed();
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
        let status = child.wait().unwrap();
        eprintln!("{FAKE} arms on nodes of their own: applied after {took:.1?}");
        assert_eq!(loads.len(), FAKE, "{}", said());
        assert_eq!(status.code(), Some(130), "{}", said());
        until("everything is given back", 2 * LIMIT, || {
            state(&config) == before
        });
    }));
    runtime.block_on(async {
        for n in 0..FAKE {
            let _ = nodes.delete(&name(n), &DeleteParams::default()).await;
        }
    });
    kubectl(&config, &["label", "node", "worker-1", "worker-2", "pool-"]);
    kubectl(
        &config,
        &["delete", "namespace", target, "--ignore-not-found"],
    );
    if let Err(error) = outcome {
        std::panic::resume_unwind(error);
    }
}
