//! What can't work in a cluster: a clear message, the contract's exit code, nothing applied.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use serde_json::json;

use super::api::{ApiServer, kubeconfig, node, nodes, status, version};
use crate::support::{flora_bench, run, scenarios};

/// Measures the baseline there; gives exit code and standard error.
fn measure(kubeconfig: &Path, more: &[&str]) -> (i32, String) {
    let out = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = run(flora_bench()
        .args([
            "scenario",
            "baseline",
            "--backend",
            "kubernetes",
            "--rate",
            "10",
            "--out",
        ])
        .arg(out.path())
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(more));
    assert_eq!(stdout, "");
    assert_eq!(
        std::fs::read_dir(out.path()).unwrap().count(),
        0,
        "no run begins"
    );
    (code, stderr)
}

#[test]
fn a_kubeconfig_that_is_not_there() {
    let (code, stderr) = measure(Path::new("/nonexistent/kubeconfig"), &[]);
    assert_eq!(code, 3, "{stderr}");
    assert!(
        stderr.contains("/nonexistent/kubeconfig") && stderr.contains("--kubeconfig"),
        "{stderr}"
    );
}

#[test]
fn a_server_that_nobody_answers_at() {
    let directory = tempfile::tempdir().unwrap();
    let config = kubeconfig(directory.path(), "http://127.0.0.1:9");
    let (code, stderr) = measure(&config, &[]);
    assert_eq!(code, 3, "{stderr}");
    assert!(
        stderr.contains("http://127.0.0.1:9 does not answer"),
        "{stderr}"
    );
    assert!(stderr.contains("kubectl get nodes"), "{stderr}");
}

