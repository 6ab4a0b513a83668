//! Where a node keeps what is known of its pods.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::Names;
use super::addresses;
use super::spec::{self, Runtime, Spec};
use crate::cgroup::identity::container_id;

/// The kubelet's directories of logs: `NAMESPACE_POD_UID`.
const LOGS: &str = "var/log/pods";

/// Where runtimes keep a directory for each container, and what is in it:
/// the specification, and the number of the first process.
const BUNDLES: [(&str, Runtime, &str, &str); 4] = [
    (
        "run/containerd/io.containerd.runtime.v2.task/k8s.io",
        Runtime::Containerd,
        "config.json",
        "init.pid",
    ),
    (
        "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io",
        Runtime::Containerd,
        "config.json",
        "init.pid",
    ),
    (
        "run/containers/storage/overlay-containers",
        Runtime::Crio,
        "userdata/config.json",
        "userdata/pidfile",
    ),
    (
        "var/lib/containers/storage/overlay-containers",
        Runtime::Crio,
        "userdata/config.json",
        "userdata/pidfile",
    ),
];

/// Containers that are looked at, at most.
const MOST: usize = 8192;

/// A node, by the directory that shows its root.
#[derive(Clone, Debug)]
pub struct Node {
    root: PathBuf,
}

/// What a runtime keeps of a container.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The container's id.
    pub id: String,
    directory: PathBuf,
    runtime: Runtime,
    spec: &'static str,
    pid: &'static str,
}

impl Default for Node {
    fn default() -> Self {
        Node::new("/")
    }
}

impl Node {
    /// The node whose root is seen at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Node { root: root.into() }
    }

    /// What a container is called: by its runtime, or else its pod by the kubelet.
    pub fn names(&self, container: Option<&str>, uid: Option<&str>) -> Option<Names> {
        container
            .and_then(|id| self.container(id))
            .or_else(|| self.pod(uid?))
    }

    fn container(&self, id: &str) -> Option<Names> {
        let bundles = BUNDLES.iter().map(|kind| Bundle::new(&self.root, kind, id));
        let spec = bundles.filter_map(|bundle| bundle.spec()).next()?;
        Some(spec.names)
    }

    fn pod(&self, uid: &str) -> Option<Names> {
        self.logs().find_map(|name| {
            let (namespace, pod, other) = log_directory(&name)?;
            (other == uid).then(|| Names::new(namespace, pod))?
        })
    }

    /// The uids of the pods that have, or had, this name.
    pub fn uids(&self, namespace: &str, pod: &str) -> Vec<String> {
        let uid = |name: String| {
            let (of, called, uid) = log_directory(&name)?;
            ((of, called) == (namespace, pod)).then(|| uid.to_owned())
        };
        self.logs().filter_map(uid).collect()
    }

    /// Where the kubelet makes a directory for each pod.
    pub fn log_directories(&self) -> PathBuf {
        self.root.join(LOGS)
    }

    /// The first of the runtimes' directories that is there.
    pub fn runtime_directory(&self) -> Option<PathBuf> {
        let mut paths = BUNDLES.iter().map(|(path, ..)| self.root.join(path));
        paths.find(|path| path.is_dir())
    }

    fn logs(&self) -> impl Iterator<Item = String> {
        names_in(&self.log_directories()).take(MOST)
    }

    /// All containers that runtimes keep something of.
    pub fn bundles(&self) -> Vec<Bundle> {
        let kinds = BUNDLES.iter().flat_map(|kind| {
            names_in(&self.root.join(kind.0))
                .filter(|name| container_id(name) == Some(name))
                .map(move |id| (kind, id))
        });
        kinds
            .take(MOST)
            .map(|(kind, id)| Bundle::new(&self.root, kind, &id))
            .collect()
    }

    /// The addresses in the network of a bundle's first process.
    pub fn addresses(&self, bundle: &Bundle) -> Vec<IpAddr> {
        let Some(process) = self.process(bundle) else {
            return Vec::new();
        };
        addresses::of_process(&process)
    }

    /// The directory of a bundle's first process, in the node's /proc.
    fn process(&self, bundle: &Bundle) -> Option<PathBuf> {
        let text = fs::read_to_string(bundle.directory.join(bundle.pid)).ok()?;
        let pid: u32 = text.trim().parse().ok()?;
        let process = self.root.join(format!("proc/{pid}"));
        // Its number may be another's by now.
        let groups = fs::read_to_string(process.join("cgroup")).ok()?;
        groups.contains(&bundle.id).then_some(process)
    }

    /// The node's own addresses, as far as they can be seen.
    pub fn own_addresses(&self) -> Vec<IpAddr> {
        addresses::of_process(&self.root.join("proc/1"))
    }
}

