//! Whole runs on a real cluster: `FLORA_BENCH_TEST_KUBECONFIG` leads to one with at least two
//! nodes that nobody else uses, which have the images of `FLORA_BENCH_TEST_IMAGES`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::faults::until;
pub use crate::support::kubeconfig;
use crate::support::{cluster_images, flora_bench, report, run};

/// One run at a time takes the nodes.
pub fn alone() -> std::sync::MutexGuard<'static, ()> {
    crate::support::measuring()
}

/// Exit code, standard output and standard error.
pub fn kubectl_may_fail(kubeconfig: &Path, args: &[&str]) -> (i32, String, String) {
    let kubectl = std::env::var("FLORA_BENCH_TEST_KUBECTL").unwrap_or_else(|_| "kubectl".into());
    run(Command::new(kubectl)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(args))
}

pub fn kubectl(kubeconfig: &Path, args: &[&str]) -> String {
    let (code, stdout, stderr) = kubectl_may_fail(kubeconfig, args);
    assert_eq!(code, 0, "kubectl {args:?}: {stderr}");
    stdout
}

/// Everything of the cluster that a run must leave as it was.
pub fn state(kubeconfig: &Path) -> String {
    let nodes = kubectl(
        kubeconfig,
        &[
            "get",
            "nodes",
            "-o",
            "jsonpath={range .items[*]}{.metadata.name} {.metadata.labels} {.spec.taints} {.metadata.annotations.flora-bench\\.dev/before}{\"\\n\"}{end}",
        ],
    );
    let kinds = "namespaces,crds,clusterroles,clusterrolebindings,priorityclasses,storageclasses";
    let named = kubectl(kubeconfig, &["get", kinds, "-o", "name"]);
    let leases = ["get", "leases.coordination.k8s.io", "-n", "default"];
    let leases = kubectl(kubeconfig, &[&leases[..], &["-o", "name"]].concat());
    [nodes, named, leases].concat()
}

/// A cluster as it is before a test's run, to itself, and where the run's records go.
pub struct Grounds {
    pub config: PathBuf,
    pub before: String,
    pub out: tempfile::TempDir,
    _alone: std::sync::MutexGuard<'static, ()>,
}

impl Grounds {
    /// None after saying that the test is skipped.
    pub fn start(test: &str) -> Option<Self> {
        // Its turn first: until then the time that is left for tests may be over.
        let alone = alone();
        let config = kubeconfig(test)?;
        Some(Grounds {
            before: state(&config),
            config,
            out: tempfile::tempdir().unwrap(),
            _alone: alone,
        })
    }

    pub fn scenario(&self, names: &[&str], more: &[&str]) -> Command {
        scenario(&self.config, self.out.path(), names, more)
    }

    #[track_caller]
    pub fn is_as_it_was(&self) {
        assert_eq!(state(&self.config), self.before);
    }
}

pub fn scenario(kubeconfig: &Path, out: &Path, names: &[&str], more: &[&str]) -> Command {
    let mut command = flora_bench();
    command.arg("scenario").args(names);
    for image in cluster_images() {
        command.args(["--image", &image]);
    }
    let short = "--rate 100 --warmup 2s --measure 6s --blocks 1";
    // What a test says itself comes in its place.
    let given = |name: &str| more.contains(&name);
    for pair in short.split(' ').collect::<Vec<_>>().chunks(2) {
        if !given(pair[0]) {
            command.args(pair);
        }
    }
    command
        .args(["--backend", "kubernetes", "--load", "k6-job"])
        .arg("--out")
        .arg(out)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(more);
    command
}

