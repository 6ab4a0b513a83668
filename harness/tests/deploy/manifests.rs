//! Objects as files: what must hold without a cluster.

use std::fs;
use std::path::{Path, PathBuf};

use flora_bench::scenario::library::Library;
use serde_json::Value;

use crate::support::repository;

/// Every YAML document of a file.
pub fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let all: Vec<Value> = serde_saphyr::from_multiple(&text)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    all.into_iter().filter(|value| !value.is_null()).collect()
}

/// The manifests of the scenarios, sorted.
pub fn of_scenarios() -> Vec<PathBuf> {
    let scenarios = fs::read_dir(repository().join("scenarios")).unwrap();
    let mut found: Vec<PathBuf> = scenarios
        .flatten()
        .filter_map(|entry| fs::read_dir(entry.path().join("kubernetes")).ok())
        .flat_map(|directory| directory.flatten().map(|entry| entry.path()))
        .collect();
    found.sort();
    found
}

/// Every file of `deploy/` that holds objects.
fn of_deploy() -> Vec<PathBuf> {
    [
        "rbac.yaml",
        "flora-agent/daemonset.yaml",
        "monitoring/namespace.yaml",
        "monitoring/victoria-metrics.yaml",
        "monitoring/grafana.yaml",
        "monitoring/network-policy.yaml",
        "karpenter/nodepool.yaml",
    ]
    .map(|name| repository().join("deploy").join(name))
    .into()
}

/// The pod in an object, if it makes any.
fn pod(object: &Value) -> Option<&Value> {
    object
        .pointer("/spec/template/spec")
        .filter(|spec| spec["containers"].is_array())
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"]
        .into_iter()
        .filter_map(|list| pod[list].as_array())
        .flatten()
}

#[test]
fn images_are_pinned_and_pulled_once() {
    let mut seen = 0;
    for path in of_scenarios().into_iter().chain(of_deploy()) {
        for object in documents(&path) {
            for container in pod(&object).into_iter().flat_map(containers) {
                let image = container["image"].as_str().unwrap();
                let place = format!("{}: {image}", path.display());
                assert_eq!(container["imagePullPolicy"], "IfNotPresent", "{place}");
                // The monitoring stack's tags stand in its kustomization.
                if !path.ends_with("monitoring/grafana.yaml")
                    && !path.ends_with("monitoring/victoria-metrics.yaml")
                {
                    let (_, tag) = image.rsplit_once(':').expect(&place);
                    assert!(tag.contains('.') && !tag.contains('/'), "{place}");
                }
                seen += 1;
            }
        }
    }
    assert!(seen >= 10, "only {seen} containers were found");
    let kustomization = documents(&repository().join("deploy/monitoring/kustomization.yaml"));
    for image in kustomization[0]["images"].as_array().unwrap() {
        assert!(image["newTag"].as_str().unwrap().contains('.'), "{image}");
    }
}

#[test]
fn every_manifest_belongs_to_a_scenario_and_is_there() {
    let library = Library::new(repository().join("scenarios"));
    let mut named: Vec<PathBuf> = Vec::new();
    for name in library.names().unwrap() {
        let scenario = library.load(&name).unwrap();
        for manifest in scenario.kubernetes.iter().flat_map(|k| &k.manifests) {
            let path = manifest.canonicalize();
            named.push(path.unwrap_or_else(|_| panic!("{name}: {}", manifest.display())));
        }
    }
    for path in of_scenarios() {
        let path = path.canonicalize().unwrap();
        assert!(named.contains(&path), "{} is nobody's", path.display());
    }
}

#[test]
fn what_is_ours_has_the_least_privilege() {
    for path in of_deploy() {
        for object in documents(&path) {
            let Some(pod) = pod(&object) else { continue };
            let name = object["metadata"]["name"].as_str().unwrap();
            for key in ["hostNetwork", "hostPID", "hostIPC"] {
                assert_ne!(pod[key], true, "{name}: {key}");
            }
            for container in containers(pod) {
                let context = &container["securityContext"];
                assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
                assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
                assert_eq!(context["capabilities"]["drop"][0], "ALL", "{name}");
                assert_ne!(context["privileged"], true, "{name}");
                let added = context["capabilities"]["add"].as_array();
                if name == "flora-agent" {
                    assert_eq!(added.map(Vec::len), Some(3), "{name}");
                    assert_eq!(pod["automountServiceAccountToken"], false);
                } else {
                    assert_eq!(added, None, "{name}");
                    assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
                }
            }
            let host = pod["volumes"].as_array().into_iter().flatten();
            for volume in host.filter(|volume| volume["hostPath"].is_object()) {
                let mounts = containers(pod).flat_map(|c| c["volumeMounts"].as_array().unwrap());
                for mount in mounts.filter(|mount| mount["name"] == volume["name"]) {
                    assert_eq!(mount["readOnly"], true, "{name}: {mount}");
                }
            }
        }
    }
}

/// Rules of a ClusterRole as (group, resource, verb), URLs under `url`.
fn grants(role: &Value) -> Vec<(String, String, String)> {
    let texts = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut grants = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        for verb in texts(&rule["verbs"]) {
            for url in texts(&rule["nonResourceURLs"]) {
                grants.push(("url".to_owned(), url, verb.clone()));
            }
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    grants.push((group.clone(), resource, verb.clone()));
                }
            }
        }
    }
    grants
}

fn roles(path: &Path) -> Vec<Value> {
    let all = documents(path).into_iter();
    all.filter(|object| object["kind"] == "ClusterRole")
        .collect()
}

/// Nobody can give rights that one lacks; what agents bring must be among the harness's.
#[test]
fn the_harness_has_what_it_hands_on() {
    let own: Vec<_> = roles(&repository().join("deploy/rbac.yaml"))
        .iter()
        .flat_map(grants)
        .collect();
    assert!(
        own.iter()
            .all(|(_, resource, verb)| resource != "*" && verb != "*")
    );
    for path in of_scenarios() {
        // It says itself that it takes an administrator.
        if path.ends_with("pixie/kubernetes/operator.yaml") {
            continue;
        }
        for grant in roles(&path).iter().flat_map(grants) {
            assert!(own.contains(&grant), "{}: {grant:?}", path.display());
        }
    }
}

/// `doctor` asks for what the program's own table says; the file grants that and no more.
#[test]
fn the_file_of_rights_is_the_programs_table() {
    use flora_bench::backend::kubernetes::rights::{KARPENTER, NEEDED, OPERATOR};
    let file = repository().join("deploy/rbac.yaml");
    let all = documents(&file);
    for (kind, namespace) in [("ClusterRole", None), ("Role", Some("default"))] {
        let role = all
            .iter()
            .find(|object| object["kind"] == kind && object["metadata"]["name"] == "flora-bench");
        let role = role.unwrap();
        assert_eq!(role["metadata"]["namespace"].as_str(), namespace);
        let mut granted = grants(role);
        let mut needed: Vec<_> = NEEDED
            .iter()
            .chain(OPERATOR)
            .chain(KARPENTER)
            .filter(|right| right.namespace == namespace)
            .flat_map(|right| {
                let of = move |verb: &&str| {
                    let text = |text: &str| text.to_owned();
                    (text(right.group), text(right.resource), text(verb))
                };
                right.verbs.iter().map(of)
            })
            .collect();
        granted.sort();
        needed.sort();
        assert_eq!(granted, needed, "{kind}");
    }
}
