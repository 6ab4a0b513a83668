//! Manifests of others: read as they are published, with placement, names and
//! images patched in. Pure: what is applied can be printed without a cluster.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

use super::groups::Group;
use super::images::Images;
use super::kind;
use super::object::{Run, object};
use super::{ClusterError, target};
use crate::scenario::Scenario;
use crate::scenario::placeholder::{self, Placeholder};

/// The order in which kinds are applied; what is not named comes after, in the order of the files.
const FIRST: [&str; 9] = [
    "CustomResourceDefinition",
    "PriorityClass",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
];

/// A manifest that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file can't be read.
    #[error("cannot read the manifest {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not YAML.
    #[error("{}: {message}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// A document that is no object.
    #[error("{}: document {document} has no {missing}; every object has `apiVersion`, `kind` and `metadata.name`", path.display())]
    NoObject {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        document: usize,
        /// What it lacks.
        missing: &'static str,
    },
    /// A word that stands for nothing in a cluster.
    #[error("{}: document {document} ({object}) asks for {{{word}}}, which is known of processes on one machine only", path.display())]
    Unfilled {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        document: usize,
        /// Its kind and name.
        object: String,
        /// The word.
        word: &'static str,
    },
}

/// One document of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The file that it stands in.
    pub path: PathBuf,
    /// Which of the file's, from 1.
    pub number: usize,
    /// What it says.
    pub value: Value,
}

impl Document {
    fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    fn is_cluster_scoped(&self) -> bool {
        let api_version = self.value["apiVersion"].as_str().unwrap_or_default();
        kind::is_cluster_scoped(api_version, self.kind())
    }
}

/// The documents of an arm's manifests. An agent that has none and is no part of
/// the target can't run in a cluster, nor can a target that is told what only one machine knows.
///
/// # Errors
/// When it can't, or a manifest can't be used.
pub fn documents(arm: &Scenario) -> Result<Vec<Document>, ClusterError> {
    let mut documents = Vec::new();
    for path in arm.kubernetes.iter().flat_map(|said| &said.manifests) {
        documents.extend(read(path)?);
    }
    let cannot = |why: String| {
        let name = &arm.name;
        Err(ClusterError::Missing(format!(
            "{name} can't run in a cluster: {why}"
        )))
    };
    if let Some(agent) = &arm.agent
        && documents.is_empty()
        && !agent.processes.is_empty()
    {
        return cannot("its scenario has no `kubernetes.manifests` for its agent".into());
    }
    let words = target::environment(arm).values();
    let mut words = words.flat_map(|text| placeholder::find(text).unwrap_or_default());
    match words.find(|word| is_of_one_machine(*word)) {
        None => Ok(documents),
        Some(word) => cannot(format!(
            "its target's environment has {word}, which is known on one machine only; say with `kubernetes.env` what it is there"
        )),
    }
}

/// Whether a word stands for something of processes on one machine, and for nothing in a cluster.
fn is_of_one_machine(word: Placeholder) -> bool {
    !word.precedes_target() || matches!(word, Placeholder::AgentPort | Placeholder::Scenarios)
}

