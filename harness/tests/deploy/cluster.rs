//! On a real cluster: `FLORA_BENCH_TEST_KUBECONFIG` leads there, and its nodes have the images that
//! `deploy/images/build` makes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::manifests::{documents, of_scenarios};
use crate::support::{kubeconfig, repository};

/// A cluster, and the tool to reach it by.
struct Cluster {
    kubeconfig: PathBuf,
}

impl Cluster {
    fn of(test: &str) -> Option<Cluster> {
        let path = kubeconfig(test)?;
        Some(Cluster { kubeconfig: path })
    }

    /// kubectl to its end: exit code, standard output, standard error.
    fn try_kubectl(&self, args: &[&str], input: &str) -> (i32, String, String) {
        let kubectl =
            std::env::var("FLORA_BENCH_TEST_KUBECTL").unwrap_or_else(|_| "kubectl".into());
        let mut child = Command::new(kubectl)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code().unwrap_or(-1),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    fn kubectl(&self, args: &[&str]) -> String {
        self.kubectl_with(args, "")
    }

    fn kubectl_with(&self, args: &[&str], input: &str) -> String {
        let (code, stdout, stderr) = self.try_kubectl(args, input);
        assert_eq!(code, 0, "kubectl {args:?}: {stderr}");
        stdout
    }

    /// Until a command's output is as wanted.
    fn wait<T>(&self, what: &str, args: &[&str], wanted: impl Fn(&str) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            let (_, stdout, stderr) = self.try_kubectl(args, "");
            if let Some(found) = wanted(&stdout) {
                return found;
            }
            if began.elapsed() > Duration::from_secs(180) {
                let pods = self.kubectl(&["get", "pods", "--all-namespaces", "-o", "wide"]);
                let events = self.kubectl(&["get", "events", "--all-namespaces"]);
                panic!("{what} does not come: {stdout}{stderr}\n{pods}\n{events}");
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// A namespace that a test makes; gone with its owner.
struct Namespace<'a> {
    cluster: &'a Cluster,
    name: &'static str,
}

impl<'a> Namespace<'a> {
    fn new(cluster: &'a Cluster, name: &'static str) -> Self {
        cluster.kubectl(&["create", "namespace", name]);
        Namespace { cluster, name }
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        let args = ["delete", "namespace", self.name, "--timeout=120s"];
        let (code, _, stderr) = self.cluster.try_kubectl(&args, "");
        if code != 0 {
            eprintln!("namespace {} stays: {stderr}", self.name);
        }
    }
}

fn json(objects: &[Value]) -> String {
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
    list.to_string()
}

/// Moves what has a namespace into this one, as the harness does, and leaves out those that a vendor makes.
fn within(objects: Vec<Value>, namespace: &str) -> Vec<Value> {
    let mut objects: Vec<Value> = objects
        .into_iter()
        .filter(|o| o["kind"] != "Namespace")
        .collect();
    for object in &mut objects {
        let kind = object["kind"].as_str().unwrap();
        if !kind.starts_with("Cluster") && kind != "CustomResourceDefinition" {
            object["metadata"]["namespace"] = namespace.into();
        }
    }
    objects
}

const DRY: [&str; 6] = [
    "apply",
    "--server-side",
    "--dry-run=server",
    "--field-manager=flora-bench-test",
    "-f",
    "-",
];

/// Every manifest of a vendor, held against the API server's own rules.
#[test]
fn an_api_server_takes_every_manifest() {
    let Some(cluster) = Cluster::of("cluster::an_api_server_takes_every_manifest") else {
        return;
    };
    let namespace = Namespace::new(&cluster, "flora-test-manifests");
    let mut files = of_scenarios();
    files.push(repository().join("deploy/rbac.yaml"));
    let mut seen = 0;
    for path in files {
        let objects = within(documents(&path), namespace.name);
        let (theirs, plain): (Vec<Value>, Vec<Value>) = objects
            .into_iter()
            .partition(|object| object["apiVersion"] == "px.dev/v1alpha1");
        if !plain.is_empty() {
            let said = cluster.kubectl_with(&DRY, &json(&plain));
            assert_eq!(
                said.lines().count(),
                plain.len(),
                "{}: {said}",
                path.display()
            );
            seen += plain.len();
        }
        // Their kind is made by another manifest; nothing of it is there yet.
        if !theirs.is_empty() {
            let (code, _, stderr) = cluster.try_kubectl(&DRY, &json(&theirs));
            assert_ne!(code, 0);
            assert!(
                stderr.contains("no matches for kind \"Vizier\""),
                "{stderr}"
            );
            vizier(&cluster, &theirs);
            seen += theirs.len();
        }
    }
    assert!(seen > 20, "only {seen} objects were seen");
    // Nobody here has Karpenter; that is what is said, and nothing else.
    let nodes = documents(&repository().join("deploy/karpenter/nodepool.yaml"));
    let (code, _, stderr) = cluster.try_kubectl(&DRY, &json(&nodes));
    assert_ne!(code, 0);
    for kind in ["NodePool", "EC2NodeClass"] {
        assert!(
            stderr.contains(&format!("no matches for kind \"{kind}\"")),
            "{stderr}"
        );
    }
    eprintln!("NodePool and EC2NodeClass were read, and not checked: their kinds are not here");
}

/// With its kind in the cluster, and taken away again.
fn vizier(cluster: &Cluster, objects: &[Value]) {
    let operator = repository().join("scenarios/pixie/kubernetes/operator.yaml");
    let kind = documents(&operator)
        .into_iter()
        .find(|o| o["kind"] == "CustomResourceDefinition");
    cluster.kubectl_with(&["apply", "-f", "-"], &kind.unwrap().to_string());
    cluster.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/viziers.px.dev",
        "--timeout=60s",
    ]);
    let began = Instant::now();
    // The server publishes a new kind a moment after it is established.
    let outcome = loop {
        let outcome = cluster.try_kubectl(&DRY, &json(objects));
        if outcome.0 == 0 || began.elapsed() > Duration::from_secs(30) {
            break outcome;
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    cluster.kubectl(&["delete", "crd", "viziers.px.dev"]);
    assert_eq!(outcome.0, 0, "{}", outcome.2);
}

/// What `kubectl kustomize` makes of a directory.
fn kustomize(cluster: &Cluster, directory: &Path) -> Vec<Value> {
    let text = cluster.kubectl(&["kustomize", directory.to_str().unwrap()]);
    let all: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    all
}

#[test]
fn the_monitoring_stack_is_taken_and_victoria_metrics_finds_what_it_scrapes() {
    let name = "cluster::the_monitoring_stack_is_taken_and_victoria_metrics_finds_what_it_scrapes";
    let Some(cluster) = Cluster::of(name) else {
        return;
    };
    let objects = kustomize(&cluster, &repository().join("deploy/monitoring"));
    let _namespace = Namespace::new(&cluster, "flora-monitoring");
    let said = cluster.kubectl_with(&DRY, &json(&objects));
    assert!(said.lines().count() >= 12, "{said}");
    let data: Vec<&Value> = objects
        .iter()
        .filter(|o| o["kind"] == "ConfigMap")
        .collect();
    let holds = |key: &str| data.iter().any(|map| map["data"][key].is_string());
    for key in [
        "scrape.yaml",
        "datasources.yaml",
        "dashboards.yaml",
        "run.json",
        "flora-agent.json",
    ] {
        assert!(holds(key), "{key}");
    }
    let images = std::env::var("FLORA_BENCH_TEST_IMAGES").unwrap_or_default();
    let mut images = images.split(',');
    let Some(image) = images.find_map(|pair| pair.strip_prefix("victoria-metrics=")) else {
        return eprintln!("SKIPPED: {name}: FLORA_BENCH_TEST_IMAGES names no victoria-metrics");
    };
    // Grafana's image can't be had where nothing is pulled, so its pod is not waited for.
    let mut objects: Vec<Value> = objects
        .into_iter()
        .filter(|o| o["metadata"]["name"] != "grafana")
        .collect();
    for object in &mut objects {
        if object["kind"] == "Deployment" {
            object["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        }
    }
    cluster.kubectl_with(&["apply", "--server-side", "-f", "-"], &json(&objects));
    let query = "/api/v1/namespaces/flora-monitoring/services/victoria-metrics:http/proxy/api/v1/query?query=count(container_cpu_usage_seconds_total)by(node)";
    let nodes = cluster
        .kubectl(&["get", "nodes", "-o", "name"])
        .lines()
        .count();
    cluster.wait(
        "cAdvisor's series of every node",
        &["get", "--raw", query],
        |answer| {
            let answer: Value = serde_json::from_str(answer).ok()?;
            (answer["data"]["result"].as_array()?.len() == nodes).then_some(())
        },
    );
    for kind in ["clusterrole", "clusterrolebinding"] {
        cluster.kubectl(&["delete", kind, "flora-monitoring-victoria-metrics"]);
    }
}

/// Our images, started as the manifests start them: the target as nobody in particular, Flora with
/// three capabilities; and Flora sees what the target is asked.
#[test]
fn flora_sees_a_target_pod() {
    let Some(cluster) = Cluster::of("cluster::flora_sees_a_target_pod") else {
        return;
    };
    let _target = Namespace::new(&cluster, "flora-test-target");
    let version = env!("CARGO_PKG_VERSION");
    let target = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "target", "namespace": "flora-test-target"},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "app",
                "image": format!("flora-bench/target-app:{version}"),
                "imagePullPolicy": "IfNotPresent",
                "args": ["--listen", "0.0.0.0:8080"],
                "ports": [{"containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
                "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    cluster.kubectl_with(&["apply", "-f", "-"], &target.to_string());
    let objects = kustomize(&cluster, &repository().join("deploy/flora-agent"));
    cluster.kubectl_with(&["apply", "--server-side", "-f", "-"], &json(&objects));
    let _flora = Namespace {
        cluster: &cluster,
        name: "flora",
    };
    let wait = |what: &str| {
        let (namespace, kind) = what.split_once('/').unwrap();
        let arguments = match kind {
            "pod" => [
                "-n",
                namespace,
                "wait",
                "--for=condition=Ready",
                "pod/target",
                "--timeout=180s",
            ]
            .to_vec(),
            _ => [
                "-n",
                namespace,
                "rollout",
                "status",
                "daemonset/flora-agent",
                "--timeout=180s",
            ]
            .to_vec(),
        };
        cluster.kubectl(&arguments);
    };
    wait("flora-test-target/pod");
    wait("flora/daemonset");
    let node = cluster.kubectl(&[
        "-n",
        "flora-test-target",
        "get",
        "pod",
        "target",
        "-o",
        "jsonpath={.spec.nodeName}",
    ]);
    let selector = format!("--field-selector=spec.nodeName={node}");
    let agent = cluster.kubectl(&[
        "-n",
        "flora",
        "get",
        "pods",
        &selector,
        "-o",
        "jsonpath={.items[0].metadata.name}",
    ]);
    for _ in 0..5 {
        cluster.kubectl(&[
            "get",
            "--raw",
            "/api/v1/namespaces/flora-test-target/pods/target:8080/proxy/objects",
        ]);
    }
    let metrics = format!("/api/v1/namespaces/flora/pods/{agent}:9464/proxy/metrics");
    let line = cluster.wait(
        "the count of the target's requests",
        &["get", "--raw", &metrics],
        |text| {
            let mut lines = text.lines();
            let found = lines.find(|line| {
                line.starts_with("flora_http_requests_total{")
                    && line.contains(r#"namespace="flora-test-target""#)
                    && line.contains(r#"pod="target""#)
                    && line.contains(r#"route="/objects""#)
            })?;
            Some(found.to_owned())
        },
    );
    assert!(
        line.contains(r#"container="app""#) && line.ends_with(" 5"),
        "{line}"
    );
}