impl Bundle {
    fn new(root: &Path, kind: &(&str, Runtime, &'static str, &'static str), id: &str) -> Self {
        let (path, runtime, spec, pid) = *kind;
        Bundle {
            id: id.to_owned(),
            directory: root.join(path).join(id),
            runtime,
            spec,
            pid,
        }
    }

    /// Its specification.
    pub fn spec(&self) -> Option<Spec> {
        spec::read(&self.directory.join(self.spec), self.runtime)
    }
}

/// Names in a directory, in whatever order; none when it can't be read.
fn names_in(directory: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// Namespace, pod and uid. None of them has an underscore in it.
fn log_directory(name: &str) -> Option<(&str, &str, &str)> {
    let mut parts = name.split('_');
    let found = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "03ffb6cd-2f93-4b59-b8ad-2de9ab9dd099";
    const CONTAINER: &str = "25a2bda98acc3adfcd62150bd12609e8b561b35e93cc2a26bd8d42453eff1fa4";

    fn node() -> (tempfile::TempDir, Node) {
        let root = tempfile::tempdir().unwrap();
        let bundle = root.path().join(BUNDLES[0].0).join(CONTAINER);
        fs::create_dir_all(&bundle).unwrap();
        let spec = include_str!("captured/containerd-container.json");
        fs::write(bundle.join("config.json"), spec).unwrap();
        for name in [
            &format!("kube-system_coredns-7f757457c5-89228_{UID}"),
            "shop_cart-0_11111111-2f93-4b59-b8ad-2de9ab9dd099",
            "shop_cart-0_22222222-2f93-4b59-b8ad-2de9ab9dd099",
            "no-pod",
            "a_b_c_d",
        ] {
            fs::create_dir_all(root.path().join(LOGS).join(name)).unwrap();
        }
        let node = Node::new(root.path());
        (root, node)
    }

    #[test]
    fn by_container_and_by_pod() {
        let (_root, node) = node();
        let names = node.names(Some(CONTAINER), Some(UID)).unwrap();
        assert_eq!(names.container.as_deref(), Some("coredns"));
        // A container that no runtime tells of is still in its pod.
        let other = CONTAINER.replace('2', "3");
        let names = node.names(Some(&other), Some(UID)).unwrap();
        assert_eq!(names.pod, "coredns-7f757457c5-89228");
        assert_eq!(names.container, None);
        assert_eq!(node.names(Some(&other), None), None);
        assert_eq!(node.names(None, Some("nobody")), None);
    }

    #[test]
    fn uids_of_a_name() {
        let (_root, node) = node();
        assert_eq!(node.uids("shop", "cart-0").len(), 2);
        assert_eq!(node.uids("shop", "cart"), [""; 0]);
        assert_eq!(node.uids("kube-system", "coredns-7f757457c5-89228"), [UID]);
    }

    #[test]
    fn bundles_and_their_processes() {
        let (root, node) = node();
        let bundles = node.bundles();
        assert_eq!(bundles.len(), 1);
        let process = root.path().join("proc/4720");
        fs::create_dir_all(process.join("net")).unwrap();
        fs::write(bundles[0].directory.join("init.pid"), "4720").unwrap();
        let fib = include_str!("captured/fib_trie");
        fs::write(process.join("net/fib_trie"), fib).unwrap();
        fs::write(process.join("cgroup"), "0::/another\n").unwrap();
        assert!(node.addresses(&bundles[0]).is_empty());
        fs::write(
            process.join("cgroup"),
            format!("0::/kubepods/{CONTAINER}\n"),
        )
        .unwrap();
        let address: IpAddr = "10.78.0.2".parse().unwrap();
        assert_eq!(node.addresses(&bundles[0]), [address]);
    }
}