/// The documents of a file.
///
/// # Errors
/// When it can't be read or holds something else than objects.
pub fn read(path: &Path) -> Result<Vec<Document>, ManifestError> {
    let text = std::fs::read_to_string(path).map_err(|source| ManifestError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

/// The documents of a file's text. Empty ones are passed over; a `List` gives its items.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &Path, text: &str) -> Result<Vec<Document>, ManifestError> {
    let values: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| ManifestError::Form {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
    let mut documents = Vec::new();
    for (n, value) in values.into_iter().enumerate() {
        let items = match value {
            Value::Null => continue,
            Value::Object(mut map) if map.get("kind") == Some(&json!("List")) => {
                match map.remove("items") {
                    Some(Value::Array(items)) => items,
                    _ => Vec::new(),
                }
            }
            value => vec![value],
        };
        for value in items {
            let missing = ["/apiVersion", "/kind", "/metadata/name"]
                .into_iter()
                .find(|path| value.pointer(path).and_then(Value::as_str).is_none());
            if let Some(missing) = missing {
                return Err(ManifestError::NoObject {
                    path: path.to_owned(),
                    document: n + 1,
                    missing: match missing {
                        "/apiVersion" => "`apiVersion`",
                        "/kind" => "`kind`",
                        _ => "`metadata.name`",
                    },
                });
            }
            documents.push(Document {
                path: path.to_owned(),
                number: n + 1,
                value,
            });
        }
    }
    Ok(documents)
}

/// Where an agent's objects go and what is put into them.
pub struct Patch<'a> {
    /// The run.
    pub run: &'a Run,
    /// The namespace: the run's, or one of its own for arms that run at the same time.
    pub namespace: &'a str,
    /// The trial; none for a plan that is only shown.
    pub trial: Option<u32>,
    /// The nodes that its pods go to.
    pub group: &'a Group,
    /// Images to put in place of those that are named.
    pub images: &'a Images,
    /// What the scenario puts in their place, by image without its tag.
    pub replaced: &'a std::collections::BTreeMap<String, String>,
}

/// An agent's objects as they are applied, in their order.
///
/// # Errors
/// When a document asks for what is not known in a cluster.
pub fn objects(
    documents: &[Document],
    patch: &Patch<'_>,
    fill: impl Fn(Placeholder) -> String,
) -> Result<Vec<DynamicObject>, ManifestError> {
    let renamed: BTreeSet<&str> = documents
        .iter()
        .filter(|document| document.kind() == "ClusterRole")
        .map(Document::name)
        .collect();
    let namespaces: BTreeSet<&str> = documents
        .iter()
        .filter_map(|document| document.value["metadata"]["namespace"].as_str())
        .collect();
    let mut objects = Vec::new();
    for document in documents {
        // The run's own namespace stands in for those that a vendor makes.
        if document.kind() == "Namespace" {
            continue;
        }
        let mut value = document.value.clone();
        check(document, &value)?;
        texts(&mut value, &|text| {
            let mut text = placeholder::fill(text, &fill);
            for namespace in &namespaces {
                text = text.replace(
                    &format!(".{namespace}.svc"),
                    &format!(".{}.svc", patch.namespace),
                );
            }
            text
        });
        place(&mut value, document, &renamed, patch);
        objects.push(object(value));
    }
    let rank = |object: &DynamicObject| {
        let kind = object.types.as_ref().map_or("", |types| &types.kind);
        FIRST
            .iter()
            .position(|first| *first == kind)
            .unwrap_or(FIRST.len())
    };
    objects.sort_by_key(rank);
    Ok(objects)
}

/// Refuses words that are known only of a process on this machine.
fn check(document: &Document, value: &Value) -> Result<(), ManifestError> {
    let mut late = None;
    let mut copy = value.clone();
    let seen = std::cell::RefCell::new(&mut late);
    texts(&mut copy, &|text| {
        // Other words in braces are the vendor's own.
        let _ = placeholder::fill(text, |found| {
            if is_of_one_machine(found) {
                **seen.borrow_mut() = Some(found);
            }
            String::new()
        });
        text.to_owned()
    });
    match late {
        None => Ok(()),
        Some(word) => Err(ManifestError::Unfilled {
            path: document.path.clone(),
            document: document.number,
            object: format!("{} {}", document.kind(), document.name()),
            word: word.as_str(),
        }),
    }
}

/// Changes every text of a value, keys left as they are.
fn texts(value: &mut Value, change: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| texts(item, change)),
        Value::Object(map) => map.values_mut().for_each(|item| texts(item, change)),
        _ => {}
    }
}