#[test]
fn a_context_that_is_not_in_it() {
    let server = ApiServer::start(|_, _, _| None);
    let (code, stderr) = measure(&server.kubeconfig(), &["--context", "other"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("the context `other`"), "{stderr}");
}

#[test]
fn a_version_that_is_too_old() {
    let server = ApiServer::start(|_, path, _| (path == "/version").then(|| (200, version("20"))));
    let (code, stderr) = measure(&server.kubeconfig(), &[]);
    assert_eq!(code, 3, "{stderr}");
    assert!(
        stderr.contains("v1.20.0") && stderr.contains("1.29 or newer"),
        "{stderr}"
    );
    assert_eq!(server.changes(), []);
}

#[test]
fn credentials_that_are_refused() {
    let server = ApiServer::start(|_, path, _| {
        (path == "/version").then(|| (401, status(401, "Unauthorized")))
    });
    let (code, stderr) = measure(&server.kubeconfig(), &[]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("renew its credentials"), "{stderr}");
}

#[test]
fn a_selector_that_matches_nothing() {
    let server = ApiServer::start(|_, _, _| None);
    let (code, stderr) = measure(&server.kubeconfig(), &["--node-selector", "pool=bench"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("no node matches --node-selector pool=bench"),
        "{stderr}"
    );
    assert_eq!(server.changes(), []);
}

#[test]
fn nodes_that_are_somebody_elses() {
    let taints = json!([{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]);
    let server = ApiServer::start(move |_, path, _| {
        let listed = nodes(&[node("a", json!([])), node("b", taints.clone())]);
        (path == "/api/v1/nodes").then_some((200, listed))
    });
    let (code, stderr) = measure(&server.kubeconfig(), &[]);
    assert_eq!(code, 3, "{stderr}");
    assert!(
        stderr.contains("1 of 2 nodes are free, and at least 2 are needed"),
        "{stderr}"
    );
    assert!(
        stderr.contains("b has the taint dedicated=db:NoSchedule of somebody else"),
        "{stderr}"
    );
    assert_eq!(server.changes(), []);
}

#[test]
fn a_namespace_that_is_not_ours() {
    let server = ApiServer::start(|_, path, _| {
        (path == "/api/v1/namespaces/shop").then(|| (200, json!({"metadata": {"name": "shop"}})))
    });
    let (code, stderr) = measure(&server.kubeconfig(), &["--namespace", "shop"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("the namespace shop exists"), "{stderr}");
    assert_eq!(server.changes(), []);
}

#[test]
fn rights_that_are_missing_are_named() {
    let server = ApiServer::start(|_, path, body| {
        path.ends_with("/selfsubjectaccessreviews").then(|| {
            let asked = &body["spec"]["resourceAttributes"];
            let allowed = asked["resource"] != "nodes" || asked["verb"] != "patch";
            (
                201,
                json!({"metadata": {}, "spec": body["spec"], "status": {"allowed": allowed}}),
            )
        })
    });
    let (code, stdout, stderr) = run(flora_bench()
        .args(["doctor", "--backend", "kubernetes", "--kubeconfig"])
        .arg(server.kubeconfig()));
    assert_eq!(code, 0, "{stderr}");
    let missing: Vec<&str> = stdout
        .lines()
        .filter(|line| line.starts_with("missing  right"))
        .collect();
    assert_eq!(missing.len(), 1, "{stdout}");
    assert!(missing[0].contains("patch nodes, for taking"), "{stdout}");
    assert!(missing[0].contains("deploy/rbac.yaml"), "{stdout}");
    assert!(stdout.contains("k6 operator"), "{stdout}");
    assert_eq!(server.changes(), []);
}

/// A right that is missing when it is needed ends the run with its name, and what
/// was taken until then is given back.
#[test]
fn a_right_that_is_missing_in_a_run() {
    let leases = Mutex::new(BTreeMap::new());
    let server = ApiServer::start(move |method, path, body| match (method, path) {
        ("GET", "/api/v1/nodes") => Some((
            200,
            nodes(&["a", "b", "c"].map(|name| node(name, json!([])))),
        )),
        ("GET", path) if path.starts_with("/api/v1/nodes/") => {
            Some((200, node(path.rsplit('/').next()?, json!([]))))
        }
        ("PATCH", path) if path.starts_with("/api/v1/nodes/") => Some((
            403,
            status(
                403,
                "nodes \"a\" is forbidden: User \"u\" cannot patch resource \"nodes\"",
            ),
        )),
        ("POST", path) if path.ends_with("/leases") => {
            let name = body["metadata"]["name"].as_str()?;
            let path = format!("{path}/{name}");
            leases.lock().unwrap().insert(path, body.clone());
            Some((201, body.clone()))
        }
        ("GET", path) => Some((200, leases.lock().unwrap().get(path)?.clone())),
        ("DELETE", _) => Some((200, json!({"kind": "Status", "status": "Success"}))),
        _ => None,
    });
    let (code, stderr) = measure(&server.kubeconfig(), &[]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("label and taint node a"), "{stderr}");
    assert!(stderr.contains("cannot patch resource"), "{stderr}");
    let leases = |method: &str| {
        let changes = server.changes();
        let of = changes
            .iter()
            .filter(|(how, path)| how == method && path.contains("/leases"));
        of.count()
    };
    assert_eq!((leases("POST"), leases("DELETE")), (3, 3));
}

#[test]
fn a_manifest_that_is_none() {
    let server = ApiServer::start(|_, _, _| None);
    let directory = scenarios(&[(
        "odd",
        "question: q\nagent: {version: '1', processes: []}\nkubernetes: {manifests: [odd/agent.yaml]}\n",
    )]);
    std::fs::create_dir(directory.path().join("odd")).unwrap();
    std::fs::write(
        directory.path().join("odd/agent.yaml"),
        "apiVersion: v1\nkind: Pod\nmetadata: {}\n",
    )
    .unwrap();
    let (code, _, stderr) = run(flora_bench()
        .args([
            "scenario",
            "odd",
            "--backend",
            "kubernetes",
            "--rate",
            "10",
            "--scenarios",
        ])
        .arg(directory.path())
        .arg("--kubeconfig")
        .arg(server.kubeconfig()));
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("odd/agent.yaml: document 1 has no `metadata.name`"),
        "{stderr}"
    );
    assert_eq!(server.changes(), []);
}

#[test]
fn options_of_one_backend_are_refused_by_the_other() {
    for (args, expected) in [
        (&["--node-selector", "a=b"][..], "add --backend kubernetes"),
        (&["--load", "k6-job"], "add --backend kubernetes"),
        (
            &["--backend", "kubernetes", "--load", "builtin"],
            "leave --load out",
        ),
        (
            &["--backend", "kubernetes", "--slices", "4"],
            "--slices 4 can't be had",
        ),
        (
            &[
                "--backend",
                "kubernetes",
                "--provisioner",
                "karpenter",
                "--node-class",
                "karpenter.example/ExampleNodeClass/default",
                "--node-selector",
                "a=b",
            ],
            "--node-selector can't be had with --provisioner karpenter",
        ),
    ] {
        let (code, _, stderr) = run(flora_bench()
            .args(["scenario", "baseline", "--rate", "10", "--dry-run"])
            .args(args));
        assert_eq!(code, 2, "{args:?}: {stderr}");
        assert!(stderr.contains(expected), "{args:?}: {stderr}");
    }
}

/// Whoever names a cluster does not mean this machine.
#[test]
fn a_cluster_that_is_named_is_not_cleaned_by_half() {
    for named in [["--context", "other"], ["--kubeconfig", "/nonexistent"]] {
        let (code, stdout, stderr) = run(flora_bench().arg("clean").args(named));
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        assert!(stderr.contains("add --backend kubernetes"), "{stderr}");
    }
}

/// Nodes may take a quarter of an hour to be made, and the run is not to be taken for dead meanwhile.
#[test]
fn a_run_that_waits_for_its_nodes_holds_a_lease() {
    let leases = Mutex::new(BTreeMap::new());
    let server = ApiServer::start(move |method, path, body| match (method, path) {
        ("POST", path) if path.ends_with("/leases") => {
            let name = body["metadata"]["name"].as_str()?;
            let path = format!("{path}/{name}");
            leases.lock().unwrap().insert(path, body.clone());
            Some((201, body.clone()))
        }
        ("POST", "/api/v1/namespaces") => Some((201, body.clone())),
        ("GET", path) if path.ends_with("/serviceaccounts/default") => {
            Some((200, json!({"metadata": {"name": "default"}})))
        }
        ("GET", "/apis/karpenter.sh/v1") => Some((404, status(404, "not found"))),
        ("GET", path) => Some((200, leases.lock().unwrap().get(path)?.clone())),
        ("DELETE", _) => Some((200, json!({"kind": "Status", "status": "Success"}))),
        _ => None,
    });
    let class = "karpenter.example/ExampleNodeClass/default";
    let options = ["--provisioner", "karpenter", "--node-class", class];
    let (code, stderr) = measure(&server.kubeconfig(), &options);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("no Karpenter"), "{stderr}");
    let changes = server.changes();
    let at = |method: &str, is: fn(&str) -> bool| {
        let mut changes = changes.iter();
        changes.position(|(how, path)| how == method && is(path))
    };
    let leased = at("POST", |path| path.ends_with("/leases"));
    let made = at("POST", |path| path == "/api/v1/namespaces");
    assert!(leased.is_some() && leased < made, "{changes:?}");
    // It is given up behind everything else.
    let given = at("DELETE", |path| path.contains("/leases/flora-bench."));
    assert_eq!(given, Some(changes.len() - 1), "{changes:?}");
}
