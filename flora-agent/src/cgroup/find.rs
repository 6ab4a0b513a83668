//! The control group of a path, a process, a container, a pod.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};

use super::identity::{container_id, pod_uid};
use super::mount::{Mount, MountError, group_of};
use crate::kubernetes::node::Node;

/// Fewer characters of a container's id could be anything.
const SHORTEST_ID: usize = 6;

/// How deep directories are looked through.
const DEPTH: usize = 16;

/// Why a control group can't be had.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// There is no hierarchy.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// It is not there.
    #[error("the control group {path} cannot be opened: {source}")]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error(
        "{path} is not a control group of version 2; those are below {}",
        mount.as_ref().map_or("a mount of type cgroup2, of which there is none here".into(), |mount| mount.display().to_string())
    )]
    Version {
        /// The directory.
        path: PathBuf,
        /// Where the hierarchy of version 2 is.
        mount: Option<PathBuf>,
    },
    /// No such process.
    #[error("there is no process {pid}: {source}")]
    Process {
        /// Its number.
        pid: u32,
        /// Why.
        source: io::Error,
    },
    /// A process without a control group of version 2.
    #[error("the process {0} is in no control group of version 2")]
    NoGroup(u32),
    /// No such container.
    #[error(
        "no control group below {mount} belongs to a container with an id that begins with {id}"
    )]
    Container {
        /// What was asked for.
        id: String,
        /// Where it was looked for.
        mount: PathBuf,
    },
    /// Several.
    #[error("several containers have an id that begins with {id}: {}; give more of it", found.join(", "))]
    Ambiguous {
        /// What was asked for.
        id: String,
        /// The ids.
        found: Vec<String>,
    },
    /// No such pod.
    #[error(
        "no pod {namespace}/{pod} runs on this node: {}",
        if *named {
            format!("no control group below {} is of a pod with that name's uid", mount.display())
        } else {
            format!("no directory {} begins with {namespace}_{pod}_ (is --host-root the node's root?)", logs.display())
        }
    )]
    Pod {
        /// Its namespace.
        namespace: String,
        /// What was asked for.
        pod: String,
        /// Whether the kubelet knows the name.
        named: bool,
        /// Where the kubelet makes directories of that name.
        logs: PathBuf,
        /// Where its control group was looked for.
        mount: PathBuf,
    },
    /// Not one control group of all pods.
    #[error("{}; name it with --subtree", none_or_several(top, found))]
    Pods {
        /// Where it was looked for.
        top: PathBuf,
        /// What could be it.
        found: Vec<PathBuf>,
    },
    /// Not an id.
    #[error("{0:?} is no container id: at least 6 of its hexadecimal digits are needed")]
    Id(String),
}

fn none_or_several(top: &Path, found: &[PathBuf]) -> String {
    if found.is_empty() {
        return format!(
            "no control group of version 2 below {} is the kubelet's kubepods",
            top.display()
        );
    }
    let names: Vec<_> = found
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    format!(
        "several control groups could be the kubelet's, and none of them holds the pod of POD_UID: {}",
        names.join(", ")
    )
}

/// An open control group.
#[derive(Debug)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// Its number, the inode of its directory, which is what the kernel calls its id.
    pub id: u64,
    /// The directory.
    pub file: File,
}

impl Directory {
    /// Opens a control group of version 2.
    ///
    /// # Errors
    /// [`FindError`] when it is not there, or no such thing.
    pub fn open(path: &Path) -> Result<Self, FindError> {
        let fails = |source| FindError::Open {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(fails)?;
        let metadata = file.metadata().map_err(fails)?;
        let kind = fstatfs(&file).map_err(|error| fails(error.into()))?;
        if kind.filesystem_type() != CGROUP2_SUPER_MAGIC || !metadata.is_dir() {
            return Err(FindError::Version {
                path: path.to_owned(),
                mount: Mount::find().ok().map(|mount| mount.point),
            });
        }
        Ok(Directory {
            path: path.to_owned(),
            id: metadata.ino(),
            file,
        })
    }
}

/// The directory of a process's control group.
///
/// # Errors
/// [`FindError`]
pub fn of_process(mount: &Mount, pid: u32) -> Result<PathBuf, FindError> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))
        .map_err(|source| FindError::Process { pid, source })?;
    let group = group_of(&text).ok_or(FindError::NoGroup(pid))?;
    Ok(mount.directory(&group)?)
}

/// The directory of a container, by its id or the beginning of it.
///
/// # Errors
/// [`FindError`]
pub fn of_container(mount: &Mount, id: &str) -> Result<PathBuf, FindError> {
    // As a runtime or Kubernetes writes it: containerd://<id>.
    let id = id
        .rsplit_once("://")
        .map_or(id, |(_, id)| id)
        .to_lowercase();
    if id.len() < SHORTEST_ID || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(FindError::Id(id));
    }
    let mut found = Vec::new();
    let is_meant = |path: &Path| id_of(path).is_some_and(|name| name.starts_with(&id));
    search(&mount.point, &is_meant, DEPTH, &mut found);
    match found.len() {
        0 => Err(FindError::Container {
            id,
            mount: mount.point.clone(),
        }),
        1 => Ok(found.remove(0)),
        _ => Err(FindError::Ambiguous {
            id,
            found: found.iter().filter_map(|path| id_of(path)).collect(),
        }),
    }
}

