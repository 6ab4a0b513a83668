//! A node's files and networks, made as the kubelet and containerd make them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::support::Group;

const BUNDLES: &str = "run/containerd/io.containerd.runtime.v2.task/k8s.io";

/// A directory that stands for a node's root; its /proc is the real one.
pub struct Node {
    pub root: tempfile::TempDir,
}

/// A container as its runtime describes it.
pub struct Described<'a> {
    pub id: &'a str,
    pub namespace: &'a str,
    pub pod: &'a str,
    /// None for the sandbox.
    pub container: Option<&'a str>,
    pub own_network: bool,
    /// Bytes that its specification is filled up with.
    pub filling: usize,
}

impl Node {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/proc", root.path().join("proc")).unwrap();
        Node { root }
    }

    /// The kubelet's directory for a pod.
    pub fn add_logs(&self, namespace: &str, pod: &str, uid: &str) {
        let logs = format!("var/log/pods/{namespace}_{pod}_{uid}");
        fs::create_dir_all(self.root.path().join(logs)).unwrap();
    }

    /// containerd's directory for a container.
    pub fn add(&self, described: &Described) -> PathBuf {
        let mut annotations = serde_json::json!({
            "io.kubernetes.cri.container-type": "sandbox",
            "io.kubernetes.cri.sandbox-name": described.pod,
            "io.kubernetes.cri.sandbox-namespace": described.namespace,
        });
        if let Some(name) = described.container {
            annotations["io.kubernetes.cri.container-type"] = "container".into();
            annotations["io.kubernetes.cri.container-name"] = name.into();
        }
        let mut namespaces = vec![serde_json::json!({"type": "pid"})];
        if described.own_network {
            namespaces.push(serde_json::json!({"type": "network", "path": "/var/run/netns/x"}));
        }
        let filling: Vec<_> = (0..described.filling / 8)
            .map(|n| format!("{n:05}"))
            .collect();
        let spec = serde_json::json!({
            "ociVersion": "1.0.2-dev",
            "process": {"env": filling},
            "annotations": annotations,
            "linux": {"namespaces": namespaces},
        });
        let bundle = self.root.path().join(BUNDLES).join(described.id);
        fs::create_dir_all(&bundle).unwrap();
        fs::write(bundle.join("config.json"), spec.to_string()).unwrap();
        bundle
    }
}

/// A network namespace with an address, and one of this namespace beside it.
pub struct Network {
    name: String,
    /// Its address.
    pub inside: String,
    /// The address beside it.
    pub outside: String,
}

fn ip(words: &str) -> bool {
    let status = Command::new("ip").args(words.split(' ')).status();
    status.is_ok_and(|status| status.success())
}

impl Network {
    /// None when there is no `ip`.
    pub fn new() -> Option<Self> {
        Command::new("ip").arg("-V").output().ok()?;
        let pid = std::process::id();
        let name = format!("flora-agent-test-{pid}");
        let (inside, outside) = (format!("fl{pid}i"), format!("fl{pid}o"));
        // Four addresses of the range that is there for tests (RFC 2544).
        let subnet = format!("198.18.{}.", pid / 64 % 256);
        let first = pid % 64 * 4;
        let network = Network {
            inside: format!("{subnet}{}", first + 1),
            outside: format!("{subnet}{}", first + 2),
            name,
        };
        let name = &network.name;
        assert!(ip(&format!("netns add {name}")));
        for words in [
            format!("link add {outside} type veth peer name {inside} netns {name}"),
            format!("addr add {}/30 dev {outside}", network.outside),
            format!("link set {outside} up"),
            format!("-n {name} addr add {}/30 dev {inside}", network.inside),
            format!("-n {name} link set {inside} up"),
            format!("-n {name} link set lo up"),
        ] {
            assert!(ip(&words), "ip {words}");
        }
        Some(network)
    }

    /// Does something in this network.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let namespace = fs::File::open(Path::new("/run/netns").join(&self.name)).unwrap();
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                act()
            });
            inside.join().unwrap()
        })
    }

    /// A process in this network and in a control group that only waits, as a pod's pause container.
    pub fn pause(&self, group: &Group) -> Pause {
        let child = self.within(|| Command::new("sleep").arg("600").spawn().unwrap());
        group.add(child.id());
        Pause(child)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        ip(&format!("netns delete {}", self.name));
    }
}

/// A process that waits.
pub struct Pause(Child);

impl Pause {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
