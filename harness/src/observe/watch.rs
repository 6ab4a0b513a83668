//! Keeps the files of a node's pods open, and reads them all at one moment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::hierarchy::Hierarchies;
use super::pods::{self, Name};
use super::reading::{ContainerReading, NodeReading, PodReading, Values, values};
use super::{ObserveError, PODS, Scope};
use crate::clock::{monotonic_ns, unix_seconds};
use crate::observer::cgroup::CgroupObserver;
use crate::observer::node::NodeObserver;

/// How often the whole tree is searched for `kubepods` again; a kubelet makes
/// it before its first pod, and keeps it.
const SEARCH: Duration = Duration::from_secs(30);

/// Reads a node.
#[derive(Debug)]
pub struct Watcher {
    scope: Scope,
    hierarchies: Hierarchies,
    node: NodeObserver,
    roots: Vec<PathBuf>,
    searched: Option<Instant>,
    pods: BTreeMap<String, Pod>,
    left_out: usize,
}

#[derive(Debug)]
struct Pod {
    name: Option<Name>,
    path: PathBuf,
    group: CgroupObserver,
    containers: BTreeMap<String, CgroupObserver>,
}

impl Watcher {
    /// Finds the hierarchies, and tries what it will read.
    ///
    /// # Errors
    /// [`ObserveError`] with what to mount.
    pub fn open(scope: Scope) -> Result<Self, ObserveError> {
        let hierarchies = Hierarchies::find(&scope.root)?;
        let node = NodeObserver::open(hierarchies.machine_cpu_usage().as_deref())
            .map_err(ObserveError::Node)?;
        let mut watcher = Watcher {
            scope,
            hierarchies,
            node,
            roots: Vec::new(),
            searched: None,
            pods: BTreeMap::new(),
            left_out: 0,
        };
        watcher.node.read().map_err(ObserveError::Node)?;
        watcher.refresh()?;
        Ok(watcher)
    }

    /// Where CPU time comes from.
    pub fn source(&self) -> &'static str {
        self.hierarchies.describe()
    }

    /// Reads the node and every pod in scope. A pod that ends meanwhile is left out.
    ///
    /// # Errors
    /// When `/proc/stat` or the directory of logs can't be read.
    pub fn read(&mut self) -> Result<NodeReading, ObserveError> {
        self.refresh()?;
        let unix = unix_seconds();
        let mut read = Vec::with_capacity(self.pods.len());
        self.pods.retain(|uid, pod| match pod.read(uid) {
            Ok(reading) => {
                read.push(reading);
                true
            }
            Err(error) => {
                log::debug!("{} is gone: {error}", pod.path.display());
                false
            }
        });
        let monotonic = now();
        let node = self.node.read().map_err(ObserveError::Node)?;
        Ok(NodeReading {
            unix,
            monotonic,
            node: values(node),
            pods: read,
            left_out: self.left_out,
        })
    }

    /// Looks for pods that came and pods that went.
    fn refresh(&mut self) -> Result<(), ObserveError> {
        let names = match &self.scope.logs {
            Some(logs) => Some(pods::named(logs).map_err(|source| ObserveError::Logs {
                path: logs.clone(),
                source,
            })?),
            None => None,
        };
        let Some(tree) = self.hierarchies.tree().map(Path::to_owned) else {
            return Ok(());
        };
        if self.roots.is_empty() || self.searched.is_none_or(|then| then.elapsed() > SEARCH) {
            self.roots = pods::roots(&tree);
            self.searched = Some(Instant::now());
        }
        let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
        for root in &self.roots {
            found.extend(pods::below(root));
        }
        let in_scope = |uid: &str| match &names {
            None => true,
            Some(names) => names.get(uid).is_some_and(|name| {
                self.scope.namespaces.is_empty() || self.scope.namespaces.contains(&name.namespace)
            }),
        };
        found.retain(|uid, _| in_scope(uid));
        self.pods.retain(|uid, _| found.contains_key(uid));
        self.left_out = 0;
        for (uid, path) in found {
            if let Some(pod) = self.pods.get_mut(&uid) {
                pod.refresh(&self.hierarchies, &tree);
                continue;
            }
            if self.pods.len() >= PODS {
                self.left_out += 1;
                continue;
            }
            let name = names.as_ref().and_then(|names| names.get(&uid)).cloned();
            match Pod::open(&self.hierarchies, &tree, path, name) {
                Ok(pod) => {
                    self.pods.insert(uid, pod);
                }
                // It has just ended, or there are no file descriptors left.
                Err(error) => {
                    log::debug!("cannot read pod {uid}: {error}");
                    self.left_out += 1;
                }
            }
        }
        Ok(())
    }
}

