//! What was asked for, and which control groups that is now.

use std::path::{Path, PathBuf};

use super::id_of;
use crate::cgroup::find::children;
use crate::cgroup::identity::container_id;

/// Deeper directories belong to the container that they are in.
const DEPTH: usize = 32;

/// A control group and all below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One container, whatever is below.
    One(PathBuf),
    /// Each control group below is one of its own, but within a container.
    Each(PathBuf),
}

/// A control group, and the container that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its directory.
    pub path: PathBuf,
    /// Its number.
    pub id: u64,
    /// The directory of its container: its own, or one above.
    pub owner: PathBuf,
    /// The number of that one.
    pub owner_id: u64,
}

impl Target {
    /// The directory at the top.
    pub fn path(&self) -> &Path {
        match self {
            Target::One(path) | Target::Each(path) => path,
        }
    }
}

/// All control groups of all targets. What two targets claim belongs to the innermost.
pub fn survey(targets: &[Target]) -> Vec<Found> {
    let mut found = Vec::new();
    for target in targets {
        if let Some(id) = id_of(target.path()) {
            let owner = (target.path().to_owned(), id);
            walk(
                target,
                targets,
                owner.0.clone(),
                id,
                &owner,
                DEPTH,
                &mut found,
            );
        }
    }
    found
}

fn walk(
    target: &Target,
    targets: &[Target],
    path: PathBuf,
    id: u64,
    owner: &(PathBuf, u64),
    depth: usize,
    found: &mut Vec<Found>,
) {
    if depth > 0 {
        for child in children(&path) {
            // Another target's own walk sees to it.
            if targets.iter().any(|other| other.path() == child) {
                continue;
            }
            let Some(child_id) = id_of(&child) else {
                continue;
            };
            let shared = matches!(target, Target::One(_)) || is_container(&owner.0);
            let own = (child.clone(), child_id);
            let owner = if shared { owner } else { &own };
            walk(target, targets, child, child_id, owner, depth - 1, found);
        }
    }
    found.push(Found {
        path,
        id,
        owner: owner.0.clone(),
        owner_id: owner.1,
    });
}

fn is_container(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| container_id(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn who_belongs_to_whom() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let container = "c".repeat(64);
        for path in [
            "slice/service/inner",
            &format!("pods/{container}/init/deep"),
            "one/inner",
        ] {
            std::fs::create_dir_all(root.join(path)).unwrap();
        }
        let targets = [Target::Each(root.to_owned()), Target::One(root.join("one"))];
        let relative = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
        let found: BTreeSet<_> = survey(&targets)
            .iter()
            .map(|found| (relative(&found.path), relative(&found.owner)))
            .collect();
        let pod = format!("pods/{container}");
        let expected = [
            ("", ""),
            ("slice", "slice"),
            ("slice/service", "slice/service"),
            ("slice/service/inner", "slice/service/inner"),
            ("pods", "pods"),
            (&pod, &pod),
            (&format!("{pod}/init"), &pod),
            (&format!("{pod}/init/deep"), &pod),
            ("one", "one"),
            ("one/inner", "one"),
        ];
        let expected: BTreeSet<_> = expected
            .iter()
            .map(|(path, owner)| ((*path).to_owned(), (*owner).to_owned()))
            .collect();
        assert_eq!(found, expected);
    }
}
