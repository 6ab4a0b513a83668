//! The control group that all pods of a node are below, wherever the kubelet made it.
//!
//! `kubepods` by the cgroupfs driver, `kubepods.slice` by systemd, below another
//! group where the kubelet was given one (kind: `kubelet.slice/kubelet-kubepods.slice`),
//! in the root of the hierarchy or in `unified` beside version 1.

use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::find::{FindError, children};
use super::identity::pod_uid;

/// How deep the kubelet's group is looked for.
const DEPTH: usize = 5;
/// How deep a pod is below it: quality of service, pod.
const POD_DEPTH: usize = 2;

/// The group below the node's `/sys/fs/cgroup`; `own` is the uid of the pod that
/// the agent itself is in, to tell nodes of one machine apart.
///
/// # Errors
/// When there is none, or more than one and none of them holds that pod.
pub fn of_node(host_root: &Path, own: Option<&str>) -> Result<PathBuf, FindError> {
    let top = host_root.join("sys/fs/cgroup");
    let roots = [top.clone(), top.join("unified")];
    let mut found = Vec::new();
    for root in roots.iter().filter(|root| is_version_2(root)) {
        look(root, DEPTH, &mut found);
    }
    choose(found, own).map_err(|found| FindError::Pods { top, found })
}

fn is_version_2(path: &Path) -> bool {
    statfs(path).is_ok_and(|statistics| statistics.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

fn is_of_pods(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| {
        ["kubepods", "kubepods.slice"].contains(&name) || name.ends_with("-kubepods.slice")
    })
}

fn look(path: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for child in children(path) {
        if is_of_pods(&child) {
            found.push(child);
        } else if depth > 1 {
            look(&child, depth - 1, found);
        }
    }
}

/// The only one, or the one that holds the agent's own pod; else all, in order.
fn choose(mut found: Vec<PathBuf>, own: Option<&str>) -> Result<PathBuf, Vec<PathBuf>> {
    if found.len() > 1
        && let Some(own) = own
        && let Some(at) = found.iter().position(|path| holds(path, own, POD_DEPTH))
    {
        return Ok(found.swap_remove(at));
    }
    if found.len() == 1 {
        return Ok(found.remove(0));
    }
    found.sort();
    Err(found)
}

fn holds(path: &Path, uid: &str, depth: usize) -> bool {
    children(path).iter().any(|child| {
        let name = child.file_name().and_then(|name| name.to_str());
        name.and_then(pod_uid).as_deref() == Some(uid)
            || (depth > 1 && holds(child, uid, depth - 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "12345678-9abc-def0-1234-56789abcdef0";

    /// What is found below a directory that looks like this.
    fn found(paths: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let directory = tempfile::tempdir().unwrap();
        for path in paths {
            std::fs::create_dir_all(directory.path().join(path)).unwrap();
        }
        let mut found = Vec::new();
        look(directory.path(), DEPTH, &mut found);
        (directory, found)
    }

    #[test]
    fn drivers_and_distributions() {
        for path in [
            "kubepods",
            "kubepods.slice",
            "kubelet/kubepods",
            "kubelet.slice/kubelet-kubepods.slice",
            "flora/node/kubepods",
        ] {
            let below = format!("{path}/burstable/pod{OWN}");
            let (root, found) = found(&["system.slice/ssh.service", "init.scope", &below]);
            assert_eq!(choose(found, None), Ok(root.path().join(path)));
        }
    }

    #[test]
    fn of_several_the_one_that_holds_the_agent() {
        let slice = format!(
            "b/kubepods.slice/kubepods-pod{}.slice",
            OWN.replace('-', "_")
        );
        let (root, found) = found(&["a/kubepods/besteffort", &slice]);
        let [first, second] = ["a/kubepods", "b/kubepods.slice"].map(|path| root.path().join(path));
        assert_eq!(choose(found.clone(), Some(OWN)), Ok(second.clone()));
        assert_eq!(choose(found, None), Err(vec![first, second]));
    }

    #[test]
    fn nothing_is_not_guessed() {
        let (_root, found) = found(&["kubepods-of-somebody", "user.slice/mine"]);
        assert_eq!(choose(found, Some(OWN)), Err(Vec::new()));
    }
}
