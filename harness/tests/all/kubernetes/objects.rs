//! From plan to objects: every scenario that can run in a cluster, held against a file.

use super::cluster::{Grounds, kubectl};
use crate::support::{flora_bench, repository, run};

/// What a dry run prints, or why the scenario can't run in a cluster.
fn dry_run(name: &str) -> Result<String, String> {
    let (code, stdout, stderr) = run(flora_bench().args([
        "scenario",
        name,
        "--backend",
        "kubernetes",
        "--rate",
        "100",
        "--blocks",
        "2",
        "--seed",
        "1",
        "--dry-run",
    ]));
    match code {
        0 => Ok(stdout),
        _ => Err(stderr),
    }
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
        let text = match objects(&name) {
            Ok(text) => text,
            Err(stderr) => {
                assert!(
                    stderr.contains("can't run in a cluster"),
                    "{name}: {stderr}"
                );
                continue;
            }
        };
        seen += 1;
        let golden = repository().join(format!("harness/tests/golden/kubernetes/{name}.yaml"));
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
