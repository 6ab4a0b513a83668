//! What may go wrong in a real cluster while a trial runs: the trial does not count and says why,
//! or it counts because nothing of it was lost; the cluster is as before either way.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cluster::{Grounds, kubectl, kubectl_may_fail, scenario, state};
use crate::faults::running::Running;
use crate::support::{entry, report, run, scenarios, skip, verified};

/// A line for each pod that is listed.
const NAMESPACE_AND_NAME: &str =
    "jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{\"\\n\"}{end}";

/// Waits until something is true of the cluster.
pub fn until(what: &str, limit: Duration, is_true: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_true() {
        assert!(began.elapsed() < limit, "{what}: not after {limit:?}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Waits until k6 of a trial says that its window is open.
fn in_window(run: &mut Running, config: &Path, trial: u32) {
    let labels = format!("flora-bench.dev/role=load,flora-bench.dev/trial={trial}");
    let pods = ["get", "pods", "-A", "-l", &labels, "-o", NAMESPACE_AND_NAME];
    let (pace, limit) = (Duration::from_millis(300), Duration::from_secs(240));
    run.until_within(limit, pace, "the window of a trial", |_| {
        let listed = kubectl(config, &pods);
        let (namespace, name) = listed.lines().find_map(|line| line.split_once(' '))?;
        // Its container may not have begun.
        let said = kubectl_may_fail(config, &["logs", "-n", namespace, name]).1;
        said.contains("flora-bench measure began").then_some(())
    });
}

/// The newest run's trials, as they were recorded.
fn trials(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("latest/trials.jsonl")).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn error(trial: &Value) -> &str {
    trial["error"].as_str().unwrap_or_default()
}

/// The namespace of the run that is under way.
fn namespace(config: &Path) -> String {
    let all = kubectl(
        config,
        &[
            "get",
            "namespaces",
            "-l",
            "flora-bench.dev/role=run",
            "-o",
            "name",
        ],
    );
    all.trim().trim_start_matches("namespace/").to_owned()
}

#[test]
fn a_target_that_is_deleted_fails_its_trial_only() {
    let Some(grounds) = Grounds::start("kubernetes::a_target_that_is_deleted_fails_its_trial_only")
    else {
        return;
    };
    let mut command = grounds.scenario(&["baseline"], &["--measure", "20s"]);
    let mut run = Running::start(&mut command, grounds.out.path());
    in_window(&mut run, &grounds.config, 1);
    let own = namespace(&grounds.config);
    kubectl(
        &grounds.config,
        &[
            "delete",
            "pod",
            "-n",
            &own,
            "-l",
            "flora-bench.dev/role=target",
            "--wait=false",
        ],
    );
    let (code, stderr) = run.end();
    assert!([0, 4].contains(&code), "{code}: {stderr}");
    let trials = trials(grounds.out.path());
    assert_eq!(trials[0]["status"], "failed", "{stderr}");
    assert!(error(&trials[0]).contains("was deleted"), "{}", trials[0]);
    assert_ne!(trials[1]["status"], "failed", "{}", trials[1]);
    grounds.is_as_it_was();
    verified(grounds.out.path());
}

#[test]
fn an_agent_that_crashes_again_and_again_is_told_with_its_last_words() {
    let test = "kubernetes::an_agent_that_crashes_again_and_again_is_told_with_its_last_words";
    let Some(grounds) = Grounds::start(test) else {
        return;
    };
    let text = "question: q\nagent:\n  version: '1'\n  startup_timeout: 40s\n  processes: []\nkubernetes:\n  manifests: [agent.yaml]\n";
    let files = scenarios(&[("crashing", text)]);
    // A target that does not know its own option.
    let manifest = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: agent}\nspec:\n  selector: {matchLabels: {app: agent}}\n  template:\n    metadata: {labels: {app: agent}}\n    spec:\n      containers:\n      - name: agent\n        image: flora-bench/target-app:0.1.0\n        args: [--no-such-option]\n";
    std::fs::write(files.path().join("agent.yaml"), manifest).unwrap();
    let own = files.path().to_str().unwrap();
    let mut command = grounds.scenario(&["crashing"], &["--scenarios", own]);
    let (code, _, stderr) = run(&mut command);
    assert_eq!(code, 3, "{stderr}");
    for part in ["--no-such-option", "agent"] {
        assert!(stderr.contains(part), "{part} not in: {stderr}");
    }
    grounds.is_as_it_was();
}

#[test]
fn a_kind_that_nobody_serves_is_told_and_nothing_stays() {
    let Some(grounds) =
        Grounds::start("kubernetes::a_kind_that_nobody_serves_is_told_and_nothing_stays")
    else {
        return;
    };
    let text = "question: q\nagent:\n  version: '1'\n  processes: []\nkubernetes:\n  manifests: [agent.yaml]\n";
    let files = scenarios(&[("operated", text)]);
    let manifest =
        "apiVersion: vendor.example/v1\nkind: Vizier\nmetadata: {name: agent}\nspec: {}\n";
    std::fs::write(files.path().join("agent.yaml"), manifest).unwrap();
    let own = files.path().to_str().unwrap();
    let mut command = grounds.scenario(&["operated"], &["--scenarios", own]);
    let (code, _, stderr) = run(&mut command);
    assert_eq!(code, 3, "{stderr}");
    for part in ["Vizier", "vendor.example/v1", "install the operator"] {
        assert!(stderr.contains(part), "{part} not in: {stderr}");
    }
    grounds.is_as_it_was();
}

/// `FLORA_BENCH_TEST_KUBELET_PIDS` says where a node's kubelet has its process id, `NODE` standing
/// for the node.
#[test]
fn a_node_whose_kubelet_stops_fails_its_trial() {
    let test = "kubernetes::a_node_whose_kubelet_stops_fails_its_trial";
    let Some(grounds) = Grounds::start(test) else {
        return;
    };
    let Ok(pids) = std::env::var("FLORA_BENCH_TEST_KUBELET_PIDS") else {
        return skip(
            test,
            "FLORA_BENCH_TEST_KUBELET_PIDS does not say where kubelets' pids stand",
        );
    };
    let mut command = grounds.scenario(&["baseline"], &["--measure", "120s"]);
    let mut run = Running::start(&mut command, grounds.out.path());
    in_window(&mut run, &grounds.config, 1);
    let place = "jsonpath={.items[0].spec.nodeName}";
    let own = namespace(&grounds.config);
    let node = kubectl(
        &grounds.config,
        &[
            "get",
            "pods",
            "-n",
            &own,
            "-l",
            "flora-bench.dev/role=target",
            "-o",
            place,
        ],
    );
    let pid = std::fs::read_to_string(pids.replace("NODE", &node)).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let ready = || {
        kubectl(
            &grounds.config,
            &[
                "get",
                "node",
                &node,
                "-o",
                "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}",
            ],
        )
    };
    // Its load is taken away when the run has seen it.
    let labels = "flora-bench.dev/role=load,flora-bench.dev/trial=1";
    let loads = ["get", "jobs", "-A", "-l", labels, "-o", "name"];
    let noticed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until("the node is not ready", Duration::from_secs(100), || {
            ready() != "True"
        });
        until("the run has seen it", Duration::from_secs(60), || {
            kubectl(&grounds.config, &loads).is_empty()
        });
    }));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
    noticed.unwrap();
    let (code, stderr) = run.end();
    until("the node is ready again", Duration::from_secs(60), || {
        ready() == "True"
    });
    assert_eq!(code, 4, "{stderr}");
    let trials = trials(grounds.out.path());
    assert!(
        error(&trials[0]).contains(&format!("node {node} is not ready any more")),
        "{}",
        trials[0]
    );
    until("everything is given back", Duration::from_secs(60), || {
        state(&grounds.config) == grounds.before
    });
}

