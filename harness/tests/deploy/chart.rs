//! The Helm chart: what it makes with its defaults, and what it refuses.

use std::process::Command;

use serde_json::Value;

use crate::manifests::documents;
use crate::support::{repository, run, skip};

/// Renders the chart; `None` without helm, after saying so.
pub fn render(test: &str, more: &[&str]) -> Option<Result<String, String>> {
    let Some(helm) = flora_bench::program::on_path("helm") else {
        skip(test, "no helm");
        return None;
    };
    let chart = repository().join("deploy/helm/flora-agent");
    let (code, stdout, stderr) = run(Command::new(&helm)
        .args(["template", "flora-agent"])
        .arg(chart)
        .args(["--kube-version", "1.34.0"])
        .args(more));
    Some(if code == 0 { Ok(stdout) } else { Err(stderr) })
}

fn parse(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    all.into_iter().filter(|value| !value.is_null()).collect()
}

#[test]
fn its_defaults_are_the_manifest() {
    let Some(text) = render("its_defaults_are_the_manifest", &[]) else {
        return;
    };
    let made = parse(&text.unwrap());
    assert_eq!(made.len(), 1, "a DaemonSet and nothing else");
    let plain = documents(&repository().join("deploy/flora-agent/daemonset.yaml"));
    let plain = plain
        .iter()
        .find(|object| object["kind"] == "DaemonSet")
        .unwrap();
    let pod = "/spec/template/spec";
    assert_eq!(made[0].pointer(pod), plain.pointer(pod));
}

#[test]
fn values_go_where_they_belong() {
    let set = "runtime=crio,subtree=unified/kubepods,port=9000,podMonitor.enabled=true,spans.endpoint=http://a:4318,spans.errors=true";
    let Some(text) = render("values_go_where_they_belong", &["--set", set]) else {
        return;
    };
    let made = parse(&text.unwrap());
    let kinds: Vec<_> = made.iter().map(|object| &object["kind"]).collect();
    assert_eq!(kinds, ["DaemonSet", "PodMonitor"]);
    let pod = &made[0]["spec"]["template"]["spec"];
    let args = pod["containers"][0]["args"].to_string();
    for expected in [
        "--subtree=/host/sys/fs/cgroup/unified/kubepods\"",
        "--listen=[::]:9000\"",
        "--otlp-endpoint=http://a:4318\"",
        "--span-errors\"",
    ] {
        assert!(args.contains(expected), "{args}");
    }
    let volumes = pod["volumes"].to_string();
    assert!(
        volumes.contains("overlay-containers") && !volumes.contains("containerd"),
        "{volumes}"
    );
}

#[test]
fn a_runtime_that_it_does_not_know_is_refused() {
    let name = "a_runtime_that_it_does_not_know_is_refused";
    let Some(text) = render(name, &["--set", "runtime=docker"]) else {
        return;
    };
    let message = text.unwrap_err();
    assert!(
        message.contains(r#"runtime is "docker", expected containerd or crio"#),
        "{message}"
    );
}

#[test]
fn helm_finds_nothing_to_complain_of() {
    let Some(helm) = flora_bench::program::on_path("helm") else {
        return skip("helm_finds_nothing_to_complain_of", "no helm");
    };
    let chart = repository().join("deploy/helm/flora-agent");
    let (code, stdout, stderr) = run(Command::new(helm).args(["lint", "--strict"]).arg(chart));
    assert_eq!(code, 0, "{stdout}{stderr}");
}
