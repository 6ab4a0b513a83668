//! Nodes that are made for a run, on a real API server. Karpenter itself makes machines in a cloud;
//! what stands in for it here has its kind, takes the nodes that are there for new ones, and makes
//! one that is a node by name only, which nothing can run on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::cluster::{Grounds, kubectl, kubectl_may_fail};
use super::faults::until;
use crate::support::{report, run, verified};

/// The fields that Karpenter 1's `NodePool` has, as far as a run writes them.
const KIND: &str = r#"{
  "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
  "metadata": {"name": "nodepools.karpenter.sh"},
  "spec": {
    "group": "karpenter.sh", "scope": "Cluster",
    "names": {"kind": "NodePool", "listKind": "NodePoolList", "plural": "nodepools", "singular": "nodepool"},
    "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
      "type": "object", "required": ["spec"],
      "properties": {"spec": {"type": "object", "required": ["template"], "properties": {
        "template": {"type": "object", "required": ["spec"], "properties": {
          "metadata": {"type": "object", "properties": {"labels": {"type": "object", "additionalProperties": {"type": "string"}}}},
          "spec": {"type": "object", "required": ["nodeClassRef", "requirements"], "properties": {
            "nodeClassRef": {"type": "object", "required": ["group", "kind", "name"], "properties": {
              "group": {"type": "string"}, "kind": {"type": "string"}, "name": {"type": "string"}}},
            "requirements": {"type": "array", "items": {"type": "object", "required": ["key", "operator"], "properties": {
              "key": {"type": "string"}, "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]},
              "values": {"type": "array", "items": {"type": "string"}}}}},
            "expireAfter": {"type": "string", "pattern": "^(([0-9]+(s|m|h))+|Never)$"}}}}},
        "disruption": {"type": "object", "required": ["consolidateAfter"], "properties": {
          "consolidationPolicy": {"type": "string", "enum": ["WhenEmpty", "WhenEmptyOrUnderutilized"]},
          "consolidateAfter": {"type": "string", "pattern": "^(([0-9]+(s|m|h))+|Never)$"}}}}}}}}}]
  }
}"#;

/// The node by name only.
const MADE: &str = r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "made"},
  "spec": {"taints": [{"key": "test.example/no-machine", "effect": "NoSchedule"}]}}"#;

/// Gives every node the label of the pool that is there, and takes it away with the pool.
struct Pools {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<String>>>,
    config: PathBuf,
}

impl Pools {
    fn start(config: &Path) -> Self {
        apply(config, KIND);
        let established = "--for=condition=Established";
        kubectl(
            config,
            &[
                "wait",
                established,
                "crd/nodepools.karpenter.sh",
                "--timeout=60s",
            ],
        );
        // What is established is served a moment later.
        until("node pools are served", Duration::from_secs(60), || {
            kubectl_may_fail(config, &["get", "nodepools"]).0 == 0
        });
        let ended = Arc::new(AtomicBool::new(false));
        let (end, own) = (Arc::clone(&ended), config.to_owned());
        let thread = std::thread::spawn(move || {
            let mut seen: Vec<String> = Vec::new();
            while !end.load(Ordering::SeqCst) {
                let names = "jsonpath={.items[*].metadata.name}";
                let pool = kubectl(&own, &["get", "nodepools", "-o", names]);
                match pool.trim() {
                    "" => unlabel(&own),
                    name => {
                        if seen.last().is_none_or(|last| last != name) {
                            seen.push(name.to_owned());
                            apply(&own, MADE);
                        }
                        ready(&own);
                        let label = format!("flora-bench.dev/pool={name}");
                        kubectl(&own, &["label", "nodes", "--all", "--overwrite", &label]);
                    }
                }
                std::thread::sleep(Duration::from_millis(500));
            }
            seen
        });
        Pools {
            ended,
            thread: Some(thread),
            config: config.to_owned(),
        }
    }

    /// The pools that it has seen.
    fn stop(mut self) -> Vec<String> {
        self.ended.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Pools {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let kind = "crd/nodepools.karpenter.sh";
        kubectl(&self.config, &["delete", kind]);
        unlabel(&self.config);
    }
}

fn apply(config: &Path, text: &str) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("object.json");
    std::fs::write(&file, text).unwrap();
    kubectl(config, &["apply", "-f", file.to_str().unwrap()]);
}

/// Says for the node by name only what its kubelet would.
fn ready(config: &Path) {
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
    let status = serde_json::json!({"status": {"conditions": [{
        "type": "Ready", "status": "True", "reason": "StandIn", "lastHeartbeatTime": now.to_string(),
    }]}});
    let patch = status.to_string();
    kubectl(
        config,
        &[
            "patch",
            "node",
            "made",
            "--subresource=status",
            "-p",
            &patch,
        ],
    );
}

fn unlabel(config: &Path) {
    kubectl(config, &["delete", "node", "made", "--ignore-not-found"]);
    let label = "flora-bench.dev/pool-";
    kubectl(config, &["label", "nodes", "--all", label]);
}

#[test]
fn nodes_are_made_for_a_run_and_taken_away_with_it() {
    let test = "kubernetes::nodes_are_made_for_a_run_and_taken_away_with_it";
    let Some(grounds) = Grounds::start(test) else {
        return;
    };
    let class = ["--node-class", "karpenter.example/ExampleNodeClass/default"];
    let mut more = vec!["--provisioner", "karpenter"];
    more.extend(class);

    // Where Karpenter is not, that is said before anything else.
    let (code, _, stderr) = run(&mut grounds.scenario(&["baseline"], &more));
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("no Karpenter"), "{stderr}");
    grounds.is_as_it_was();

    let pools = Pools::start(&grounds.config);
    let (code, stdout, stderr) = run(&mut grounds.scenario(&["baseline"], &more));
    let left = kubectl(&grounds.config, &["get", "nodepools", "-o", "name"]);
    let seen = pools.stop();
    assert!([0, 4].contains(&code), "{stderr}\n{stdout}");
    assert_eq!(left, "");
    assert_eq!(seen.len(), 1, "{seen:?}");
    grounds.is_as_it_was();
    assert_eq!(
        report(grounds.out.path())["scenarios"][0]["name"],
        "baseline"
    );
    verified(grounds.out.path());
}