fn id_of(path: &Path) -> Option<String> {
    container_id(path.file_name()?.to_str()?).map(str::to_owned)
}

/// The directories of a pod, by its namespace and name: several while one that is replaced still ends.
///
/// # Errors
/// [`FindError`]
pub fn of_pod(
    mount: &Mount,
    node: &Node,
    namespace: &str,
    pod: &str,
) -> Result<Vec<PathBuf>, FindError> {
    let uids = node.uids(namespace, pod);
    let is_meant = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(pod_uid)
            .is_some_and(|uid| uids.contains(&uid))
    };
    let mut found = Vec::new();
    if !uids.is_empty() {
        search(&mount.point, &is_meant, DEPTH, &mut found);
    }
    if found.is_empty() {
        return Err(FindError::Pod {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            named: !uids.is_empty(),
            logs: node.log_directories(),
            mount: mount.point.clone(),
        });
    }
    Ok(found)
}

/// Looks through directories, but not below one that has been found.
fn search(
    directory: &Path,
    is_meant: &dyn Fn(&Path) -> bool,
    depth: usize,
    found: &mut Vec<PathBuf>,
) {
    for path in children(directory) {
        if is_meant(&path) {
            found.push(path);
        } else if depth > 0 {
            search(&path, is_meant, depth - 1, found);
        }
    }
}

/// The control groups directly below one; none when it is gone.
pub fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// What the first process of a control group, or of one below it, is called.
pub fn process_name(directory: &Path) -> Option<String> {
    process_name_within(directory, 2)
}

fn process_name_within(directory: &Path, depth: usize) -> Option<String> {
    let pids = fs::read_to_string(directory.join("cgroup.procs")).ok()?;
    // Processes of another process namespace read as 0.
    let pid = pids.lines().find(|pid| *pid != "0");
    if let Some(pid) = pid {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        return Some(name.trim_end_matches('\n').to_owned());
    }
    if depth == 0 {
        return None;
    }
    children(directory)
        .iter()
        .find_map(|child| process_name_within(child, depth - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    fn tree() -> (tempfile::TempDir, Mount) {
        let directory = tempfile::tempdir().unwrap();
        for path in [
            format!("docker/{}/init", container('a')),
            format!("kubepods/pod1/cri-containerd-{}.scope", container('b')),
            format!("system.slice/crio-conmon-{}.scope", container('c')),
            format!("machine.slice/crio-{}.scope/container", container('c')),
            format!("docker/aaaaaaab{}", "0".repeat(56)),
        ] {
            fs::create_dir_all(directory.path().join(path)).unwrap();
        }
        let mount = Mount {
            root: "/".into(),
            point: directory.path().to_owned(),
        };
        (directory, mount)
    }

    #[test]
    fn containers_are_found_by_the_beginning_of_their_id() {
        let (_directory, mount) = tree();
        let name = |id: &str| {
            let path = of_container(&mount, id).unwrap();
            path.file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(name("aaaaaaaa"), container('a'));
        assert_eq!(
            name("containerd://bbbbbb"),
            format!("cri-containerd-{}.scope", container('b'))
        );
        assert_eq!(
            name(&container('c')),
            format!("crio-{}.scope", container('c'))
        );
    }

    #[test]
    fn what_is_not_found_is_said() {
        let (_directory, mount) = tree();
        let error = |id: &str| of_container(&mount, id).unwrap_err().to_string();
        assert!(
            error("aaaaaaa").contains("several containers"),
            "{}",
            error("aaaaaaa")
        );
        assert!(error("dddddd").contains("no control group below"));
        assert!(error("ab").contains("at least 6"));
        assert!(error("../../..").contains("no container id"));
    }

    #[test]
    fn pods_are_found_by_the_names_that_the_kubelet_gives_directories() {
        let (_directory, mount) = tree();
        let root = tempfile::tempdir().unwrap();
        let node = Node::new(root.path());
        let uid = "12345678-9abc-def0-1234-56789abcdef0";
        let error = |pod: &str| of_pod(&mount, &node, "shop", pod).unwrap_err().to_string();
        for pod in ["cart-0", "gone-0"] {
            let uid = if pod == "cart-0" {
                uid
            } else {
                &uid.replace('9', "8")
            };
            let logs = root.path().join(format!("var/log/pods/shop_{pod}_{uid}"));
            fs::create_dir_all(logs).unwrap();
        }
        assert!(
            error("gone-0").contains("no control group below"),
            "{}",
            error("gone-0")
        );
        assert!(error("cart").contains("shop_cart_"), "{}", error("cart"));
        for name in [
            format!("kubepods/burstable/pod{uid}"),
            format!("kubepods.slice/kubepods-pod{}.slice", uid.replace('-', "_")),
        ] {
            let path = mount.point.join(name);
            fs::create_dir_all(path.join(container('f'))).unwrap();
            assert_eq!(
                of_pod(&mount, &node, "shop", "cart-0").unwrap(),
                std::slice::from_ref(&path)
            );
            fs::remove_dir_all(path).unwrap();
        }
    }

    #[test]
    fn a_directory_elsewhere_is_no_control_group() {
        let directory = tempfile::tempdir().unwrap();
        let error = Directory::open(directory.path()).unwrap_err().to_string();
        assert!(
            error.contains("not a control group of version 2"),
            "{error}"
        );
        let error = Directory::open(Path::new("/nowhere"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nowhere cannot be opened"), "{error}");
    }
}
