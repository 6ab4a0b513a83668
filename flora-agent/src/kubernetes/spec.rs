//! What a runtime's specification of a container says (`config.json`,
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md>).
//!
//! Such a file has some ten kilobytes, most of which is passed over as it is
//! read; more than `LARGEST` bytes are not read at all.

use std::fs::File;
use std::io::{BufReader, Read};
use std::net::IpAddr;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Names;

/// Bytes that are read of a file, at most.
const LARGEST: u64 = 1024 * 1024;

/// Whose annotations are meant. A pod's owner can write annotations of any name,
/// so only those are believed that its own runtime sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// containerd
    Containerd,
    /// CRI-O
    Crio,
}

/// A container's specification, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// What it is called.
    pub names: Names,
    /// Whether it is the one that holds the pod's network, not one that was asked for.
    pub sandbox: bool,
    /// Whether its network is not the node's.
    pub own_network: bool,
    /// Addresses that the runtime has noted down.
    pub addresses: Vec<IpAddr>,
}

#[derive(Deserialize)]
struct Wire<A> {
    annotations: A,
    linux: Linux,
}

#[derive(Deserialize)]
struct Linux {
    #[serde(default)]
    namespaces: Vec<Namespace>,
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Containerd {
    #[serde(rename = "io.kubernetes.cri.sandbox-namespace")]
    namespace: String,
    #[serde(rename = "io.kubernetes.cri.sandbox-name")]
    pod: String,
    #[serde(rename = "io.kubernetes.cri.container-name")]
    container: Option<String>,
    #[serde(rename = "io.kubernetes.cri.container-type")]
    kind: String,
}

#[derive(Deserialize)]
struct Crio {
    #[serde(rename = "io.kubernetes.pod.namespace")]
    namespace: String,
    #[serde(rename = "io.kubernetes.pod.name")]
    pod: String,
    #[serde(rename = "io.kubernetes.container.name")]
    container: Option<String>,
    #[serde(rename = "io.kubernetes.cri-o.ContainerType")]
    kind: String,
    #[serde(rename = "io.kubernetes.cri-o.IP.0")]
    first: Option<String>,
    #[serde(rename = "io.kubernetes.cri-o.IP.1")]
    second: Option<String>,
}

/// Reads a file; none when it is not there, too large, or of no pod.
pub fn read(path: &Path, runtime: Runtime) -> Option<Spec> {
    let file = BufReader::with_capacity(4096, File::open(path).ok()?.take(LARGEST));
    match parse(file, runtime) {
        Ok(spec) => spec,
        Err(error) => {
            log::debug!("no names of a pod in {}: {error}", path.display());
            None
        }
    }
}

fn parse(file: impl Read, runtime: Runtime) -> serde_json::Result<Option<Spec>> {
    fn wire<A: DeserializeOwned>(file: impl Read) -> serde_json::Result<Wire<A>> {
        serde_json::from_reader(file)
    }
    let (linux, namespace, pod, container, kind, addresses) = match runtime {
        Runtime::Containerd => {
            let Wire {
                annotations: a,
                linux,
            } = wire::<Containerd>(file)?;
            (linux, a.namespace, a.pod, a.container, a.kind, [None, None])
        }
        Runtime::Crio => {
            let Wire {
                annotations: a,
                linux,
            } = wire::<Crio>(file)?;
            (
                linux,
                a.namespace,
                a.pod,
                a.container,
                a.kind,
                [a.first, a.second],
            )
        }
    };
    let sandbox = kind == "sandbox";
    // CRI-O calls the sandbox a container named POD.
    let container = container.filter(|_| !sandbox);
    Ok(Names::new(&namespace, &pod).map(|names| Spec {
        names: names.with_container(container.as_deref()),
        sandbox,
        own_network: linux.namespaces.iter().any(|n| n.kind == "network"),
        addresses: addresses
            .iter()
            .flatten()
            .filter_map(|address| address.parse().ok())
            .collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINERD: &str = include_str!("captured/containerd-container.json");
    const CONTAINERD_SANDBOX: &str = include_str!("captured/containerd-sandbox.json");
    /// In CRI-O's form, less what is passed over.
    const CRIO_SANDBOX: &str = r#"{
        "ociVersion": "1.0.2-dev",
        "annotations": {
            "io.kubernetes.pod.name": "cart-0",
            "io.kubernetes.container.name": "POD",
            "io.kubernetes.cri-o.HostNetwork": "false",
            "io.kubernetes.cri-o.CNIResult": "{\"cniVersion\":\"0.4.0\",\"ips\":[{\"address\":\"10.217.0.53/32\"}]}",
            "io.kubernetes.cri-o.IP.0": "10.217.0.53",
            "io.kubernetes.cri-o.ContainerType": "sandbox",
            "io.kubernetes.pod.namespace": "shop",
            "io.kubernetes.cri.sandbox-name": "somebody-else",
            "kubernetes.io/config.source": "api"
        },
        "linux": {
            "cgroupsPath": "kubepods-besteffort-podaaaa2b4a_f398_41c0_928b_049e1cc4ec40.slice:crio:134b",
            "namespaces": [{"type": "pid"}, {"type": "network", "path": "/var/run/netns/9abac4ae"}]
        }
    }"#;

    fn of(text: &str, runtime: Runtime) -> Spec {
        parse(text.as_bytes(), runtime).unwrap().unwrap()
    }

    #[test]
    fn a_container_of_containerd() {
        let spec = of(CONTAINERD, Runtime::Containerd);
        assert_eq!(spec.names.namespace, "kube-system");
        assert_eq!(spec.names.pod, "coredns-7f757457c5-89228");
        assert_eq!(spec.names.container.as_deref(), Some("coredns"));
        assert_eq!(spec.names.workload.as_deref(), Some("coredns"));
        assert!(!spec.sandbox && spec.own_network);
    }

    #[test]
    fn a_sandbox_of_containerd() {
        let spec = of(CONTAINERD_SANDBOX, Runtime::Containerd);
        assert_eq!(spec.names.pod, "coredns-7f757457c5-89228");
        assert_eq!(spec.names.container, None);
        assert!(spec.sandbox && spec.own_network);
        let shared = CONTAINERD_SANDBOX.replace("\"network\"", "\"ipc\"");
        assert!(!of(&shared, Runtime::Containerd).own_network);
    }

    #[test]
    fn a_sandbox_of_crio() {
        let spec = of(CRIO_SANDBOX, Runtime::Crio);
        assert_eq!(
            (spec.names.namespace.as_str(), spec.names.pod.as_str()),
            ("shop", "cart-0")
        );
        assert_eq!(spec.names.container, None);
        assert!(spec.sandbox && spec.own_network);
        assert_eq!(spec.addresses, ["10.217.0.53".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn annotations_of_another_runtime_are_not_believed() {
        assert!(parse(CONTAINERD.as_bytes(), Runtime::Crio).is_err());
        assert!(parse(CRIO_SANDBOX.as_bytes(), Runtime::Containerd).is_err());
    }

    #[test]
    fn names_that_kubernetes_does_not_give() {
        let odd = CONTAINERD.replace("coredns-7f757457c5-89228", "a\\\"} 1\\nb");
        assert_eq!(parse(odd.as_bytes(), Runtime::Containerd).unwrap(), None);
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let fill = |bytes: usize| format!("{}{}", " ".repeat(bytes), CONTAINERD);
        std::fs::write(&path, fill(100_000)).unwrap();
        assert!(read(&path, Runtime::Containerd).is_some());
        std::fs::write(&path, fill(LARGEST as usize)).unwrap();
        assert!(read(&path, Runtime::Containerd).is_none());
        assert!(read(&directory.path().join("none"), Runtime::Containerd).is_none());
    }
}