/// A run whose machine slept finds its leases with another run, and neither takes them back nor
/// touches what is the other's by now.
#[test]
fn a_run_that_lost_its_leases_ends_and_says_so() {
    let test = "kubernetes::a_run_that_lost_its_leases_ends_and_says_so";
    let Some(grounds) = Grounds::start(test) else {
        return;
    };
    let mut command = grounds.scenario(&["baseline"], &["--measure", "120s"]);
    let mut run = Running::start(&mut command, grounds.out.path());
    in_window(&mut run, &grounds.config, 1);
    let leases = ["-n", "default", "leases.coordination.k8s.io"];
    let names = "jsonpath={.items[*].metadata.name}";
    let ours = ["-l", "flora-bench.dev/owner", "-o", names];
    let held = kubectl(&grounds.config, &[&["get"][..], &leases, &ours].concat());
    let lease = held.split(' ').next().unwrap().to_owned();
    let other = r#"{"spec": {"holderIdentity": "elsewhere-00000000-1-2"}}"#;
    let taken = [lease.as_str(), "--type=merge", "-p", other];
    kubectl(&grounds.config, &[&["patch"][..], &leases, &taken].concat());
    let (code, stderr) = run.end();
    let holder = ["-o", "jsonpath={.spec.holderIdentity}"];
    let one = [lease.as_str()];
    let left = kubectl(
        &grounds.config,
        &[&["get"][..], &leases, &one, &holder].concat(),
    );
    kubectl(&grounds.config, &[&["delete"][..], &leases, &one].concat());
    assert_eq!(code, 4, "{stderr}");
    assert_eq!(left, "elsewhere-00000000-1-2", "it is not taken back");
    for trial in trials(grounds.out.path()) {
        let said = error(&trial);
        assert!(said.contains("is held by the run of elsewhere"), "{trial}");
    }
    grounds.is_as_it_was();
}