fn place(value: &mut Value, document: &Document, renamed: &BTreeSet<&str>, patch: &Patch<'_>) {
    let namespace = patch.namespace;
    let suffixed = |name: &str| format!("{name}-{namespace}");
    if document.is_cluster_scoped() {
        if let Some(metadata) = value["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        // A role of that name may be somebody's own agent's.
        if ["ClusterRole", "ClusterRoleBinding"].contains(&document.kind()) {
            value["metadata"]["name"] = suffixed(document.name()).into();
        }
    } else {
        value["metadata"]["namespace"] = namespace.into();
    }
    let labels = patch.run.labels("agent", patch.trial);
    merge(&mut value["metadata"]["labels"], &labels);
    if let Some(role) = value["roleRef"]["name"].as_str()
        && renamed.contains(role)
        && value["roleRef"]["kind"] == "ClusterRole"
    {
        value["roleRef"]["name"] = suffixed(role).into();
    }
    for subject in members(value, "subjects") {
        if subject["kind"] == "ServiceAccount" {
            subject["namespace"] = namespace.into();
        }
    }
    for webhook in members(value, "webhooks") {
        if webhook["clientConfig"]["service"].is_object() {
            webhook["clientConfig"]["service"]["namespace"] = namespace.into();
        }
    }
    if let Some(template) = template(value, document.kind()) {
        merge(&mut template["metadata"]["labels"], &labels);
        place_pod(&mut template["spec"], patch);
    }
}

/// The part of an object that a pod is made from.
fn template<'v>(value: &'v mut Value, kind: &str) -> Option<&'v mut Value> {
    match kind {
        "Pod" => Some(value),
        "CronJob" => value.pointer_mut("/spec/jobTemplate/spec/template"),
        _ => value
            .pointer_mut("/spec/template")
            .filter(|template| template["spec"]["containers"].is_array()),
    }
}

fn place_pod(spec: &mut Value, patch: &Patch<'_>) {
    merge(&mut spec["nodeSelector"], &patch.group.node_selector());
    let ours = patch.group.tolerations();
    match spec["tolerations"].as_array_mut() {
        Some(theirs) => {
            // One that tolerates everything tolerates ours too; the selector keeps it off other nodes.
            let all = |one: &Value| one["operator"] == "Exists" && one["key"].is_null();
            if !theirs.iter().any(all) {
                theirs.extend(ours.as_array().into_iter().flatten().cloned());
            }
        }
        None => spec["tolerations"] = ours,
    }
    for list in ["initContainers", "containers"] {
        for container in members(spec, list) {
            let Some(named) = container["image"].as_str() else {
                continue;
            };
            let bare = without_tag(named);
            let replaced = patch.replaced.get(bare).or(patch.replaced.get(named));
            let replaced = replaced.map_or(named, String::as_str);
            let given = patch.images.given(bare).or(patch.images.given(named));
            container["image"] = given.unwrap_or(replaced).into();
        }
    }
}

/// The members of a list, without making one where there is none.
fn members<'v>(value: &'v mut Value, list: &str) -> impl Iterator<Item = &'v mut Value> {
    let list = value.get_mut(list).and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

/// An image without its tag and digest.
pub fn without_tag(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        // The colon of a registry's port has a path behind it.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

fn merge(into: &mut Value, from: &Value) {
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    for (key, value) in from.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::wire;
    use std::collections::BTreeMap;

    const TEXT: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: vendor}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: vendor}
spec:
  template:
    metadata: {labels: {app: agent}}
    spec:
      nodeSelector: {kubernetes.io/os: linux}
      tolerations: [{key: other, operator: Exists}]
      containers:
        - name: agent
          image: registry:5000/vendor/agent:1.2@sha256:00
          args: ["--to=http://{intake_otlp_http}", "--own=collector.vendor.svc:4317", "--format={own_word}"]
