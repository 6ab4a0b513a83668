//! The container and pod that a control group's path names.
//!
//! Kubelet writes pods as `kubepods/burstable/pod<uid>` (cgroupfs driver) or
//! `kubepods.slice/…/kubepods-burstable-pod<uid>.slice` with the dashes of the
//! uid as underscores (systemd driver); below come the runtimes' containers:
//! the bare id, or `cri-containerd-<id>.scope`, `crio-<id>.scope`,
//! `docker-<id>.scope`, `libpod-<id>.scope`.

use std::path::Path;

/// Characters of a container's id.
const ID_LENGTH: usize = 64;

/// What a path names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The pod's uid, with dashes.
    pub pod_uid: Option<String>,
    /// The container's id.
    pub container_id: Option<String>,
}

impl Identity {
    /// Reads it from a path; the outermost container counts.
    pub fn of(path: &Path) -> Self {
        let mut identity = Identity::default();
        for part in path.components() {
            let Some(part) = part.as_os_str().to_str() else {
                continue;
            };
            if identity.container_id.is_none() {
                identity.container_id = container_id(part).map(str::to_owned);
            }
            if identity.pod_uid.is_none() {
                identity.pod_uid = pod_uid(part);
            }
        }
        identity
    }
}

/// The container id in a directory's name.
pub fn container_id(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (runtime, id) = name.rsplit_once('-').unwrap_or(("", name));
    // CRI-O and podman keep their monitor of a container beside it.
    if runtime.ends_with("conmon") || !is_id(id) {
        return None;
    }
    Some(id)
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The pod uid in a directory's name.
pub fn pod_uid(name: &str) -> Option<String> {
    let uid = match name.strip_suffix(".slice") {
        // kubepods-pod<uid>.slice or kubepods-burstable-pod<uid>.slice
        // with the name of the kubelet's own slice before it, where it has one.
        Some(name) if name.starts_with("kubepods") || name.contains("-kubepods-") => {
            name.rsplit_once("-pod")?.1
        }
        Some(_) => return None,
        None => name.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    // Uids of static pods are hashes, without dashes.
    let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = uid.bytes().filter(|byte| *byte == b'-').count();
    (digits == 32 && (dashes == 4 || dashes == 0) && uid.len() == digits + dashes).then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "3f4b0cf1ea1b3c5d7e9f00112233445566778899aabbccddeeff001122334455";
    const UID: &str = "12345678-9abc-def0-1234-56789abcdef0";

    fn of(path: &str) -> (Option<String>, Option<String>) {
        let identity = Identity::of(Path::new(path));
        (identity.pod_uid, identity.container_id)
    }

    #[test]
    fn each_runtime_and_driver() {
        let pod = Some(UID.to_owned());
        let container = Some(ID.to_owned());
        let underscores = UID.replace('-', "_");
        for path in [
            format!("/kubepods/burstable/pod{UID}/{ID}"),
            format!("/kubepods/pod{UID}/{ID}"),
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{underscores}.slice/cri-containerd-{ID}.scope"
            ),
            format!("/kubepods.slice/kubepods-pod{underscores}.slice/crio-{ID}.scope/container"),
            format!(
                "/kubelet.slice/kubelet-kubepods.slice/kubepods-pod{underscores}.slice/docker-{ID}.scope/init"
            ),
            format!(
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{underscores}.slice/cri-containerd-{ID}.scope"
            ),
        ] {
            assert_eq!(of(&path), (pod.clone(), container.clone()), "{path}");
        }
        for path in [
            format!("/docker/{ID}"),
            format!("/system.slice/docker-{ID}.scope"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
        ] {
            assert_eq!(of(&path), (None, container.clone()), "{path}");
        }
    }

    #[test]
    fn what_is_none() {
        for path in [
            "/".to_owned(),
            "/system.slice/podman.service".to_owned(),
            format!("/machine.slice/libpod-conmon-{ID}.scope"),
            format!("/system.slice/crio-conmon-{ID}.scope"),
            format!("/user.slice/user-1000-pod{UID}.slice"),
            format!("/docker/{}", ID.to_uppercase()),
        ] {
            assert_eq!(of(&path), (None, None), "{path}");
        }
    }

    #[test]
    fn a_static_pod() {
        let hash = UID.replace('-', "");
        let path = format!("/kubepods/besteffort/pod{hash}/{ID}");
        assert_eq!(of(&path).0, Some(hash));
    }

    proptest! {
        /// Whatever a path holds, what is read from it is short and harmless.
        #[test]
        fn bounded(path in "(/[a-z0-9_.-]{0,80}){0,6}") {
            let (pod, container) = of(&path);
            prop_assert!(pod.is_none_or(|uid| uid.len() <= 36));
            prop_assert!(container.is_none_or(|id| id.len() == 64));
        }
    }
}
