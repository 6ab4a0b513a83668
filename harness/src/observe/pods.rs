//! Which directories are pods, and whose.
//!
//! The kubelet makes a directory for every pod, in one of two ways:
//!
//! ```text
//! cgroupfs  …/kubepods/burstable/pod5b8d…-…/<container id>
//! systemd   …/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod5b8d…_….slice/cri-containerd-<container id>.scope
//! ```
//!
//! What stands before it depends on the distribution (`/kubelet.slice/kubelet-…`
//! in kind), so that `kubepods` is searched for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// How deep below the root `kubepods` is looked for.
const DEPTH: usize = 6;

/// A pod's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
}

/// The UID in the name of a pod's directory, if it is one.
pub fn pod_uid(directory: &str) -> Option<String> {
    let stem = directory.strip_suffix(".slice").unwrap_or(directory);
    // A UID holds no `p`, so the last one begins the word before it.
    let (before, uid) = stem.rsplit_once("pod")?;
    let uid = uid.replace('_', "-");
    let is_uid =
        (32..=36).contains(&uid.len()) && uid.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    ((before.is_empty() || before.ends_with('-')) && is_uid).then_some(uid)
}

/// The container id in the name of a container's directory, if it is one.
/// CRI-O's monitor of a container is none.
pub fn container_id(directory: &str) -> Option<&str> {
    let stem = directory.strip_suffix(".scope").unwrap_or(directory);
    let (runtime, id) = stem.rsplit_once('-').unwrap_or(("", stem));
    let is_id = id.len() == 64 && id.chars().all(|c| c.is_ascii_hexdigit());
    (is_id && !runtime.ends_with("conmon")).then_some(id)
}

/// Namespace, name and UID in the name of a pod's directory of logs.
pub fn logs_of(directory: &str) -> Option<(String, Name)> {
    // None of the three can hold an underscore.
    let mut parts = directory.splitn(3, '_');
    let (namespace, pod, uid) = (parts.next()?, parts.next()?, parts.next()?);
    let name = Name {
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
    };
    (!namespace.is_empty() && !pod.is_empty() && !uid.is_empty()).then(|| (uid.to_owned(), name))
}

/// This node's pods by UID, from the names below `/var/log/pods`.
///
/// # Errors
/// When the directory can't be listed.
pub fn named(logs: &Path) -> std::io::Result<BTreeMap<String, Name>> {
    let entries = fs::read_dir(logs)?;
    Ok(entries
        .flatten()
        .filter_map(|entry| logs_of(&entry.file_name().to_string_lossy()))
        .collect())
}

/// Every `kubepods` directory below a hierarchy's root.
pub fn roots(tree: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut level = vec![tree.to_owned()];
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for path in level.iter().flat_map(|path| directories(path)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let stem = name.strip_suffix(".slice").unwrap_or(&name);
            if stem == "kubepods" || stem.ends_with("-kubepods") {
                found.push(path);
            } else {
                next.push(path);
            }
        }
        level = next;
    }
    found
}

/// Every pod below a `kubepods` directory, with its UID: those of guaranteed
/// resources lie in it, the others a level deeper.
pub fn below(kubepods: &Path) -> Vec<(String, PathBuf)> {
    let pods_in = |path: &Path| {
        let mut pods = Vec::new();
        let mut others = Vec::new();
        for path in directories(path) {
            match pod_uid(&path.file_name().unwrap_or_default().to_string_lossy()) {
                Some(uid) => pods.push((uid, path)),
                None => others.push(path),
            }
        }
        (pods, others)
    };
    let (mut pods, classes) = pods_in(kubepods);
    for class in classes {
        pods.extend(pods_in(&class).0);
    }
    pods
}

