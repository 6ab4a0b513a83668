//! The YAML form of what a scenario says for clusters.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Resolver, ScenarioFileError};
use crate::scenario::kubernetes::{Kubernetes, PodMetrics, Secret};

/// How target and agent run in a cluster (`--backend kubernetes`).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "kubernetes")]
pub(super) struct WireKubernetes {
    /// The target's image; `flora-bench/PROGRAM:VERSION` without it.
    #[schemars(with = "Option<String>")]
    image: Option<Spanned<String>>,
    /// The target's environment in a cluster, in place of `target.env`; filled in likewise.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    env: Option<BTreeMap<String, Spanned<String>>>,
    /// Files with the agent's objects, as its vendor publishes them, relative to this file. Placement is added, words such as `{intake_otlp_http}` are filled in.
    #[schemars(with = "Vec<String>")]
    manifests: Vec<Spanned<String>>,
    /// Images to put in place of those that the manifests name: the image without its tag or digest, and the one to use.
    #[schemars(with = "BTreeMap<String, String>")]
    images: BTreeMap<String, Spanned<String>>,
    /// Objects that must be ready before load is sent, such as `daemonset/flora-agent`; every workload of the manifests without any.
    #[schemars(with = "Vec<String>")]
    ready: Vec<Spanned<String>>,
    /// Secrets made from environment variables of the harness, so that no file holds their values.
    secrets: Vec<WireSecret>,
    /// Which pods serve the counter of `agent.telemetry.prometheus`.
    metrics: Option<WirePodMetrics>,
}

/// A Secret made from the harness's environment.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "secret")]
struct WireSecret {
    /// Its name.
    name: String,
    /// Environment variables by the Secret's keys.
    variables: BTreeMap<String, String>,
}

/// Pods that serve Prometheus text.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "pod_metrics")]
struct WirePodMetrics {
    /// A label selector, such as `app.kubernetes.io/name=flora-agent`.
    #[schemars(with = "String")]
    pods: Spanned<String>,
    /// The port.
    #[schemars(with = "u16", range(min = 1))]
    port: Spanned<u16>,
    /// The path, `/metrics` without it.
    #[schemars(with = "Option<String>")]
    path: Option<Spanned<String>>,
}

impl WireKubernetes {
    pub(super) fn has_manifests(&self) -> bool {
        !self.manifests.is_empty()
    }
}

impl Resolver<'_> {
    pub(super) fn kubernetes(&self, file: WireKubernetes) -> Result<Kubernetes, ScenarioFileError> {
        let image = |key, image: &Spanned<String>| {
            self.check(
                key,
                image,
                "an image such as `registry/name:tag`",
                |image| !image.is_empty() && !image.contains(char::is_whitespace),
            )
        };
        if let Some(given) = &file.image {
            image("kubernetes.image", given)?;
        }
        for given in file.images.values() {
            image("kubernetes.images", given)?;
        }
        for path in &file.manifests {
            self.check("kubernetes.manifests", path, "a file's name", |path| {
                !path.trim().is_empty()
            })?;
        }
        for object in &file.ready {
            self.check(
                "kubernetes.ready",
                object,
                "a kind in lower case and a name, such as `daemonset/flora-agent`",
                |object| {
                    let parts = object.split_once('/');
                    parts.is_some_and(|(kind, name)| {
                        let lower = |c: char| c.is_ascii_lowercase();
                        !kind.is_empty() && kind.chars().all(lower) && !name.is_empty()
                    })
                },
            )?;
        }
        let directory = self.path.parent().unwrap_or(Path::new(""));
        Ok(Kubernetes {
            image: file.image.map(|image| image.value),
            env: file
                .env
                .map(|env| {
                    let env = env.iter().map(|(name, value)| {
                        let value = self.early_template("kubernetes.env", value)?;
                        Ok((name.clone(), value))
                    });
                    env.collect::<Result<_, ScenarioFileError>>()
                })
                .transpose()?,
            manifests: file
                .manifests
                .iter()
                .map(|path| directory.join(&path.value))
                .collect(),
            images: file
                .images
                .into_iter()
                .map(|(name, image)| (name, image.value))
                .collect(),
            ready: file.ready.into_iter().map(|object| object.value).collect(),
            secrets: file
                .secrets
                .into_iter()
                .map(|WireSecret { name, variables }| Secret { name, variables })
                .collect(),
            metrics: file
                .metrics
                .map(|metrics| self.pod_metrics(metrics))
                .transpose()?,
        })
    }

    fn pod_metrics(&self, file: WirePodMetrics) -> Result<PodMetrics, ScenarioFileError> {
        self.check(
            "kubernetes.metrics.pods",
            &file.pods,
            "a label selector such as `app=agent`",
            |pods| !pods.trim().is_empty(),
        )?;
        self.check(
            "kubernetes.metrics.port",
            &file.port,
            "a port from 1 to 65535",
            |port| *port >= 1,
        )?;
        if let Some(path) = &file.path {
            self.check(
                "kubernetes.metrics.path",
                path,
                "an absolute path",
                |path| path.starts_with('/'),
            )?;
        }
        Ok(PodMetrics {
            pods: file.pods.value,
            port: file.port.value,
            path: file
                .path
                .map_or_else(|| "/metrics".to_owned(), |path| path.value),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn manifests_are_beside_their_scenario() {
        let text = "question: q\nkubernetes:\n  manifests: [flora/daemonset.yaml]\n  ready: [daemonset/flora-agent]\n";
        let scenario = parse(Path::new("scenarios/x.yaml"), text).unwrap();
        let kubernetes = scenario.kubernetes.unwrap();
        assert_eq!(
            kubernetes.manifests,
            [Path::new("scenarios/flora/daemonset.yaml")]
        );
        assert_eq!(kubernetes.ready, ["daemonset/flora-agent"]);
    }

    #[test]
    fn errors_stand_at_their_line() {
        let message = |text: &str| parse(Path::new("x.yaml"), text).unwrap_err().to_string();
        let text = "question: q\nkubernetes:\n  ready:\n    - DaemonSet/a\n";
        assert_eq!(
            message(text),
            "x.yaml:4: `kubernetes.ready` is \"DaemonSet/a\", expected a kind in lower case and a name, such as `daemonset/flora-agent`"
        );
        let unknown = message("question: q\nkubernetes:\n  manifest: [a]\n");
        assert!(unknown.contains("manifest"), "{unknown}");
        let late = message("question: q\nkubernetes:\n  env: {A: '{target_pid}'}\n");
        assert!(late.starts_with("x.yaml:3: `kubernetes.env`"), "{late}");
    }
}
