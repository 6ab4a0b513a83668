//! From plan to objects: every scenario that can run in a cluster, held against a file.

use std::process::Command;

use super::cluster::{Grounds, kubectl};
use crate::support::{flora_bench, repository, run};

/// What a dry run prints, or why the scenario can't run in a cluster.
fn dry_run(name: &str) -> Result<String, String> {
    let (code, stdout, stderr) = run(&mut shown(&[name]));
    match code {
        0 => Ok(stdout),
        _ => Err(stderr),
    }
}

/// A dry run in a cluster.
fn shown(arguments: &[&str]) -> Command {
    let mut command = flora_bench();
    let options = "--backend kubernetes --rate 100 --blocks 2 --seed 1 --dry-run";
    command
        .arg("scenario")
        .args(arguments)
        .args(options.split(' '))
        .env_remove("PIXIE_DEPLOY_KEY");
    command
}

fn objects(name: &str) -> Result<String, String> {
    dry_run(name).map(|text| redacted(name, &text))
}

/// Every scenario that there is.
fn scenarios() -> Vec<String> {
    let files = std::fs::read_dir(repository().join("scenarios")).unwrap();
    let paths = files.map(|entry| entry.unwrap().path());
    let scenarios = paths.filter(|path| path.extension().is_some_and(|end| end == "yaml"));
    scenarios
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect()
}

/// The objects that are the scenario's own, without what differs from process to process
/// and from release to release. What every run applies stands with the baseline.
fn redacted(name: &str, text: &str) -> String {
    let own = text.split("---\n").filter(|document| {
        let first = document.lines().find(|line| line.starts_with("# "));
        let what = first.unwrap_or_default();
        name == "baseline" || what.ends_with(&format!(" {name}")) || what.contains("trials in")
    });
    let text: String = own
        .map(|document| scripts_left_out(document) + "---\n")
        .collect();
    let owner = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("flora-bench.dev/owner: "))
        .unwrap_or_default()
        .to_owned();
    text.replace(&owner, "OWNER")
        .replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

/// The load script has tests of its own, and its every change is not the objects'.
fn scripts_left_out(document: &str) -> String {
    let mut value: serde_json::Value = serde_saphyr::from_str(document).unwrap_or_default();
    let mut scripts = 0;
    for (key, script) in value["data"].as_object_mut().into_iter().flatten() {
        if key.ends_with(".js") {
            *script = "(the script)".into();
            scripts += 1;
        }
    }
    if scripts == 0 {
        return document.to_owned();
    }
    let comments = document.lines().take_while(|line| line.starts_with('#'));
    let comments: String = comments.map(|line| format!("{line}\n")).collect();
    comments + &serde_saphyr::to_string(&value).unwrap()
}