/// The containers of a pod's directory.
pub fn containers(pod: &Path) -> Vec<(String, PathBuf)> {
    directories(pod)
        .into_iter()
        .filter_map(|path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            Some((container_id(&name)?.to_owned(), path))
        })
        .collect()
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "5b8d7c26-0ac5-4a4b-9e2c-2f4f6e1c2a10";

    #[test]
    fn both_ways_of_naming_a_pod() {
        for name in [
            "pod5b8d7c26-0ac5-4a4b-9e2c-2f4f6e1c2a10",
            "kubepods-pod5b8d7c26_0ac5_4a4b_9e2c_2f4f6e1c2a10.slice",
            "kubepods-burstable-pod5b8d7c26_0ac5_4a4b_9e2c_2f4f6e1c2a10.slice",
            "kubelet-kubepods-besteffort-pod5b8d7c26_0ac5_4a4b_9e2c_2f4f6e1c2a10.slice",
        ] {
            assert_eq!(pod_uid(name).as_deref(), Some(UID), "{name}");
        }
        // A static pod: the hash of its manifest.
        let hash = "podf3d3d2a1b0c94e55a7d6c8e1f0a1b2c3";
        assert_eq!(pod_uid(hash).unwrap().len(), 32);
    }

    #[test]
    fn what_is_no_pod() {
        for name in [
            "kubepods",
            "kubepods.slice",
            "burstable",
            "kubepods-burstable.slice",
            "pod",
            "podman-5b8d7c260ac54a4b9e2c2f4f6e1c2a10",
            "tripod5b8d7c26-0ac5-4a4b-9e2c-2f4f6e1c2a10",
            "pod../../etc-0ac5-4a4b-9e2c-2f4f6e1c2a10",
            "",
        ] {
            assert_eq!(pod_uid(name), None, "{name}");
        }
    }

    #[test]
    fn containers_of_every_runtime() {
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for name in [
            id.to_owned(),
            format!("cri-containerd-{id}.scope"),
            format!("crio-{id}.scope"),
            format!("crio-{id}"),
            format!("docker-{id}.scope"),
        ] {
            assert_eq!(container_id(&name), Some(id), "{name}");
        }
        for name in [
            format!("crio-conmon-{id}.scope"),
            "init.scope".into(),
            String::new(),
        ] {
            assert_eq!(container_id(&name), None, "{name}");
        }
    }

    #[test]
    fn names_from_logs() {
        let (uid, name) = logs_of(&format!("bench-7f_target-6c9_{UID}")).unwrap();
        assert_eq!(uid, UID);
        assert_eq!((&*name.namespace, &*name.pod), ("bench-7f", "target-6c9"));
        for odd in ["", "a", "a_b", "a__c", "_b_c", "lost+found"] {
            assert_eq!(logs_of(odd), None, "{odd}");
        }
    }

    /// Trees as kubelets make them: kind's, a systemd node's, one of several
    /// nodes that share a machine.
    #[test]
    fn pods_are_found_wherever_a_distribution_puts_them() {
        let other = UID.replace('5', "6");
        let slice = UID.replace('-', "_");
        let root = tempfile::tempdir().unwrap();
        for path in [
            format!("kubepods.slice/kubepods-pod{slice}.slice"),
            format!(
                "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{slice}.slice"
            ),
            format!(
                "lab/worker-1/kubepods/besteffort/pod{other}/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
            ),
            format!("lab/worker-1/kubepods/pod{UID}"),
            // Not the kubelet's.
            format!("machine.slice/pod{other}"),
            "user.slice/user-0.slice".into(),
        ] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        let mut roots = roots(root.path());
        roots.sort();
        let relative: Vec<_> = roots
            .iter()
            .map(|path| path.strip_prefix(root.path()).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(
            relative,
            [
                "kubelet.slice/kubelet-kubepods.slice",
                "kubepods.slice",
                "lab/worker-1/kubepods"
            ]
        );
        let uids = |kubepods: &Path| {
            let mut uids: Vec<_> = below(kubepods).into_iter().map(|(uid, _)| uid).collect();
            uids.sort();
            uids
        };
        assert_eq!(uids(&roots[0]), [UID]);
        assert_eq!(uids(&roots[1]), [UID]);
        assert_eq!(uids(&roots[2]), [UID, &other]);
        let pod = below(&roots[2]).into_iter().find(|(uid, _)| *uid == other);
        assert_eq!(containers(&pod.unwrap().1).len(), 1);
    }
}