#[test]
fn victoria_metrics_may_start_anew() {
    let Some(grounds) = Grounds::start("kubernetes::victoria_metrics_may_start_anew") else {
        return;
    };
    let mut command = grounds.scenario(&["baseline"], &["--measure", "15s"]);
    let mut run = Running::start(&mut command, grounds.out.path());
    in_window(&mut run, &grounds.config, 1);
    let own = namespace(&grounds.config);
    kubectl(
        &grounds.config,
        &[
            "delete",
            "pod",
            "-n",
            &own,
            "-l",
            "flora-bench.dev/role=metrics",
        ],
    );
    let (code, stderr) = run.end();
    assert!([0, 4].contains(&code), "{code}: {stderr}");
    // Its figures are a second opinion; the observer's are complete.
    let trials = trials(grounds.out.path());
    assert_ne!(trials[0]["status"], "failed", "{}", trials[0]);
    assert!(
        trials[0]["requests"].as_u64().unwrap() > 1000,
        "{}",
        trials[0]
    );
    grounds.is_as_it_was();
    verified(grounds.out.path());
}

/// A way to the API server that can be cut.
struct Way {
    kubeconfig: PathBuf,
    away: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    _directory: tempfile::TempDir,
}

impl Way {
    fn to(config: &Path) -> Self {
        let text = std::fs::read_to_string(config).unwrap();
        let parsed: Value = serde_saphyr::from_str(&text).unwrap();
        let server = parsed["clusters"][0]["cluster"]["server"].as_str().unwrap();
        let server = server.trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let directory = tempfile::tempdir().unwrap();
        let kubeconfig = directory.path().join("kubeconfig");
        std::fs::write(&kubeconfig, text.replace(&server, &own)).unwrap();
        let away = Arc::new(AtomicBool::new(false));
        let open = Arc::new(Mutex::new(Vec::new()));
        let (cut, kept) = (Arc::clone(&away), Arc::clone(&open));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(upstream) = TcpStream::connect(&server) else {
                    continue;
                };
                let ends = [client, upstream].map(|end| (end.try_clone().unwrap(), end));
                let [(client, a), (upstream, b)] = ends;
                kept.lock()
                    .unwrap()
                    .extend([client.try_clone().unwrap(), upstream.try_clone().unwrap()]);
                std::thread::spawn(move || carry(client, b));
                std::thread::spawn(move || carry(upstream, a));
            }
        });
        Way {
            kubeconfig,
            away,
            open,
            _directory: directory,
        }
    }

    fn cut(&self) {
        self.away.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.away.store(false, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn an_api_server_that_is_away_for_twenty_seconds_costs_no_trial() {
    let test = "kubernetes::an_api_server_that_is_away_for_twenty_seconds_costs_no_trial";
    let Some(grounds) = Grounds::start(test) else {
        return;
    };
    let way = Way::to(&grounds.config);
    let mut command = scenario(
        &way.kubeconfig,
        grounds.out.path(),
        &["baseline"],
        &["--measure", "25s"],
    );
    let mut run = Running::start(&mut command, grounds.out.path());
    in_window(&mut run, &grounds.config, 1);
    way.cut();
    std::thread::sleep(Duration::from_secs(20));
    way.mend();
    let (code, stderr) = run.end();
    assert!([0, 4].contains(&code), "{code}: {stderr}");
    let trials = trials(grounds.out.path());
    assert_ne!(trials[0]["status"], "failed", "{}", trials[0]);
    grounds.is_as_it_was();
    verified(grounds.out.path());
}

/// What `deploy/rbac.yaml` grants is enough, and all that is there.
#[test]
fn the_documented_rights_suffice() {
    let Some(grounds) = Grounds::start("kubernetes::the_documented_rights_suffice") else {
        return;
    };
    let file = crate::support::repository().join("deploy/rbac.yaml");
    let file = file.to_str().unwrap();
    kubectl(&grounds.config, &["apply", "-f", file]);
    let token = kubectl(
        &grounds.config,
        &["-n", "flora-bench", "create", "token", "flora-bench"],
    );
    let text = std::fs::read_to_string(&grounds.config).unwrap();
    let mut of_account: Value = serde_saphyr::from_str(&text).unwrap();
    of_account["users"][0]["user"] = serde_json::json!({"token": token.trim()});
    let directory = tempfile::tempdir().unwrap();
    let restricted = directory.path().join("kubeconfig");
    // JSON is YAML.
    std::fs::write(&restricted, of_account.to_string()).unwrap();
    let (code, stdout, stderr) = run(&mut scenario(
        &restricted,
        grounds.out.path(),
        &["flora"],
        &[],
    ));
    let doctor = run(crate::support::flora_bench()
        .args(["doctor", "--backend", "kubernetes", "--kubeconfig"])
        .arg(&restricted));
    kubectl(&grounds.config, &["delete", "-f", file]);
    assert!([0, 4].contains(&code), "{stderr}\n{stdout}");
    assert_eq!(
        entry(&report(grounds.out.path()), "flora")["telemetry_yield_ratio"],
        1.0
    );
    for missing in ["forbidden", "no observer"] {
        assert!(!stderr.contains(missing), "{stderr}");
    }
    assert!(!doctor.1.contains("is missing"), "{}", doctor.1);
    grounds.is_as_it_was();
}

/// Three arms with everything of theirs, to the comparison.
#[test]
fn flora_and_opentelemetry_are_compared() {
    let test = "kubernetes::flora_and_opentelemetry_are_compared";
    let Some(grounds) = Grounds::start(test) else {
        return;
    };
    if !crate::support::cluster_images()
        .iter()
        .any(|image| image.contains("collector"))
    {
        return skip(
            test,
            "FLORA_BENCH_TEST_IMAGES names no image of the Collector",
        );
    }
    let arms = ["flora-go", "opentelemetry"];
    let blocks = ["--blocks", "2", "--measure", "10s"];
    let (code, stdout, stderr) = run(&mut grounds.scenario(&arms, &blocks));
    assert!([0, 4].contains(&code), "{stderr}\n{stdout}");
    let report = report(grounds.out.path());
    let compared = report["comparisons"].as_array().unwrap();
    for arm in arms {
        let own = entry(&report, arm);
        assert_eq!(own["telemetry_yield_ratio"], 1.0, "{own}");
        assert!(
            compared.iter().any(|one| one["scenario"] == arm
                && one["metric"] == "cpu_seconds_per_request"
                && one["subject"] == "target"),
            "{stdout}"
        );
    }
    for trial in trials(grounds.out.path()) {
        assert_ne!(trial["status"], "failed", "{trial}");
    }
    grounds.is_as_it_was();
    verified(grounds.out.path());
}
