//! The hierarchies below the host's `/sys/fs/cgroup`: version 1, version 2, or both.

use std::fs;
use std::path::{Path, PathBuf};

use super::ObserveError;
use crate::backend::local::cgroup::Group;

/// Directories that hold a hierarchy's root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// Version 1's, of the controller that counts CPU time.
    pub cpuacct: Option<PathBuf>,
    /// Version 1's, of the controller that knows of quotas.
    pub cpu: Option<PathBuf>,
    /// Version 1's, of memory.
    pub memory: Option<PathBuf>,
    /// Version 2's.
    pub v2: Option<PathBuf>,
}

impl Hierarchies {
    /// Finds them. On a "hybrid" host version 1 has the controllers, and
    /// version 2 lies in `unified`.
    ///
    /// # Errors
    /// [`ObserveError::NoHierarchy`] when nothing there counts CPU time.
    pub fn find(root: &Path) -> Result<Self, ObserveError> {
        let is_v2 = |path: &Path| path.join("cgroup.controllers").is_file();
        let unified = root.join("unified");
        let v2 = [root, &unified].into_iter().find(|path| is_v2(path));
        // Controllers may be mounted together: `cpu,cpuacct`.
        let mut mounted: Vec<(String, PathBuf)> = fs::read_dir(root)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| {
                (
                    entry.file_name().to_string_lossy().into_owned(),
                    entry.path(),
                )
            })
            .collect();
        mounted.sort();
        let v1 = |controller: &str, file: &str| {
            let mut own = mounted
                .iter()
                .filter(|(name, _)| name.split(',').any(|part| part == controller))
                .map(|(_, path)| path);
            own.find(|path| path.join(file).is_file()).cloned()
        };
        let found = match v2 == Some(root) {
            true => Hierarchies::default(),
            false => Hierarchies {
                cpuacct: v1("cpuacct", "cpuacct.usage"),
                cpu: v1("cpu", "tasks"),
                memory: v1("memory", "memory.usage_in_bytes"),
                v2: None,
            },
        };
        let found = Hierarchies {
            v2: v2.map(Path::to_owned),
            ..found
        };
        match found.tree() {
            Some(_) => Ok(found),
            None => Err(ObserveError::NoHierarchy {
                root: root.to_owned(),
            }),
        }
    }

    /// The hierarchy in which pods are looked for: the one that counts CPU time.
    pub fn tree(&self) -> Option<&Path> {
        self.cpuacct.as_deref().or(self.v2.as_deref())
    }

    /// The group at `relative` below every root, for reading.
    pub fn group(&self, relative: &Path) -> Group {
        let below = |root: &Option<PathBuf>| root.as_ref().map(|root| root.join(relative));
        Group::found(
            below(&self.cpuacct),
            below(&self.cpu),
            below(&self.memory),
            below(&self.v2),
        )
    }

    /// The file with the CPU time of all tasks of the machine, where there is one.
    pub fn machine_cpu_usage(&self) -> Option<PathBuf> {
        Some(self.cpuacct.as_ref()?.join("cpuacct.usage"))
    }

    /// `cgroup v1` or `cgroup v2`: what CPU time comes from.
    pub fn describe(&self) -> &'static str {
        match self.cpuacct {
            Some(_) => "cgroup v1",
            None => "cgroup v2",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "0\n").unwrap();
        }
        root
    }

    #[test]
    fn controllers_that_are_mounted_together_and_a_hybrid() {
        let root = tree(&[
            "cpu,cpuacct/cpuacct.usage",
            "cpu,cpuacct/tasks",
            "memory/memory.usage_in_bytes",
            "unified/cgroup.controllers",
            "systemd/tasks",
        ]);
        let found = Hierarchies::find(root.path()).unwrap();
        let below = |name: &str| Some(root.path().join(name));
        assert_eq!(found.cpuacct, below("cpu,cpuacct"));
        assert_eq!(found.cpu, below("cpu,cpuacct"));
        assert_eq!(found.memory, below("memory"));
        assert_eq!(found.v2, below("unified"));
        assert_eq!(found.describe(), "cgroup v1");
        let usage = found.machine_cpu_usage().unwrap();
        assert_eq!(usage, root.path().join("cpu,cpuacct/cpuacct.usage"));
    }

    #[test]
    fn version_2_alone() {
        // The first entry of a version 2 root may well be called `memory`-something.
        let root = tree(&["cgroup.controllers", "memory/memory.usage_in_bytes"]);
        let found = Hierarchies::find(root.path()).unwrap();
        assert_eq!(found.tree(), Some(root.path()));
        assert_eq!((found.cpuacct.clone(), found.memory.clone()), (None, None));
        assert_eq!(found.describe(), "cgroup v2");
    }

    #[test]
    fn nothing_there_says_what_to_mount() {
        for files in [&[][..], &["memory/memory.usage_in_bytes"]] {
            let root = tree(files);
            let error = Hierarchies::find(root.path()).unwrap_err().to_string();
            assert!(error.contains("hostPath"), "{error}");
        }
        assert!(Hierarchies::find(Path::new("/nowhere")).is_err());
    }
}