#[test]
fn every_scenario_has_the_objects_that_it_should() {
    let mut seen = 0;
    for name in scenarios() {
        let golden = repository().join(format!("harness/tests/golden/kubernetes/{name}.yaml"));
        let text = match objects(&name) {
            Ok(text) => text,
            Err(stderr) => {
                assert!(
                    stderr.contains("can't run in a cluster"),
                    "{name}: {stderr}"
                );
                let stale = golden.display();
                assert!(!golden.exists(), "{stale} is of what can't run; delete it");
                continue;
            }
        };
        seen += 1;
        if std::env::var_os("FLORA_BENCH_BLESS").is_some() {
            std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
            std::fs::write(&golden, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(
            text == expected,
            "{name}: the objects are not those of {}; write it anew with FLORA_BENCH_BLESS=1",
            golden.display()
        );
    }
    assert!(seen >= 3, "{seen} scenarios run in a cluster");
}

/// What is printed can be read back: comments and documents, nothing else.
#[test]
fn what_a_dry_run_prints_is_yaml() {
    let text = objects("baseline").unwrap_or_else(|stderr| panic!("{stderr}"));
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
    let kinds: Vec<&str> = documents
        .iter()
        .filter_map(|document| document["kind"].as_str())
        .collect();
    assert!(
        kinds.contains(&"Namespace") && kinds.contains(&"Deployment"),
        "{kinds:?}"
    );
    assert!(text.contains("node-hours"), "{text}");
}

/// The nodes that are made for a run are among what is shown, and where k6 writes to.
#[test]
fn a_dry_run_shows_what_makes_nodes() {
    let class = "karpenter.example/ExampleNodeClass/default";
    let options = ["--provisioner", "karpenter", "--node-class", class];
    let (code, stdout, stderr) = run(&mut shown(&[&["baseline"][..], &options].concat()));
    assert_eq!(code, 0, "{stderr}");
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&stdout).unwrap();
    let of_kind = |kind: &'static str| documents.iter().filter(move |one| one["kind"] == kind);
    let pool = of_kind("NodePool").next().unwrap();
    let class = &pool["spec"]["template"]["spec"]["nodeClassRef"];
    assert_eq!(class["kind"], "ExampleNodeClass");
    // An arm, its twin, load and monitoring.
    let mut asking = of_kind("Deployment").filter(|one| one["metadata"]["name"] == "nodes");
    assert_eq!(asking.next().unwrap()["spec"]["replicas"], 4);
    let job = of_kind("Job").next().unwrap();
    let k6 = &job["spec"]["template"]["spec"]["containers"][0];
    assert!(k6["args"].to_string().contains("prometheus-rw"), "{k6}");
    assert!(k6["env"].to_string().contains("victoria-metrics"), "{k6}");
}

/// A run of all goes without what can't run, and says why.
#[test]
fn a_run_of_all_leaves_out_what_cannot_run_in_a_cluster() {
    let (code, stdout, stderr) = run(&mut shown(&["all"]));
    assert_eq!(code, 0, "{stderr}");
    for (name, why) in [
        ("go-1.19", "no image of target-app-go-oldest"),
        ("pixie", "the environment variable PIXIE_DEPLOY_KEY"),
        ("datadog-rust", "no `kubernetes.manifests`"),
    ] {
        let mut lines = stderr.lines();
        let line = lines.find(|line| line.starts_with(&format!("left out: {name}: ")));
        assert!(line.is_some_and(|line| line.contains(why)), "{stderr}");
        assert!(!stdout.contains(&format!("# target of {name}\n")), "{name}");
    }
    assert!(stdout.contains("# target of flora\n"));
    // With what they lack they are among them.
    let (code, stdout, stderr) = run(shown(&[
        "all",
        "--image",
        "target-app-go-oldest=registry.example/oldest:1",
    ])
    .env("PIXIE_DEPLOY_KEY", "none"));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("# target of go-1.19\n") && stdout.contains("# target of pixie\n"));
    assert!(stdout.contains("registry.example/oldest:1"));
}

/// Applied the way that a run applies them, and nothing kept. Kinds of operators are left out: they
/// are another test's, with their definitions.
#[test]
fn a_real_api_server_takes_every_object() {
    let Some(grounds) = Grounds::start("kubernetes::a_real_api_server_takes_every_object") else {
        return;
    };
    let config = &grounds.config;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("objects.yaml");
    let mut taken = 0;
    kubectl(config, &["create", "namespace", "flora-bench-run"]);
    let all = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for name in scenarios() {
            let Ok(text) = dry_run(&name) else { continue };
            let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
            let known = |document: &&serde_json::Value| {
                document["kind"] != "Vizier" && document["kind"] != "Namespace"
            };
            let known: Vec<_> = documents.iter().filter(known).collect();
            taken += known.len();
            let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": known});
            std::fs::write(&file, list.to_string()).unwrap();
            kubectl(
                config,
                &[
                    "apply",
                    "--server-side",
                    "--field-manager=flora-bench",
                    "--dry-run=server",
                    "-f",
                    file.to_str().unwrap(),
                ],
            );
        }
    }));
    kubectl(config, &["delete", "namespace", "flora-bench-run"]);
    all.unwrap();
    assert!(taken > 100, "{taken} objects");
    grounds.is_as_it_was();
}