impl Pod {
    fn open(
        hierarchies: &Hierarchies,
        tree: &Path,
        path: PathBuf,
        name: Option<Name>,
    ) -> std::io::Result<Self> {
        let mut pod = Pod {
            name,
            group: open(hierarchies, tree, &path)?,
            path,
            containers: BTreeMap::new(),
        };
        pod.refresh(hierarchies, tree);
        Ok(pod)
    }

    /// Looks for containers that came and containers that went.
    fn refresh(&mut self, hierarchies: &Hierarchies, tree: &Path) {
        let found: BTreeMap<String, PathBuf> = pods::containers(&self.path).into_iter().collect();
        self.containers.retain(|id, _| found.contains_key(id));
        for (id, path) in found {
            if !self.containers.contains_key(&id)
                && let Ok(group) = open(hierarchies, tree, &path)
            {
                self.containers.insert(id, group);
            }
        }
    }

    fn read(&mut self, uid: &str) -> std::io::Result<PodReading> {
        let (monotonic, values) = timed(&self.group)?;
        let mut containers = Vec::with_capacity(self.containers.len());
        self.containers.retain(|id, group| {
            let read = timed(group);
            if let Ok((monotonic, values)) = &read {
                containers.push(ContainerReading {
                    id: id.clone(),
                    monotonic: *monotonic,
                    values: values.clone(),
                });
            }
            read.is_ok()
        });
        Ok(PodReading {
            uid: uid.to_owned(),
            namespace: self.name.as_ref().map(|name| name.namespace.clone()),
            name: self.name.as_ref().map(|name| name.pod.clone()),
            monotonic,
            values,
            containers,
        })
    }
}

fn open(hierarchies: &Hierarchies, tree: &Path, path: &Path) -> std::io::Result<CgroupObserver> {
    let relative = path.strip_prefix(tree).map_err(std::io::Error::other)?;
    CgroupObserver::open(&hierarchies.group(relative))
}

fn timed(group: &CgroupObserver) -> std::io::Result<(f64, Values)> {
    let monotonic = now();
    Ok((monotonic, values(group.read()?)))
}