---
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: agent}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: agent}
subjects: [{kind: ServiceAccount, name: agent, namespace: vendor}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: agent}
"#;

    fn patched(text: &str) -> Result<Vec<DynamicObject>, ManifestError> {
        let run = Run {
            namespace: "run".into(),
            owner: "me-1-2".into(),
        };
        let images =
            BTreeMap::from([("registry:5000/vendor/agent".to_owned(), "mine:2".to_owned())]);
        let documents = parse(Path::new("m.yaml"), text)?;
        objects(
            &documents,
            &Patch {
                run: &run,
                namespace: "run",
                trial: Some(3),
                group: &Group::named("flora"),
                images: &Images::default(),
                replaced: &images,
            },
            |word| word.as_str().to_uppercase(),
        )
    }

    #[test]
    fn a_vendors_manifest_is_placed_unchanged_otherwise() {
        let objects = patched(TEXT).unwrap();
        let kinds: Vec<&str> = objects
            .iter()
            .map(|object| object.types.as_ref().unwrap().kind.as_str())
            .collect();
        assert_eq!(kinds, ["ClusterRole", "ClusterRoleBinding", "DaemonSet"]);
        assert_eq!(objects[0].metadata.name.as_deref(), Some("agent-run"));
        assert_eq!(objects[1].data["roleRef"]["name"], "agent-run");
        assert_eq!(objects[1].data["subjects"][0]["namespace"], "run");
        let daemons = &objects[2];
        assert_eq!(daemons.metadata.namespace.as_deref(), Some("run"));
        let pod = &daemons.data["spec"]["template"];
        assert_eq!(pod["metadata"]["labels"]["flora-bench.dev/trial"], "3");
        assert_eq!(pod["metadata"]["labels"]["app"], "agent");
        let spec = &pod["spec"];
        assert_eq!(spec["nodeSelector"]["kubernetes.io/os"], "linux");
        assert_eq!(spec["nodeSelector"]["flora-bench.dev/group"], "flora");
        assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
        assert_eq!(spec["containers"][0]["image"], "mine:2");
        assert_eq!(
            spec["containers"][0]["args"],
            json!([
                "--to=http://INTAKE_OTLP_HTTP",
                "--own=collector.run.svc:4317",
                "--format={own_word}"
            ])
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, expected) in [
            ("a: [", "m.yaml: "),
            (
                "kind: Pod\nmetadata: {name: x}\n",
                "m.yaml: document 1 has no `apiVersion`",
            ),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n---\napiVersion: v1\nkind: Pod\nmetadata: {}\n",
                "m.yaml: document 2 has no `metadata.name`",
            ),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {a: '{target_pid}'}\n",
                "m.yaml: document 1 (Pod x) asks for {target_pid}",
            ),
        ] {
            let message = patched(text).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn a_scenario_of_one_machine_is_refused() {
        let refusal = |text: &str| {
            let arm = wire::parse(Path::new("s.yaml"), text).unwrap();
            documents(&arm).err().map(|error| error.to_string())
        };
        let agent = "agent:\n  version: '1'\n  processes: [{name: a, command: [a]}]\n";
        let port = "target:\n  env: {TO: 'http://127.0.0.1:{agent_port}'}\n";
        for (text, expected) in [
            (agent, "no `kubernetes.manifests`"),
            (port, "has {agent_port}"),
        ] {
            let message = refusal(&format!("question: q\n{text}")).unwrap();
            assert!(
                message.starts_with("s can't run in a cluster: "),
                "{message}"
            );
            assert!(message.contains(expected), "{message}");
        }
        // What it is in a cluster stands in its place.
        let told = format!("question: q\n{port}kubernetes:\n  env: {{TO: 'http://agent:1'}}\n");
        assert_eq!(refusal(&told), None);
        assert_eq!(refusal("question: q\n"), None);
    }

    #[test]
    fn tags_are_told_from_ports() {
        assert_eq!(without_tag("a:5000/b"), "a:5000/b");
        assert_eq!(without_tag("a:5000/b:1"), "a:5000/b");
        assert_eq!(without_tag("b@sha256:00"), "b");
    }
}