#[test]
fn a_run_leaves_the_cluster_as_it_was() {
    let Some(grounds) = Grounds::start("kubernetes::a_run_leaves_the_cluster_as_it_was") else {
        return;
    };
    let (code, stdout, stderr) = run(&mut grounds.scenario(&["baseline"], &[]));
    grounds.is_as_it_was();
    assert!([0, 4].contains(&code), "{stderr}\n{stdout}");
    let report = report(grounds.out.path());
    assert_eq!(report["scenarios"][0]["name"], "baseline", "{report}");
    let objects = std::fs::read_to_string(grounds.out.path().join("latest/objects.yaml")).unwrap();
    assert!(objects.contains("kind: Deployment"), "{objects}");
    // Records are published: neither this machine nor the cluster can be told from them.
    let host = nix::unistd::gethostname().unwrap();
    let host = host.to_string_lossy().to_lowercase();
    let owner = "flora-bench.dev/owner: host-";
    assert!(objects.contains(owner), "{objects}");
    assert!(!objects.contains(&format!("owner: {host}-")) || host == "host");
    let fingerprint = grounds.out.path().join("latest/fingerprint.json");
    let fingerprint = std::fs::read_to_string(fingerprint).unwrap();
    assert!(!fingerprint.contains("https://"), "{fingerprint}");
}

/// A run that has taken its nodes and has long to go.
fn under_way(config: &Path, out: &Path) -> Child {
    let child = scenario(config, out, &["baseline"], &["--measure", "120s"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while !state(config).contains("flora-bench.dev/group") {
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "no node was taken"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    child
}

#[test]
fn an_interrupted_run_gives_everything_back() {
    let Some(grounds) = Grounds::start("kubernetes::an_interrupted_run_gives_everything_back")
    else {
        return;
    };
    let mut child = under_way(&grounds.config, grounds.out.path());
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id() as i32),
        nix::sys::signal::Signal::SIGINT,
    )
    .unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    grounds.is_as_it_was();
}

#[test]
fn clean_gives_back_what_a_killed_run_took() {
    let Some(grounds) = Grounds::start("kubernetes::clean_gives_back_what_a_killed_run_took")
    else {
        return;
    };
    let mut child = under_way(&grounds.config, grounds.out.path());
    let pods = ["get", "pods", "-A", "-l", "flora-bench.dev/owner", "-o"];
    until("pods are there too", Duration::from_secs(60), || {
        !kubectl(&grounds.config, &[&pods[..], &["name"]].concat()).is_empty()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_ne!(state(&grounds.config), grounds.before);
    // What an agent's manifests may bring besides, and no namespace takes with it.
    let place = "jsonpath={.items[0].metadata.labels.flora-bench\\.dev/owner}";
    let runs = "flora-bench.dev/role=run";
    let owner = kubectl(
        &grounds.config,
        &["get", "namespaces", "-l", runs, "-o", place],
    );
    let class = serde_json::json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "test.example/none",
        "metadata": {"name": "flora-bench-test", "labels": {"flora-bench.dev/owner": owner}},
    });
    let file = grounds.out.path().join("class.json");
    std::fs::write(&file, class.to_string()).unwrap();
    kubectl(&grounds.config, &["apply", "-f", file.to_str().unwrap()]);
    let clean = || {
        run(flora_bench()
            .args(["clean", "--backend", "kubernetes", "--kubeconfig"])
            .arg(&grounds.config))
    };
    let (code, stdout, stderr) = clean();
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("removed namespace flora-bench-"),
        "{stdout}"
    );
    assert!(stdout.contains("taint and lease of node"), "{stdout}");
    assert!(
        stdout.contains("removed StorageClass flora-bench-test"),
        "{stdout}"
    );
    grounds.is_as_it_was();
    assert_eq!(clean().1, "nothing was left behind\n");
}

#[test]
fn an_image_that_is_nowhere_is_told() {
    let Some(grounds) = Grounds::start("kubernetes::an_image_that_is_nowhere_is_told") else {
        return;
    };
    let missing = ["--image", "target-app=registry.invalid/nothing:1"];
    let (code, _, stderr) = run(&mut grounds.scenario(&["baseline"], &missing));
    assert_eq!(code, 3, "{stderr}");
    assert!(
        stderr.contains("registry.invalid/nothing:1") && stderr.contains("can't be pulled"),
        "{stderr}"
    );
    grounds.is_as_it_was();
}