/// Seconds of `CLOCK_MONOTONIC`.
pub fn now() -> f64 {
    monotonic_ns() as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sample::Reading;

    const UID: &str = "5b8d7c26-0ac5-4a4b-9e2c-2f4f6e1c2a10";
    const OTHER: &str = "6b8d7c26-0ac5-4a4b-9e2c-2f4f6e1c2a10";
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn write(path: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(path).unwrap();
        for (name, text) in files {
            fs::write(path.join(name), text).unwrap();
        }
    }

    /// Files as version 2 has them, captured from a kubelet's pod.
    fn v2(path: &Path, usage_usec: u64) {
        let stat = format!(
            "usage_usec {usage_usec}\nuser_usec 1\nsystem_usec 1\nnr_periods 4\nnr_throttled 2\nthrottled_usec 1500\n"
        );
        write(
            path,
            &[
                ("cpu.stat", &stat),
                ("memory.current", "10485760\n"),
                ("memory.peak", "20971520\n"),
                (
                    "memory.stat",
                    "anon 4096\nfile 8192\ninactive_anon 0\ninactive_file 2097152\nactive_file 0\n",
                ),
                (
                    "memory.events",
                    "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n",
                ),
            ],
        );
    }

    fn scope(root: &Path, logs: Option<&Path>, namespaces: &[&str]) -> Scope {
        Scope {
            root: root.to_owned(),
            logs: logs.map(Path::to_owned),
            namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn version_2_with_the_systemd_driver() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &[("cgroup.controllers", "cpu memory\n")]);
        let pod = root.path().join(format!(
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice",
            UID.replace('-', "_")
        ));
        v2(&pod, 2_500_000);
        v2(&pod.join(format!("cri-containerd-{ID}.scope")), 2_400_000);
        let mut watcher = Watcher::open(scope(root.path(), None, &[])).unwrap();
        assert_eq!(watcher.source(), "cgroup v2");
        let reading = watcher.read().unwrap();
        let [pod] = &reading.pods[..] else {
            panic!("{reading:?}");
        };
        assert_eq!((&*pod.uid, &pod.name), (UID, &None));
        assert_eq!(pod.values[&Reading::CpuUsageSecondsTotal], 2.5);
        assert_eq!(pod.values[&Reading::CpuThrottledSecondsTotal], 0.0015);
        assert_eq!(pod.values[&Reading::MemoryUsageBytes], 10_485_760.0);
        assert_eq!(pod.values[&Reading::MemoryInactiveFileBytes], 2_097_152.0);
        assert_eq!(pod.values[&Reading::MemoryPeakBytes], 20_971_520.0);
        assert_eq!(pod.values[&Reading::OomKillsTotal], 1.0);
        assert_eq!(pod.containers[0].id, ID);
        assert_eq!(
            pod.containers[0].values[&Reading::CpuUsageSecondsTotal],
            2.4
        );
        assert!(reading.node[&Reading::NodeCpus] >= 1.0);
        assert!(
            reading
                .node
                .contains_key(&Reading::NodeCpuSoftirqSecondsTotal)
        );
    }

    #[test]
    fn version_1_with_the_cgroupfs_driver_and_names_from_logs() {
        let root = tempfile::tempdir().unwrap();
        let logs = tempfile::tempdir().unwrap();
        for (uid, namespace) in [(UID, "bench"), (OTHER, "kube-system")] {
            let pod = format!("lab/worker-1/kubepods/besteffort/pod{uid}");
            let at = |controller: &str| root.path().join(controller).join(&pod);
            write(&at("cpuacct"), &[("cpuacct.usage", "1500000000\n")]);
            let stat = "nr_periods 0\nnr_throttled 0\nthrottled_time 7000000\n";
            write(&at("cpu"), &[("cpu.stat", stat)]);
            write(
                &at("memory"),
                &[
                    ("memory.usage_in_bytes", "4096\n"),
                    ("memory.max_usage_in_bytes", "8192\n"),
                    (
                        "memory.stat",
                        "cache 1\ninactive_file 1\ntotal_inactive_file 1024\n",
                    ),
                    (
                        "memory.oom_control",
                        "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
                    ),
                ],
            );
            let own = format!("{namespace}_a-pod_{uid}");
            fs::create_dir(logs.path().join(own)).unwrap();
        }
        for (controller, file) in [
            ("cpuacct", "cpuacct.usage"),
            ("cpu", "tasks"),
            ("memory", "memory.usage_in_bytes"),
        ] {
            write(&root.path().join(controller), &[(file, "0\n")]);
        }
        let scope = scope(root.path(), Some(logs.path()), &["bench"]);
        let mut watcher = Watcher::open(scope).unwrap();
        let reading = watcher.read().unwrap();
        let [pod] = &reading.pods[..] else {
            panic!("{reading:?}");
        };
        assert_eq!(pod.namespace.as_deref(), Some("bench"));
        assert_eq!(pod.name.as_deref(), Some("a-pod"));
        assert_eq!(pod.values[&Reading::CpuUsageSecondsTotal], 1.5);
        assert_eq!(pod.values[&Reading::CpuThrottledSecondsTotal], 0.007);
        assert_eq!(pod.values[&Reading::MemoryPeakBytes], 8192.0);
        assert_eq!(pod.values[&Reading::OomKillsTotal], 2.0);
    }

    #[test]
    fn pods_come_and_go() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &[("cgroup.controllers", "cpu memory\n")]);
        let kubepods = root.path().join("kubepods");
        fs::create_dir_all(&kubepods).unwrap();
        let mut watcher = Watcher::open(scope(root.path(), None, &[])).unwrap();
        assert!(watcher.read().unwrap().pods.is_empty());
        let pod = kubepods.join(format!("pod{UID}"));
        v2(&pod, 1);
        assert_eq!(watcher.read().unwrap().pods.len(), 1);
        v2(&pod.join(ID), 1);
        assert_eq!(watcher.read().unwrap().pods[0].containers.len(), 1);
        fs::remove_dir_all(&pod).unwrap();
        assert!(watcher.read().unwrap().pods.is_empty());
        // Without the files that count, it is passed over and said to be.
        fs::create_dir_all(&pod).unwrap();
        assert_eq!(watcher.read().unwrap().left_out, 1);
    }

    #[test]
    fn more_pods_than_there_is_room_for() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &[("cgroup.controllers", "cpu memory\n")]);
        for n in 0..PODS + 3 {
            let uid = format!("{n:08x}-0ac5-4a4b-9e2c-2f4f6e1c2a10");
            v2(&root.path().join(format!("kubepods/pod{uid}")), 1);
        }
        let mut watcher = Watcher::open(scope(root.path(), None, &[])).unwrap();
        let reading = watcher.read().unwrap();
        assert_eq!((reading.pods.len(), reading.left_out), (PODS, 3));
    }
}
